"""What is wrong with a collector: shown while it lasts, and logged within bounds."""

import logging

from pipeline.clock import Clock
from pipeline.collectors import Outcome
from pipeline.health import Trouble

_log = logging.getLogger(__name__)

_HOUR_S = 3600.0
# Of one collector in an hour, since the name of what is wrong, such as a file's, may be ever new.
_MOST_TOLD = 10


class Problems:
    """The problems of one collector.

    Each is a line in the log when it begins and one when it ends. One that comes and goes has these
    once an hour; if it lasts then, its line comes when the hour is over.

    Args:
        name: The collector's name.
        clock: Time.
        shown: Shows all that is wrong at present.
    """

    def __init__(self, name: str, clock: Clock, shown: Trouble) -> None:
        self._name = name
        self._clock = clock
        self._shown = shown
        self._present: frozenset[str] = frozenset()
        self._begun: set[str] = set()  # those whose begin is in the log, and whose end is not
        self._told: dict[str, float] = {}  # when the log last said of each that it began

    def report(self, outcome: Outcome) -> None:
        """Log each problem of a run that begins, or has ended; show what there is."""
        present = frozenset(outcome.problems)
        if present != self._present:  # not each time with another number
            self._present = present
            self._show(outcome)
        if self._begun != present:
            self._begin(outcome)
            self._finish(present)

    def _begin(self, outcome: Outcome) -> None:
        now = self._clock.monotonic()
        self._told = {one: when for one, when in self._told.items() if now - when < _HOUR_S}
        for problem, warning in outcome.warnings():
            is_told = problem in self._begun or problem in self._told
            if not is_told and len(self._told) < _MOST_TOLD:
                self._begun.add(problem)
                self._told[problem] = now
                _log.warning("%s", warning)

    def _finish(self, present: frozenset[str]) -> None:
        for problem in sorted(self._begun - present):
            self._begun.remove(problem)
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
