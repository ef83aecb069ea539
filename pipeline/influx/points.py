"""The points of one host in a bucket: find the oldest, count, delete.

A point is a line as it was written: one measurement, one tag set, one time, whatever its fields.
Every question raises an InfluxError where the server does not answer, or does not allow it.
"""

from collections.abc import Callable
from typing import TypeVar

from pipeline.clock import rfc3339
from pipeline.influx.connection import Connection
from pipeline.settings import Age

T = TypeVar("T")
Rows = list[dict[str, str]]
Read = Callable[[Rows], T]
"""Makes a result of the rows of a query."""

ALL = Age(0)
"""An age that is for all measurements."""

# A row for each point, whatever its fields: they may differ in type, which no table can hold.
_LINES = (
    '|> drop(columns: ["_value", "_field", "_start", "_stop"])'
    ' |> unique(column: "_time") |> map(fn: (r) => ({r with n: 1}))'
)
_NANOSECONDS = "|> map(fn: (r) => ({r with _time: int(v: r._time)}))"
# In Flux `${` begins an interpolation; in a delete predicate it is only two characters.
_PREDICATE = str.maketrans({"\\": "\\\\", '"': '\\"'})
_FLUX = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "$": "\\x24", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)


def flux_string(text: str) -> str:
    """Return a Flux string literal for any text."""
    return f'"{text.translate(_FLUX)}"'


def predicate_string(text: str) -> str:
    """Return a string literal of a delete predicate."""
    return f'"{text.translate(_PREDICATE)}"'


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
        pipe = f"{_LINES} {_total('_measurement')}"
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
            '|> drop(columns: ["_value", "_field", "_start", "_stop"])'
            ' |> unique(column: "_time") |> keep(columns: ["_time"]) |> group()'
            f' |> sort(columns: ["_time"], desc: true) |> limit(n: {limit}) {_NANOSECONDS}'
        )
        return self._query(start_ns, stop_ns, Age(0, measurement), pipe, _times)

    def remove(self, start_ns: int, stop_ns: int, age: Age = ALL) -> int:
        """Delete the points of a span that an age is for; return how many are gone."""
        # The server's answer to a delete counts nothing.
        before = self.counts(start_ns, stop_ns, age)
        # Its predicate knows only equality: `!=` is answered with 204, too, and deletes anything.
        for name in before if age.others else (age.measurement,) if before else ():
            self.delete(start_ns, stop_ns, name)
        return sum(before.values()) - self.count(start_ns, stop_ns, age) if before else 0

    def delete(self, start_ns: int, stop_ns: int, measurement: str | None = None) -> None:
        """Delete the points of a span, all or those of a measurement.

        InfluxDB answers the same whether there were any or not.
        """
        predicate = f"host={predicate_string(self._host)}"
        if measurement is not None:
            predicate += f" AND _measurement={predicate_string(measurement)}"
        span = (rfc3339(start_ns), rfc3339(stop_ns - 1))  # InfluxDB deletes the stop as well
        where = (self.bucket, self._connection.settings.influxdb_org)
        self._connection.ask(lambda api: api.delete_points(*span, predicate, *where))

    def _query(self, start_ns: int, stop_ns: int, age: Age, rest: str, read: Read[T]) -> T:
        terms = [f"r.host == {flux_string(self._host)}"]
        if age.measurement is not None:
            terms.append(f"r._measurement == {flux_string(age.measurement)}")
        terms += (f"r._measurement != {flux_string(other)}" for other in age.others)
        pipe = f"|> filter(fn: (r) => {' and '.join(terms)}) {rest}"
        return self._connection.query(_flux(self.bucket, start_ns, stop_ns, pipe), read)


def count_by_host(connection: Connection, bucket: str, stop_ns: int) -> dict[str, int]:
    """Return how many points of a bucket are older than a time, by host; "" has those of none."""
    flux = _flux(bucket, 0, stop_ns, f"{_LINES} {_total('host')}")
    return connection.query(flux, lambda rows: _numbers(rows, "n", "host"))


def _flux(bucket: str, start_ns: int, stop_ns: int, pipe: str) -> str:
    span = f"range(start: {rfc3339(start_ns)}, stop: {rfc3339(stop_ns)})"
    return f"from(bucket: {flux_string(bucket)}) |> {span} {pipe}"


def _total(column: str) -> str:
    return f'|> group(columns: ["{column}"]) |> sum(column: "n")'


def _times(rows: Rows) -> list[int]:
    return [int(row["_time"]) for row in rows]


def _numbers(rows: Rows, column: str, by: str = "_measurement") -> dict[str, int]:
    # A column that no row has is not in the answer: points may have no host.
    return {row.get(by, ""): int(row[column]) for row in rows}
