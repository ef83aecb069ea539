"""Series out of the local history, for `show` and the page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.point import FieldValue, read_fields, read_series, scan
from pipeline.spool.series import Series, SeriesBuilder

Key = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class SeriesFilter:
    """Which series to read; None and an empty table stand for all.

    Attributes:
        measurement: Only this measurement.
        field: Only this field.
        tags: Only series with these tags.
        rate: The growth per second, in place of the values.
    """

    measurement: str | None = None
    field: str | None = None
    tags: Mapping[str, str] | None = None
    rate: bool = False

    def matches(self, measurement: str, tags: Mapping[str, str]) -> bool:
        """Return whether a series is one of them."""
        named = self.measurement in (None, measurement)
        return named and (self.tags or {}).items() <= tags.items()


@dataclass(frozen=True, slots=True)
class FieldSummary:
    """A field of the local history.

    Attributes:
        measurement: Its measurement.
        field: Its key.
        series: How many series have it.
        last: The newest value; of several series at one time, that of the last one.
        span: The least and the greatest of the newest numbers of all series; None without numbers.
    """

    measurement: str
    field: str
    series: int
    last: FieldValue
    span: tuple[float, float] | None = None


def read(
    blocks: Iterable[str], wanted: Sequence[SeriesFilter], points: int | None = None
) -> list[Series]:
    """Read series, thinned as by `SeriesBuilder`, in the order of measurement, field and tags."""
    names = {one.measurement for one in wanted if one.measurement is not None}
    measurements = names if all(one.measurement is not None for one in wanted) else None
    # Each reading has the same series, so the first part of a line is read once.
    known: dict[str, list[tuple[SeriesFilter, dict[str, SeriesBuilder]]]] = {}
    for block in blocks:
        for line in scan(block, measurements):
            found = known.get(line.series)
            if found is None:
                series = read_series(line.series)
                found = known[line.series] = [(one, {}) for one in wanted if one.matches(*series)]
            for one, fields in found:
                for field, value in read_fields(line.fields, one.field).items():
                    builder = fields.get(field)
                    if builder is None:
                        builder = fields[field] = SeriesBuilder(points, rate=one.rate)
                    builder.add(line.timestamp_ns, value)
    return sorted(_series(known), key=_key)


def _series(
    known: Mapping[str, list[tuple[SeriesFilter, dict[str, SeriesBuilder]]]],
) -> Iterator[Series]:
    for text, found in known.items():
        measurement, tags = read_series(text)
        for _, fields in found:
            for field, builder in fields.items():
                if (one := builder.series(measurement, field, tags)) is not None:
                    yield one


def _key(series: Series) -> Key:
    return series.measurement, series.field, tuple(sorted(series.tags.items()))


def fields(blocks: Iterable[str], tags: Mapping[str, str] | None = None) -> list[FieldSummary]:
    """List the fields of readings, of series with these tags, by measurement and field."""
    # To read the fields of every line would take ten times as long. So of lines that differ in
    # their values only, the newest is kept and read.
    newest: dict[tuple[str, int], str] = {}
    for block in blocks:
        for line in scan(block):
            shape = (line.series, line.fields.count("="))
            newest.pop(shape, None)
            newest[shape] = line.fields
    found: dict[tuple[str, str], dict[str, FieldValue]] = {}
    for (text, _), values in newest.items():
        measurement, its = read_series(text)
        if not (tags or {}).items() <= its.items():
            continue
        for field, value in read_fields(values).items():
            series = found.setdefault((measurement, field), {})
            series.pop(text, None)
            series[text] = value
    return [_field(key, tuple(found[key].values())) for key in sorted(found)]


def _field(key: tuple[str, str], newest: Sequence[FieldValue]) -> FieldSummary:
    numbers = [value for value in newest if not isinstance(value, bool | str)]
    span = (min(numbers), max(numbers)) if numbers else None
    return FieldSummary(*key, len(newest), newest[-1], span)
