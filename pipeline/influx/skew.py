"""Tells that this host's clock and the server's differ so much that readings go astray."""

import logging
from email.utils import parsedate_to_datetime

from pipeline.clock import Clock

_log = logging.getLogger(__name__)

_TOLERATED_S = 3600.0
_DAY_S = 86_400.0


class Skew:
    """Compares the clocks at each answer; says it once, and when it is over.

    Args:
        clock: This host's.
        where: The server, for the log.
    """

    def __init__(self, clock: Clock, where: str) -> None:
        self._clock = clock
        self._where = where
        self._told = False

    def compare(self, date: str) -> None:
        """Take a Date header of the server's; what is none says nothing."""
        try:
            ahead_s = self._clock.now_ns() / 1e9 - parsedate_to_datetime(date).timestamp()
        except (TypeError, ValueError, OverflowError):
            return
        wrong = abs(ahead_s) > _TOLERATED_S
        if wrong and not self._told:
            _log.warning(
                "This host's clock is %s %s that of %s; readings carry its times, and what is old "
                "is deleted by it: set the clock", _span(abs(ahead_s)),
                "ahead of" if ahead_s > 0 else "behind", self._where,
            )  # fmt: skip
        elif self._told and not wrong:
            _log.info("This host's clock agrees with that of %s again", self._where)
        self._told = wrong


def _span(seconds: float) -> str:
    if seconds < 2 * _DAY_S:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / _DAY_S:.0f} days"
