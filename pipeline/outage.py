"""An outage: when it began, what it is, and who is told."""

import logging
from collections.abc import Callable
from typing import Protocol

from pipeline.clock import Clock
from pipeline.influx.answer import Answer

_log = logging.getLogger(__name__)


class Report(Protocol):
    """Who is told how delivery fares."""

    def broke(self, message: str) -> None:
        """Delivery does not work any more."""
        ...

    def healed(self) -> None:
        """Delivery works again."""
        ...

    def failed(self) -> None:
        """A try failed; another one will follow."""
        ...

    def wrote(self, seconds: float) -> None:
        """A batch was written."""
        ...


class Outage:
    """Tells of an outage once when it begins and once when it ends, and of each reason once.

    Args:
        clock: Measures how long it lasts.
        report: Is told of every change.

    Attributes:
        failures: How many tries failed in the outage under way; a probe that passes ends none.
        probed: Whether the newest reading got through in it, since the last failure.
    """

    def __init__(self, clock: Clock, report: Report) -> None:
        self._clock = clock
        self._report = report
        self._since: float | None = None
        self._status: int | None = None
        self._told: set[int | None] = set()
        self.failures = 0
        self.probed = False

    @property
    def under_way(self) -> bool:
        """Whether there is one."""
        return self._since is not None

    def failed(self, answer: Answer, backlog: Callable[[], int]) -> None:
        """A try failed.

        Args:
            answer: What came.
            backlog: Counts the points that wait.
        """
        self.failures += 1
        self._report.failed()
        changed = self._since is None or self.probed or answer.status != self._status
        self.probed = False
        if self._since is None:
            self._since = self._clock.monotonic()
        if changed:
            self._report.broke(answer.message)
        self._status = answer.status
        if answer.status in self._told:  # reasons may take turns
            return
        self._told.add(answer.status)
        _log.warning(
            "Delivery stopped, %d points are kept until it works: %s", backlog(), answer.message
        )

    def passed(self, backlog: Callable[[], int], *, probe: bool) -> None:
        """A request got through: the outage is over once the backlog moves, or none is left."""
        if self._since is None:
            return
        waiting = backlog()
        if probe and waiting:
            self.probed = True
            return
        lasted = self._clock.monotonic() - self._since
        self._since, self.probed, self.failures = None, False, 0
        self._told.clear()
        self._report.healed()
        _log.info("Delivery works again after %.0f s, %d points to catch up", lasted, waiting)
