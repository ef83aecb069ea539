"""The time that the page covers: its span, where readings are missing in it, and its axis."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from pipeline.health import human

_SECOND_NS = 10**9
_HOUR_NS = 3600 * _SECOND_NS
_DAY_NS = 24 * _HOUR_NS
# What is narrower than this part of a chart cannot be seen.
_NARROWEST = 200
_TICKS = 4
_DAY = len("29 Nov")
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1200, 1800)
_STEPS_H = (1, 2, 3, 4, 6, 12, 24, 48)


def moment(time_ns: int) -> str:
    """Write a time in UTC: 29 Nov 05:21:10."""
    return time.strftime("%d %b %H:%M:%S", time.gmtime(time_ns // _SECOND_NS))


@dataclass(frozen=True, slots=True)
class Span:
    """How far back a reader may look.

    Attributes:
        hours: Its length in hours, as the address has it.
        name: Its length in words.
    """

    hours: str
    name: str

    @property
    def ns(self) -> int:
        """Its length in nanoseconds."""
        return int(float(self.hours) * _HOUR_NS)


HOUR = Span("1", "1 h")
SPANS = (Span("0.25", "15 min"), HOUR, Span("6", "6 h"), Span("24", "24 h"), Span("168", "7 d"))


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without readings; both ends in nanoseconds since 1970-01-01 UTC."""

    since_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Window:
    """The time that a chart covers; all in nanoseconds, moments since 1970-01-01 UTC.

    Attributes:
        since_ns: Its left edge.
        until_ns: Its right edge.
        gaps: Where readings are missing, the oldest first.
        apart_ns: The usual time from one reading to the next, of those that were read.
    """

    since_ns: int
    until_ns: int
    gaps: tuple[Gap, ...] = ()
    apart_ns: int = 0

    def joined(self, before_ns: int, time_ns: int) -> bool:
        """Return whether a line leads from one reading of a series to its next."""
        most_ns = max(3 * self.apart_ns, (self.until_ns - self.since_ns) // 50)
        return time_ns - before_ns <= most_ns and not any(
            before_ns < gap.until_ns and gap.since_ns < time_ns for gap in self.gaps
        )

    def name(self, gap: Gap) -> str:
        """Return how long a gap is and when it was."""
        length = human.duration((gap.until_ns - gap.since_ns) / _SECOND_NS)
        since, until = moment(gap.since_ns), moment(gap.until_ns)
        if gap.until_ns == self.until_ns:
            return f"No readings for {length}, since {since}"
        if since[:_DAY] == until[:_DAY]:
            until = until[_DAY:].strip()
        return f"No readings for {length}, from {since} to {until}"

    def ticks(self) -> Iterator[tuple[int, str]]:
        """Yield the round times within it, each with its label."""
        length_ns = self.until_ns - self.since_ns
        steps = [step * _SECOND_NS for step in _STEPS_S] + [step * _HOUR_NS for step in _STEPS_H]
        step_ns = next((one for one in steps if length_ns <= one * _TICKS), steps[-1])
        if step_ns >= _DAY_NS:
            label = "%d %b"
        elif length_ns > _DAY_NS:
            label = "%a %H:%M"
        else:
            label = "%H:%M" if step_ns >= 60 * _SECOND_NS else "%H:%M:%S"
        first_ns = -(-self.since_ns // step_ns) * step_ns
        for moment_ns in range(first_ns, self.until_ns + 1, step_ns):
            yield moment_ns, time.strftime(label, time.gmtime(moment_ns // _SECOND_NS))


def window(
    span_ns: int, now_ns: int, first_ns: int, times: Sequence[int], part: int, interval_ns: int
) -> Window:
    """Return the window that ends now; it begins with the first reading of a younger history.

    Args:
        span_ns: Its length, in nanoseconds.
        now_ns: Its end.
        first_ns: The time of the oldest reading that is held.
        times: Those of the readings in it that were read, the oldest first.
        part: One reading of so many was read.
        interval_ns: The time from one reading to the next by the settings.
    """
    since_ns = min(max(now_ns - span_ns, first_ns), now_ns - 1)
    apart = [later - before for before, later in pairwise(times)]
    usual_ns = max(part * interval_ns, int(median(apart)) if apart else 0)
    least_ns = (now_ns - since_ns) // _NARROWEST
    gaps = _gaps([since_ns, *times, now_ns], part, part * interval_ns, least_ns)
    return Window(since_ns, now_ns, tuple(gaps), usual_ns)


def _gaps(times: Sequence[int], part: int, set_ns: int, least_ns: int) -> Iterator[Gap]:
    apart = [later - before for before, later in pairwise(times)]
    # The interval may have been another one before: so what is beside a time between two readings
    # says how long it should be. The edges of the window are no readings.
    inner = [None, *apart[1:-1], None]
    for place, (before, later) in enumerate(pairwise(times)):
        beside = [*inner[max(place - 1, 0) : place], *inner[place + 1 : place + 2]]
        usual = max(set_ns, min((one for one in beside if one is not None), default=0))
        if apart[place] - usual > max(2 * usual // part, least_ns):
            yield Gap(before, later)
