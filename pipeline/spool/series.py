"""A field of a series over time, whole or thinned for a chart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.point import FieldValue

_FIRST_WIDTH_NS = 1_000_000
# A power of two changes no digit of a sum, and this one keeps that of the greatest floats finite.
_SCALE = 2.0**-64


def share(value: float, low: float, high: float) -> float:
    """Return where a value is between two others: 0.0 at the lower or below, 1.0 at the upper."""
    if math.isinf(high - low):
        value, low, high = value / 2, low / 2, high / 2
    return min(max((value - low) / (high - low), 0.0), 1.0) if high > low else 0.5


def between(low: float, high: float, part: float) -> float:
    """Return what is a part of the way from one value to another."""
    return low * (1 - part) + high * part


@dataclass(frozen=True, slots=True)
class Series:
    """One field of one series over time.

    Attributes:
        measurement: Its measurement.
        field: Its field.
        tags: Its tags.
        samples: Times, in nanoseconds since 1970-01-01 UTC, the oldest first, each with its value;
            in a thinned series, the extremes of each span.
        last: The newest value.
        count: How many values there were before thinning.
        summary: The least, mean and greatest of the numbers; None where all are texts.
    """

    measurement: str
    field: str
    tags: Mapping[str, str]
    samples: Sequence[tuple[int, FieldValue]]
    last: FieldValue
    count: int
    summary: tuple[float, float, float] | None


class SeriesBuilder:
    """Builds a series from its values.

    Args:
        points: How many spans a chart can show. The least and the greatest value of each span are
            kept, and spans grow with the series. None keeps all values.
        rate: Whether to build the growth per second instead. A fall, as after a restart, gives no
            value.
    """

    def __init__(self, points: int | None = None, *, rate: bool = False) -> None:
        self._points = points
        self._rate = rate
        self._held: tuple[int, FieldValue] | None = None
        self._before: tuple[int, float] | None = None
        self._samples: list[tuple[int, FieldValue]] = []
        self._spans: list[_Span] = []
        self._width_ns = _FIRST_WIDTH_NS
        self._count = self._numbers = 0
        self._sum = 0.0  # scaled
        self._least, self._greatest = math.inf, -math.inf
        self._last: FieldValue | None = None

    def add(self, time_ns: int, value: FieldValue) -> None:
        """Add the next value. Times must not fall; of two values at one time the later counts."""
        held, self._held = self._held, (time_ns, value)
        if held is not None and held[0] != time_ns:
            self._take(*held)

    def _take(self, time_ns: int, value: FieldValue) -> None:
        if self._rate:
            if isinstance(value, str):
                return
            before, self._before = self._before, (time_ns, value)
            if before is None or time_ns < before[0] or value < before[1]:
                return
            value = (value - before[1]) / (time_ns - before[0]) * 1e9
            if math.isinf(value):
                return
        self._count += 1
        self._last = value
        if not isinstance(value, str):
            self._numbers += 1
            self._sum += value * _SCALE
            self._least = min(self._least, value)
            self._greatest = max(self._greatest, value)
        if self._points is None:
            self._samples.append((time_ns, value))
        elif not isinstance(value, str):
            self._thin(time_ns, value, self._points)

    def series(self, measurement: str, field: str, tags: Mapping[str, str]) -> Series | None:
        """Return the series, or None if it has no value; nothing can be added then."""
        if self._held is not None:
            self._take(*self._held)
        if self._last is None:
            return None
        thinned = [sample for span in self._spans for sample in span.samples()]
        summary = None
        if self._numbers:
            mean = self._sum / self._numbers / _SCALE
            # Rounding, and sums below what can be scaled, lead a little out of the range.
            mean = min(max(mean, self._least), self._greatest)
            summary = (self._least, mean, self._greatest)
        samples = thinned or self._samples
        return Series(measurement, field, tags, samples, self._last, self._count, summary)

    def _thin(self, time_ns: int, value: float, points: int) -> None:
        number = time_ns // self._width_ns
        if self._spans and self._spans[-1].number == number:
            self._spans[-1].join(_Span(number, (time_ns, value), (time_ns, value)))
            return
        self._spans.append(_Span(number, (time_ns, value), (time_ns, value)))
        while len(self._spans) > points:
            self._width_ns *= 2
            wider: list[_Span] = []
            for span in self._spans:
                span.number //= 2
                if wider and wider[-1].number == span.number:
                    wider[-1].join(span)
                else:
                    wider.append(span)
            self._spans = wider


@dataclass(slots=True)
class _Span:
    """The samples of the least and the greatest of some adjacent values."""

    number: int
    least: tuple[int, float]
    greatest: tuple[int, float]

    def join(self, later: "_Span") -> None:
        if later.least[1] < self.least[1]:
            self.least = later.least
        if later.greatest[1] > self.greatest[1]:
            self.greatest = later.greatest

    def samples(self) -> list[tuple[int, float]]:
        return sorted({self.least, self.greatest})
