"""The state of an outage, and its lines in the log."""

import logging
from collections.abc import Callable

from pipeline.clock import Clock
from pipeline.influx import Answer

_log = logging.getLogger(__name__)


class Outage:
    """Logs an outage once when it begins and once when it ends, and each reason once.

    Args:
        clock: Measures how long it lasts.

    Attributes:
        reason: Why the last try failed in the outage under way; None when there is none.
        failures: How many tries failed in the outage under way; a probe that passes ends none.
        probed: Whether the newest reading got through in it, since the last failure.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = 0.0
        self._told: set[int | None] = set()
        self.reason: str | None = None
        self.failures = 0
        self.probed = False

    @property
    def under_way(self) -> bool:
        """Whether there is one."""
        return self.reason is not None

    def failed(self, answer: Answer, backlog: Callable[[], int]) -> None:
        """A try failed.

        Args:
            answer: What came.
            backlog: Counts the points that wait.
        """
        if not self.under_way:
            self._began = self._clock.monotonic()
        self.reason = answer.message
        self.failures += 1
        self.probed = False
        if answer.status in self._told:  # reasons may take turns
            return
        self._told.add(answer.status)
        _log.warning(
            "Delivery stopped, %d points are kept until it works: %s", backlog(), answer.message
        )

    def passed(self, backlog: Callable[[], int], *, probe: bool) -> None:
        """A request got through: the outage is over once the backlog moves, or none is left."""
        if not self.under_way:
            return
        waiting = backlog()
        if probe and waiting:
            self.probed = True
            return
        lasted = self._clock.monotonic() - self._began
        self.reason, self.probed, self.failures = None, False, 0
        self._told.clear()
        _log.info("Delivery works again after %.0f s, %d points to catch up", lasted, waiting)
