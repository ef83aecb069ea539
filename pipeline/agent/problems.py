"""What is wrong with a collector: shown while it lasts, and logged within bounds."""

import logging

from pipeline.clock import Clock, LogLimit
from pipeline.collectors import Outcome
from pipeline.health import Trouble

_log = logging.getLogger(__name__)


class Problems:
    """The problems of one collector.

    Each is a line in the log when it begins and one when it ends, within `LogLimit`.

    Args:
        name: The collector's name.
        clock: Time.
        shown: Shows all that is wrong at present.
    """

    def __init__(self, name: str, clock: Clock, shown: Trouble) -> None:
        self._name = name
        self._shown = shown
        self._present: frozenset[str] = frozenset()
        self._limit = LogLimit(clock)

    def report(self, outcome: Outcome) -> None:
        """Log each problem of a run that begins, or has ended; show what there is."""
        present = frozenset(outcome.problems)
        if present != self._present:  # not each time with another number
            self._present = present
            self._show(outcome)
        if self._limit.begun != present:
            self._begin(outcome)
            self._finish(present)

    def _begin(self, outcome: Outcome) -> None:
        for problem, warning in outcome.warnings():
            if self._limit.begins(problem):
                _log.warning("%s", warning)

    def _finish(self, present: frozenset[str]) -> None:
        for problem in sorted(map(str, self._limit.begun - present)):
            self._limit.end(problem)
            _log.info("Collector %s works again, it no longer %s", self._name, problem)

    def end(self) -> None:
        """The collector is no longer asked."""
        self._shown.ends()

    def _show(self, outcome: Outcome) -> None:
        if not outcome.problems:
            self._shown.ends()
            return
        reasons = [f"{problem}: {why}" for problem, why in outcome.problems.items()]
        self._shown.begins("; ".join(reasons))
