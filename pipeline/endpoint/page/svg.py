"""Line charts as SVG.

A plot is as wide as its place: lines are stretched, while texts and shades are placed by percent.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from pipeline.endpoint.page.window import Gap, Window
from pipeline.spool import Series, share

WIDTH, HEIGHT = 1000, 200
# Colour alone does not tell lines apart for everybody: these are lengths of dash and gap.
_DASHES = ("", "7 4", "2 4", "12 4 2 4", "4 2", "14 6")
LINES = len(_DASHES)
_SMALLEST = -300  # decimal digits; a float has some more
_STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
# A label next to an edge would stand over it, and one in a narrow gap over its sides: in percent.
_EDGE, _WIDE, _NARROW = 8, 24, 6


@dataclass(frozen=True, slots=True)
class Frame:
    """The area that a chart covers.

    Attributes:
        window: From its left edge to its right one.
        low: Its lower edge.
        high: Its upper edge.
    """

    window: Window
    low: float
    high: float


def above(value: float) -> float:
    """Return a round number that is not below a value."""
    if not value > 0:
        return 1.0
    size = 10.0 ** max(math.floor(math.log10(value)), _SMALLEST)
    edge = next((step * size for step in _STEPS if step * size >= value), 10 * size)
    return min(edge, sys.float_info.max)


def frame(series: Sequence[Series], window: Window, high: float) -> Frame:
    """Return the area for some series, up to a value unless one of theirs is greater."""
    summaries = [one.summary for one in series if one.summary]
    greatest, least = max(one[2] for one in summaries), min(one[0] for one in summaries)
    return Frame(
        window,
        -above(-least) if least < 0 else 0.0,
        max(high, above(greatest)) if greatest else high,
    )


def chart(series: Sequence[Series], frame: Frame) -> str:
    """Draw series, each in the style of its place; `key` draws the same style for a legend."""
    rows = "".join(f"M0 {HEIGHT * part / 2:g}H{WIDTH}" for part in range(3))
    window = frame.window
    return (
        '<svg aria-hidden="true">'
        f"{''.join(_shade(gap, window) for gap in window.gaps)}{''.join(_ticks(window))}"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">'
        f'<path class="grid" d="{rows}"/>{_lines(series, frame)}</svg>'
        f"{''.join(_label(gap, window) for gap in window.gaps)}</svg>"
    )


def small(series: Sequence[Series], frame: Frame) -> str:
    """Draw series without anything else, for a tile."""
    return (
        f'<svg class="small" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none"'
        f' aria-hidden="true"><path class="grid" d="M0 {HEIGHT}H{WIDTH}"/>'
        f"{_lines(series, frame)}</svg>"
    )


def key(place: int) -> str:
    """Draw a short piece of the line in a place."""
    line = f'<path class="line s{place}"{_dash(place)} d="M0 5H24"/>'
    return f'<svg class="key" viewBox="0 0 24 10" aria-hidden="true">{line}</svg>'


def _lines(series: Sequence[Series], frame: Frame) -> str:
    return "".join(_line(place, list(_pieces(one, frame))) for place, one in enumerate(series))


def _line(place: int, pieces: Sequence[Sequence[str]]) -> str:
    line = "".join(f"M{'L'.join(piece)}" for piece in pieces if len(piece) > 1)
    # A line to the same place is a dot, for a reading that stands alone.
    dots = "".join(f"M{piece[0]}L{piece[0]}" for piece in pieces if len(piece) == 1)
    return (f'<path class="line s{place}"{_dash(place)} d="{line}"/>' if line else "") + (
        f'<path class="dot s{place}" d="{dots}"/>' if dots else ""
    )


def _dash(place: int) -> str:
    return f' stroke-dasharray="{_DASHES[place]}"' if _DASHES[place] else ""


def _pieces(series: Series, frame: Frame) -> Iterator[list[str]]:
    """Yield the places of the samples of each piece of a line, which no gap interrupts."""
    window = frame.window
    piece: list[str] = []
    before = None
    for time_ns, value in series.samples:
        if before is not None and not window.joined(before, time_ns):
            yield piece
            piece = []
        x = share(time_ns, window.since_ns, window.until_ns) * WIDTH
        y = HEIGHT * (1 - share(float(value), frame.low, frame.high))
        piece.append(f"{x:.1f} {y:.1f}")
        before = time_ns
    if piece:
        yield piece


def _percent(time_ns: int, window: Window) -> float:
    return 100 * share(time_ns, window.since_ns, window.until_ns)


def _ticks(window: Window) -> Iterator[str]:
    for time_ns, label in window.ticks():
        x = _percent(time_ns, window)
        anchor = "start" if x < _EDGE else "end" if x > 100 - _EDGE else "middle"
        yield (
            f'<line class="grid" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="100%"/>'
            f'<text x="{x:.2f}%" y="100%" dy="1.4em" text-anchor="{anchor}">{escape(label)}</text>'
        )


def _shade(gap: Gap, window: Window) -> str:
    left, right = _percent(gap.since_ns, window), _percent(gap.until_ns, window)
    return (
        f'<rect class="gap" x="{left:.2f}%" width="{right - left:.2f}%" height="100%">'
        f"<title>{escape(window.name(gap))}</title></rect>"  # what a pointer on it shows
    )


def _label(gap: Gap, window: Window) -> str:
    left, right = _percent(gap.since_ns, window), _percent(gap.until_ns, window)
    text = "no readings" if right - left > _WIDE else "gap" if right - left > _NARROW else ""
    place = f'x="{(left + right) / 2:.2f}%" y="1.4em" text-anchor="middle"'
    return f"<text {place}>{text}</text>" if text else ""
