"""Something that does not work: logged when it begins and when it ends, and not in between."""

import logging
from collections.abc import Callable, Hashable

from pipeline.clock import Clock, LogLimit

_log = logging.getLogger(__name__)


class Trouble:
    """Something that does not work at times.

    Args:
        changed: Called with this trouble when it begins, gets another reason, or ends.
        clock: Measures the hour in which one that comes and goes is logged once. Without it each
            one is: for what changes by a person's hand alone.
        label: What each of its lines in the log begins with.

    Attributes:
        reason: Why it does not work at present, in a sentence; None while it works.
    """

    def __init__(
        self,
        changed: Callable[["Trouble"], object] = lambda _: None,
        clock: Clock | None = None,
        label: str = "",
    ) -> None:
        self.reason: str | None = None
        self._changed = changed
        self._clock = clock
        self._label = label
        self._limit = LogLimit(clock)

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
                take turns; within `LogLimit`.
            level: The level of the lines.
            error: Its traceback is logged too, where debug lines are.
        """
        if reason != self.reason:
            self.reason = reason
            self._changed(self)
        if not lines or not self._limit.begins(kind):
            return
        detail = error if _log.isEnabledFor(logging.DEBUG) else None
        for line in lines:
            _log.log(level, "%s%s", self._label, line, exc_info=detail)

    def ends(self, line: str = "") -> None:
        """It works, or still does; the log says `line` when it has said that it began."""
        if not self.under_way:
            return
        self.reason = None
        told = self._limit.end()
        self._changed(self)
        if line and told:
            _log.info("%s%s", self._label, line)

    def clear(self) -> None:
        """It ends without a line, and begins with one, such as after a change of the settings."""
        self.ends()
        self._limit = LogLimit(self._clock)
