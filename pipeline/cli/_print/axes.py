"""Axes that a person reads: round values with their units, round local times."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.health import human
from pipeline.spool import between

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_TIMES_S = (
    *(1, 2, 5, 10, 15, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE),
    *(30 * _MINUTE, _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY),
)
# What a long time is counted in, so that its steps are round.
_LONG = ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"))
_STEPS = 4
# Beyond it a float has no digits left for steps.
_FINEST = 1e-12
_GREATEST = 1e300


@dataclass(frozen=True, slots=True)
class Axis:
    """The values of a chart from bottom to top.

    Attributes:
        low: The value at the bottom.
        high: The value at the top.
        ticks: The values that are written beside it, each with its text.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]


def values(low: float, high: float, unit: str, *, rate: bool = False) -> Axis:
    """Return an axis on which the values from one to another have a place.

    Shares are from 0 to 100 %. Others begin with 0 if that leaves half of the height at least.

    Args:
        low: The least value.
        high: The greatest.
        unit: Their unit, as the catalogue names it; "" when it is not known.
        rate: Whether they are a growth per second.
    """
    if unit == "percent" and not rate and low >= 0 and high <= 100:
        low, high = 0.0, 100.0
    elif low == high or 0 <= low <= high / 2:
        low, high = min(low, 0.0), max(high, 0.0) or float(low == 0)
    span = (high - low) / _STEPS
    size, sign = 1.0, unit
    if unit == "seconds" and not rate:
        size, sign = next(((size, sign) for size, sign in _LONG if high - low >= size), (1.0, unit))
    step = _round(span / size) * size
    if not _FINEST * max(abs(low), abs(high)) < step < _GREATEST:
        parts = [between(low, high, part / _STEPS) for part in range(_STEPS + 1)]
        return Axis(low, high, tuple((at, human.quantity(at, unit, rate=rate)) for at in parts))
    first, last = math.floor(low / step), math.ceil(high / step)
    most = max(abs(first), abs(last))
    digits = max(3, len(str(most)) + 1)
    ticks = [number * step for number in range(first, last + 1)]
    texts = (human.quantity(at / size, sign, digits, rate=rate) for at in ticks)
    return Axis(ticks[0], ticks[-1], tuple(zip(ticks, texts, strict=True)))


def _round(span: float) -> float:
    """Return 1, 2, 5 or 10 times a power of ten that is no less; 0 where no float is."""
    if not 0 < span < math.inf:
        return 0.0
    power = 10.0 ** math.floor(math.log10(span))
    if power == 0:
        return 0.0
    found = next((power * part for part in (1, 2, 5) if power * part >= span), power * 10)
    return found if math.isfinite(found) else 0.0


def local(time_ns: int) -> datetime:
    """Return a time in the zone of this terminal."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).astimezone()


def span(begin_ns: int, end_ns: int) -> str:
    """Write a span of local time with its zone: 2026-11-24 14:10:05 to 15:10:05 CET."""
    begin, end = local(begin_ns), local(end_ns)
    first = f"{begin:%Y-%m-%d %H:%M:%S}"
    if begin.tzname() != end.tzname():  # as on the day on which summer begins
        first += f" {_zone(begin)}"
    last = f"{end:%H:%M:%S}" if begin.date() == end.date() else f"{end:%Y-%m-%d %H:%M:%S}"
    return f"{first} to {last} {_zone(end)}"


def _zone(time: datetime) -> str:
    name = time.tzname() or ""
    return f"UTC{name}" if name[:1] in "+-" else name


def times(begin_ns: int, end_ns: int, most: int) -> list[tuple[int, str]]:
    """Return the round local times of a span, each with its text, so many at most."""
    seconds = (end_ns - begin_ns) / 1e9
    days = _DAY * math.ceil(seconds / most / _DAY)
    step = next((one for one in _TIMES_S if seconds / one < most), days)
    wall = local(begin_ns).replace(tzinfo=None)
    midnight = wall.replace(hour=0, minute=0, second=0)
    first = math.ceil((wall - midnight).total_seconds() / step)
    walls = (midnight + timedelta(seconds=step * (first + number)) for number in range(most + 1))
    # Each by itself, as the zone may change within the span.
    ticks = ((int(wall.astimezone().timestamp()) * 10**9, _time(wall, step)) for wall in walls)
    return [tick for tick in ticks if begin_ns <= tick[0] <= end_ns]


def _time(wall: datetime, step: int) -> str:
    if step < _MINUTE:
        return f"{wall:%H:%M:%S}"
    day = step >= _DAY or wall.hour == wall.minute == 0
    return f"{wall:%b %d}" if day else f"{wall:%H:%M}"
