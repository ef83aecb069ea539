"""The limit on what the log says of that which begins and ends again and again."""

from collections.abc import Hashable

from pipeline.clock import Clock

_HOUR_S = 3600.0
# What a server says, or the name of what is wrong, may be ever new, such as a request's number.
_MOST_KINDS = 10


class LogLimit:
    """Limits what the log says of that which begins and ends, by its kind.

    Each kind that begins is logged once while it lasts, and once an hour if it comes and goes; if
    it lasts then, its line comes when the hour is over. Ten kinds at most are logged at a time, and
    in an hour.

    Args:
        clock: Measures the hour; without it only what lasts is limited.

    Attributes:
        begun: The kinds whose beginning is in the log, and whose end is not.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock
        self.begun: set[Hashable] = set()
        self._logged: dict[Hashable, float] = {}  # when each was, in the last hour

    def begins(self, kind: Hashable) -> bool:
        """Return whether the log is to say that it begins; it may have begun before."""
        if kind in self.begun or len(self.begun) >= _MOST_KINDS:
            return False
        if self._clock is not None:
            now = self._clock.monotonic()
            self._logged = {one: s for one, s in self._logged.items() if now - s < _HOUR_S}
            if kind in self._logged or len(self._logged) >= _MOST_KINDS:
                return False
            self._logged[kind] = now
        self.begun.add(kind)
        return True

    def end(self, *kinds: Hashable) -> bool:
        """These kinds end, or all; return whether the log is to say so."""
        ended = self.begun.intersection(kinds or self.begun)
        self.begun -= ended
        return bool(ended)
