"""The points of one host in a bucket: find the oldest, count, delete.

A point is a line as it was written: one measurement, one tag set, one time, whatever its fields.
Every question raises an InfluxError where the server does not answer, or does not allow it.
"""

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from pipeline.clock import rfc3339
from pipeline.influx.answer import Answer, InfluxError
from pipeline.influx.connection import Connection
from pipeline.settings import Age

T = TypeVar("T")
Rows = list[dict[str, str]]
Read = Callable[[Rows], T]
"""Makes a result of the rows of a query."""

ALL = Age(0)
"""An age that is for all measurements."""

# A row for each point, whatever its fields: they may differ in type, which no table can hold.
_LINES = '|> drop(columns: ["_value", "_field", "_start", "_stop"]) |> unique(column: "_time")'
_NANOSECONDS = "|> map(fn: (r) => ({r with _time: int(v: r._time)}))"
# In Flux `${` begins an interpolation; in a delete predicate it is only two characters.
_PREDICATE = str.maketrans({"\\": "\\\\", '"': '\\"'})
_FLUX = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "$": "\\x24", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)


class UnreadableError(InfluxError):
    """InfluxDB has points that Flux cannot read, as of a series with a tag `_value` or `_time`."""


def flux_string(text: str) -> str:
    """Return a Flux string literal for any text."""
    return f'"{text.translate(_FLUX)}"'


def predicate(host: str, measurement: str | None = None) -> str:
    """Return the predicate of a deletion of a host's points, all or those of a measurement."""
    its = f'host="{host.translate(_PREDICATE)}"'
    if measurement is None:
        return its
    return f'{its} AND _measurement="{measurement.translate(_PREDICATE)}"'


class HostPoints:
    """One host's points in a bucket, and no other host's.

    All times are nanoseconds since 1970-01-01 UTC; a span holds its start and not its stop.

    Args:
        connection: One with a timeout of minutes: InfluxDB counts and deletes slowly.
        host: The value of the tag `host`.
        bucket: Another bucket than the configured one.

    Attributes:
        bucket: The bucket's name.
    """

    def __init__(self, connection: Connection, host: str, bucket: str = "") -> None:
        self._connection = connection
        self._host = host
        self.bucket = bucket or connection.settings.influxdb_bucket

    def oldest(self, start_ns: int, stop_ns: int, age: Age = ALL) -> int | None:
        """Return the time of the oldest point in a span that an age is for, or None."""
        # Values of different types cannot share a table, so they go before the series are merged.
        pipe = (
            '|> first() |> keep(columns: ["_time"]) |> group() |> sort(columns: ["_time"])'
            f" |> limit(n: 1) {_NANOSECONDS}"
        )
        return next(iter(self._query(start_ns, stop_ns, age, pipe, _times)), None)

    def count(self, start_ns: int, stop_ns: int, age: Age = ALL) -> int:
        """Return how many points of a span an age is for."""
        return sum(self.counts(start_ns, stop_ns, age).values())

    def counts(self, start_ns: int, stop_ns: int, age: Age = ALL) -> dict[str, int]:
        """Return how many points of a span an age is for, by measurement."""
        pipe = _number_by("_measurement")
        return self._query(start_ns, stop_ns, age, pipe, lambda rows: _numbers(rows, "n"))

    def measurements(self, start_ns: int, stop_ns: int, age: Age = ALL) -> dict[str, int]:
        """Return the time of the oldest point of a span that an age is for, by measurement."""
        pipe = (
            '|> first() |> keep(columns: ["_time", "_measurement"])'
            ' |> group(columns: ["_measurement"]) |> sort(columns: ["_time"]) |> limit(n: 1)'
            f" {_NANOSECONDS}"
        )
        return self._query(start_ns, stop_ns, age, pipe, lambda rows: _numbers(rows, "_time"))

    def times(self, measurement: str, start_ns: int, stop_ns: int, limit: int) -> list[int]:
        """Return when up to `limit` points of a measurement were taken, the newest first."""
        pipe = (
            f'{_LINES} |> keep(columns: ["_time"]) |> group()'
            f' |> sort(columns: ["_time"], desc: true) |> limit(n: {limit}) {_NANOSECONDS}'
        )
        return self._query(start_ns, stop_ns, Age(0, measurement), pipe, _times)

    def measurements_ever(self, age: Age = ALL) -> list[str]:
        """Return the measurements that an age is for, of any time and whether they can be read."""
        is_its = _is_its(self._host)
        names = _measurements_ever(self._connection, self.bucket, is_its)
        return [name for name in names if age.covers(name)]

    def unreadable(self, start_ns: int, stop_ns: int, age: Age = ALL) -> list[str]:
        """Return the measurements of a span that an age is for and that Flux cannot read."""
        if self._is_readable(start_ns, stop_ns, age):
            return []
        names = self.measurements_ever(age)
        return [n for n in names if not self._is_readable(start_ns, stop_ns, Age(0, n))]

    def _is_readable(self, start_ns: int, stop_ns: int, age: Age) -> bool:
        try:
            self.oldest(start_ns, stop_ns, age)
        except UnreadableError:
            return False
        return True

    def remove(self, start_ns: int, stop_ns: int, age: Age = ALL) -> int:
        """Delete the points of a span that an age is for; return how many are gone."""
        # The server's answer to a delete counts nothing.
        before = self.counts(start_ns, stop_ns, age)
        # Its predicate knows only equality: `!=` is answered with 204, too, and deletes anything.
        for name in before if age.others else (age.measurement,) if before else ():
            self.delete(start_ns, stop_ns, name)
        return sum(before.values()) - self.count(start_ns, stop_ns, age) if before else 0

    def remove_unreadable(self, start_ns: int, stop_ns: int, age: Age = ALL) -> list[str]:
        """Delete the points of a span of `unreadable`; return their measurements."""
        found = self.unreadable(start_ns, stop_ns, age)
        for name in found:
            self.delete(start_ns, stop_ns, name)
        return found

    def delete(self, start_ns: int, stop_ns: int, measurement: str | None = None) -> None:
        """Delete the points of a span, all or those of a measurement.

        InfluxDB answers the same whether there were any or not.
        """
        span = (rfc3339(start_ns), rfc3339(stop_ns - 1))  # InfluxDB deletes the stop as well
        where = (self.bucket, self._connection.settings.influxdb_org)
        what = predicate(self._host, measurement)
        self._connection.ask(lambda api: api.delete_points(*span, what, *where))

    def _query(self, start_ns: int, stop_ns: int, age: Age, rest: str, read: Read[T]) -> T:
        terms = [_is_its(self._host)]
        if age.measurement is not None:
            terms.append(_is_of(age.measurement))
        terms += (f"r._measurement != {flux_string(other)}" for other in age.others)
        pipe = f"|> filter(fn: (r) => {' and '.join(terms)}) {rest}"
        return _ask(self._connection, _flux(self.bucket, start_ns, stop_ns, pipe), read)


def count_by_host(
    connection: Connection, bucket: str, stop_ns: int
) -> tuple[dict[str, int], list[str]]:
    """Count the points of a bucket that are older than a time.

    Returns:
        How many there are by host, "" having those of none; and the measurements that Flux cannot
        read, whose points are not among them.
    """

    def count(condition: str = "") -> dict[str, int]:
        flux = _flux(bucket, 0, stop_ns, f"{condition} {_number_by('host')}")
        return _ask(connection, flux, lambda rows: _numbers(rows, "n", "host"))

    try:
        return count(), []
    except UnreadableError:
        counts: Counter[str] = Counter()
        unreadable = []
        for name in _measurements_ever(connection, bucket, "true"):
            try:
                counts.update(count(f"|> filter(fn: (r) => {_is_of(name)})"))
            except UnreadableError:
                unreadable.append(name)
        return counts, unreadable


def _measurements_ever(connection: Connection, bucket: str, condition: str) -> list[str]:
    # Of the index: no point is read.
    flux = (
        'import "influxdata/influxdb/schema" '
        f'schema.tagValues(bucket: {flux_string(bucket)}, tag: "_measurement", '
        f"predicate: (r) => {condition}, start: 0)"
    )
    return connection.query(flux, lambda rows: [row["_value"] for row in rows])


def _ask(connection: Connection, flux: str, read: Read[T]) -> T:
    try:
        return connection.query(flux, read)
    except InfluxError as error:
        if _is_about_points(error.answer):
            raise UnreadableError(error.answer) from error
        raise


def _is_about_points(answer: Answer) -> bool:
    """Tell whether a question that is right failed by the points that it is about."""
    refused = answer.status == 400 and answer.code == "invalid"
    return refused or (answer.status == 500 and "panic" in answer.message)


def _is_its(host: str) -> str:
    return f"r.host == {flux_string(host)}"


def _is_of(measurement: str) -> str:
    return f"r._measurement == {flux_string(measurement)}"


def _flux(bucket: str, start_ns: int, stop_ns: int, pipe: str) -> str:
    span = f"range(start: {rfc3339(start_ns)}, stop: {rfc3339(stop_ns)})"
    return f"from(bucket: {flux_string(bucket)}) |> {span} {pipe}"


def _number_by(column: str) -> str:
    one_each = "|> map(fn: (r) => ({r with n: 1}))"
    return f'{_LINES} {one_each} |> group(columns: ["{column}"]) |> sum(column: "n")'


def _times(rows: Rows) -> list[int]:
    return [_int64(row["_time"]) for row in rows]


def _numbers(rows: Rows, column: str, by: str = "_measurement") -> dict[str, int]:
    # A column that no row has is not in the answer: points may have no host.
    return {row.get(by, ""): _int64(row[column]) for row in rows}


def _int64(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:  # a time beyond that could not be written as a date
        raise ValueError(text)
    return number
