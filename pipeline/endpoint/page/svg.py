"""A line chart as SVG, without text: that stays readable at any width only outside of it."""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.spool import Series, share

WIDTH, HEIGHT = 1000, 200
# Colour alone does not tell lines apart for everybody: these are lengths of dash and gap.
_DASHES = ("", "7 4", "2 4", "12 4 2 4", "4 2", "14 6")
LINES = len(_DASHES)
_SMALLEST = -300  # decimal digits; a float has some more
_STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)


@dataclass(frozen=True, slots=True)
class Frame:
    """The area that a chart covers.

    Attributes:
        since_ns: Its left edge.
        until_ns: Its right edge.
        gap_ns: The line is broken between two readings that are further apart.
        low: Its lower edge.
        high: Its upper edge.
    """

    since_ns: int
    until_ns: int
    gap_ns: int
    low: float
    high: float


def above(value: float) -> float:
    """Return a round number that is not below a value."""
    if not value > 0:
        return 1.0
    size = 10.0 ** max(math.floor(math.log10(value)), _SMALLEST)
    edge = next((step * size for step in _STEPS if step * size >= value), 10 * size)
    return min(edge, sys.float_info.max)


def chart(series: Sequence[Series], frame: Frame) -> str:
    """Draw series, each in the style of its place; `key` draws the same style for a legend."""
    grid = "".join(f"M0 {HEIGHT * part / 2:g}H{WIDTH}" for part in range(3))
    paths = "".join(
        f'<path class="line s{place}"{_dash(place)} d="{"".join(_path(one, frame))}"/>'
        for place, one in enumerate(series)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="grid" d="{grid}"/>{paths}</svg>'
    )


def key(place: int) -> str:
    """Draw a short piece of the line in a place."""
    line = f'<path class="line s{place}"{_dash(place)} d="M0 5H24"/>'
    return f'<svg class="key" viewBox="0 0 24 10" aria-hidden="true">{line}</svg>'


def _dash(place: int) -> str:
    return f' stroke-dasharray="{_DASHES[place]}"' if _DASHES[place] else ""


def _path(series: Series, frame: Frame) -> Iterator[str]:
    span_ns = max(1, frame.until_ns - frame.since_ns)
    before = None
    for time_ns, value in series.samples:
        x = share(time_ns, frame.since_ns, frame.since_ns + span_ns) * WIDTH
        y = HEIGHT * (1 - share(float(value), frame.low, frame.high))
        # A line to the same place is a dot, for a reading that stands alone.
        at = f"{x:.1f} {y:.1f}"
        joined = before is not None and time_ns - before <= frame.gap_ns
        yield f"L{at}" if joined else f"M{at}L{at}"
        before = time_ns
