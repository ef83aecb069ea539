"""Time: the only place that reads it, the schedule of the ticks, and the limit of the log.

A moment whose name ends in `_ns` is in nanoseconds since 1970-01-01 UTC, here and in all rooms.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Event
from typing import Protocol

_HOUR_S = 3600.0
# What a server says, or the name of what is wrong, may be ever new, such as a request's number.
_MOST_KINDS = 10


class Clock(Protocol):
    """What the agent knows of time; tests pass one that they move themselves."""

    def now_ns(self) -> int:
        """Return the wall clock in nanoseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        ...

    def wait(self, event: Event, seconds: float) -> bool:
        """Wait for the event, `seconds` at most; return whether it is set."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ns(self) -> int:
        """Return the wall clock in nanoseconds since 1970-01-01 UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        return time.monotonic()

    def wait(self, event: Event, seconds: float) -> bool:
        """Wait for the event, `seconds` at most; return whether it is set."""
        return event.wait(seconds) if seconds > 0 else event.is_set()


PLAUSIBLE_NS = 1_577_836_800 * 10**9
"""2020-01-01: a wall clock that says less was never set."""
_JUMP_NS = 10**9


@dataclass(frozen=True, slots=True)
class Tick:
    """One firing of the schedule.

    Attributes:
        timestamp_ns: The wall clock, taken once: the timestamp of every point of the tick.
        missed: How many firings before this one were skipped because the agent came too late.
        jumped_ns: How far the wall clock moved since the tick before, beside the monotonic clock;
            0 when that is less than a second.
    """

    timestamp_ns: int
    missed: int
    jumped_ns: int = 0


class Schedule:
    """Fires at once, then at every multiple of the interval.

    It aligns to the wall clock's multiples once, at the start, then follows the monotonic clock,
    so that a wall clock that jumps neither stops it nor makes it fire in a burst. A late tick is
    skipped and counted, never queued.
    """

    def __init__(self, clock: Clock, interval_ms: int) -> None:
        self._clock = clock
        self._interval = interval_ms / 1000
        self._due: float | None = None
        self._fired_ns = 0
        self._at_once = False
        self._offset_ns: int | None = None

    def change(self, interval_ms: int) -> None:
        """Go on with another interval, while nobody waits.

        The next firing is at the first multiple of it after the last one, at once when that has
        passed; none is missed by that.
        """
        self._interval = interval_ms / 1000
        if self._due is None:
            return
        now_ns, interval_ns = self._clock.now_ns(), interval_ms * 10**6
        self._due = self._clock.monotonic() + (interval_ns - now_ns % interval_ns) / 1e9
        self._at_once = self._fired_ns // interval_ns < now_ns // interval_ns

    def wait(self, stop: Event) -> Tick | None:
        """Wait for the next firing; None when `stop` is set, which ends the wait at once."""
        if self._due is None:
            if stop.is_set():
                return None
            now_ns = self._clock.now_ns()
            interval_ns = round(self._interval * 1e9)
            self._due = self._clock.monotonic() + (interval_ns - now_ns % interval_ns) / 1e9
            return self._tick(0)
        if self._at_once and not stop.is_set():
            self._at_once = False
            return self._tick(0)
        while (remaining := self._due - self._clock.monotonic()) > 0:
            if self._clock.wait(stop, remaining):
                return None
        if stop.is_set():
            return None
        missed = int(-remaining // self._interval)
        self._due += (missed + 1) * self._interval
        return self._tick(missed)

    def _tick(self, missed: int) -> Tick:
        self._fired_ns = now_ns = self._clock.now_ns()
        offset_ns = now_ns - round(self._clock.monotonic() * 1e9)
        jumped_ns = 0 if self._offset_ns is None else offset_ns - self._offset_ns
        self._offset_ns = offset_ns
        return Tick(now_ns, missed, jumped_ns if abs(jumped_ns) >= _JUMP_NS else 0)


Random = Callable[[float, float], float]
"""A source of chance such as `random.uniform`: (lowest, highest) to a number between them."""


def rfc3339(time_ns: int) -> str:
    """Write a time as RFC 3339 in UTC, with all its nanoseconds."""
    seconds, rest = divmod(time_ns, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


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
