"""The state of an outage: from the first failure until the backlog moves again."""

from collections.abc import Callable

from pipeline.clock import Clock
from pipeline.health import Trouble, human
from pipeline.influx import Answer


class Outage:
    """An outage of the server, or none.

    Args:
        clock: Measures how long it lasts.
        trouble: Shows it, and logs its beginning, each kind of reason, and its end.
        backlog: Counts the points that wait.

    Attributes:
        failures: How many tries failed in the outage under way; a probe that passes ends none.
        probed: Whether the newest reading got through in it, since the last failure.
    """

    def __init__(self, clock: Clock, trouble: Trouble, backlog: Callable[[], int]) -> None:
        self._clock = clock
        self._trouble = trouble
        self._backlog = backlog
        self._began = 0.0
        self.failures = 0
        self.probed = False

    @property
    def under_way(self) -> bool:
        """Whether there is one."""
        return self.failures > 0

    def failed(self, answer: Answer) -> None:
        """A try failed, with this answer."""
        if not self.under_way:
            self._began = self._clock.monotonic()
        self.failures += 1
        self.probed = False
        why, kept = answer.message, human.count(self._backlog(), "point is", "points are")
        self._trouble.begins(
            why,
            f"Delivery stopped, {kept} kept until it works: {why}",
            kind=answer.status,
        )

    def passed(self, *, probe: bool) -> None:
        """A request got through: the outage is over once the backlog moves, or none is left."""
        if not self.under_way:
            self._trouble.ends()  # another one, such as a store that could not be read
            return
        waiting = self._backlog()
        if probe and waiting:
            self.probed = True
            return
        lasted = self._clock.monotonic() - self._began
        self.probed, self.failures = False, 0
        left = human.count(waiting, "point")
        self._trouble.ends(f"Delivery works again after {lasted:.0f} s, {left} to catch up")
