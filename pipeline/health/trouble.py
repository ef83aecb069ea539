"""Something that does not work: logged when it begins and when it ends, and not in between."""

import logging
from collections.abc import Callable, Hashable

_log = logging.getLogger(__name__)

# What a server says may be ever new, such as a request's number.
_MOST_KINDS = 10


class Trouble:
    """Something that does not work at times.

    Args:
        changed: Called with this trouble when it begins, gets another reason, or ends.

    Attributes:
        reason: Why it does not work at present, in a sentence; None while it works.
    """

    def __init__(self, changed: Callable[["Trouble"], object] = lambda _: None) -> None:
        self.reason: str | None = None
        self._changed = changed
        self._logged: set[Hashable] = set()

    @property
    def under_way(self) -> bool:
        """Whether it does not work at present."""
        return self.reason is not None

    def begins(
        self,
        reason: str,
        *lines: str,
        kind: Hashable = None,
        level: int = logging.WARNING,
        error: BaseException | None = None,
    ) -> None:
        """It does not work, or still does not.

        Args:
            reason: Why, in a sentence.
            lines: What the log says when it begins.
            kind: The kind of the reason: the first one of each kind is logged, since reasons may
                take turns; of ten kinds at most.
            level: The level of the lines.
            error: Its traceback is logged too, where debug lines are.
        """
        is_new = kind not in self._logged and len(self._logged) < _MOST_KINDS
        if is_new:
            self._logged.add(kind)
        if reason != self.reason:
            self.reason = reason
            self._changed(self)
        detail = error if _log.isEnabledFor(logging.DEBUG) else None
        for line in lines if is_new else ():
            _log.log(level, "%s", line, exc_info=detail)

    def ends(self, line: str = "") -> None:
        """It works, or still does; the log says `line` when the trouble ends."""
        if not self.under_way:
            return
        self.reason = None
        self._logged.clear()
        self._changed(self)
        if line:
            _log.info("%s", line)
