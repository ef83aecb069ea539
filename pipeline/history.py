"""The local history of a field, as `show` needs it."""

import re
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.point import FieldValue, Line, decode
from pipeline.spool import SpoolReader

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

Key = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Series:
    """One field of one series over time.

    Attributes:
        measurement: Its measurement.
        field: Its field.
        tags: Its tags.
        samples: Times, in nanoseconds since 1970-01-01 UTC, and values; the oldest first.
    """

    measurement: str
    field: str
    tags: Mapping[str, str]
    samples: tuple[tuple[int, FieldValue], ...]

    @property
    def last(self) -> FieldValue:
        """The newest value."""
        return self.samples[-1][1]

    @property
    def numbers(self) -> list[float]:
        """The values that are numbers; empty for texts."""
        return [float(value) for _, value in self.samples if not isinstance(value, str)]

    def summary(self) -> tuple[float, float, float] | None:
        """Return the least, the mean and the greatest value, or None for texts."""
        numbers = self.numbers
        return (min(numbers), statistics.fmean(numbers), max(numbers)) if numbers else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to read; None and an empty table stand for all.

    Attributes:
        measurement: Only this measurement.
        field: Only this field.
        tags: Only series with these tags.
    """

    measurement: str | None = None
    field: str | None = None
    tags: Mapping[str, str] | None = None

    def fits(self, line: Line) -> bool:
        """Return whether a line's series is wanted."""
        point = line.point
        named = self.measurement in (None, point.measurement)
        return named and (self.tags or {}).items() <= point.tags.items()


def seconds(text: str) -> int:
    """Read a span such as `90s`, `15m`, `1h`, `7d` or `2w`.

    Raises:
        ValueError: It is none.
    """
    match = re.fullmatch(r"(\d+)([smhdw])", text)
    if match is None:
        raise ValueError(f"{text!r} is no span of time; write one such as 90s, 15m, 1h, 7d or 2w")
    return int(match[1]) * _SECONDS[match[2]]


def read(reader: SpoolReader, wanted: Wanted, since_ns: int) -> list[Series]:
    """Read what is wanted from the store, by measurement, field and tags.

    Args:
        reader: The store.
        wanted: Which series.
        since_ns: The oldest time, in nanoseconds since 1970-01-01 UTC.

    Raises:
        SpoolError: The store cannot be read.
    """
    # By time: a line that was refused and is sent again stands in the store twice.
    found: defaultdict[Key, dict[int, FieldValue]] = defaultdict(dict)
    for line in _lines(reader, wanted, since_ns):
        tags = tuple(sorted(line.point.tags.items()))
        for field, value in line.point.fields.items():
            if wanted.field in (None, field):
                found[(line.point.measurement, field, tags)][line.timestamp_ns] = value
    return [
        Series(measurement, field, dict(tags), tuple(samples.items()))
        for (measurement, field, tags), samples in sorted(found.items())
    ]


def _lines(reader: SpoolReader, wanted: Wanted, since_ns: int) -> Iterator[Line]:
    for block in reader.history(since_ns):
        yield from filter(wanted.fits, decode(block))
