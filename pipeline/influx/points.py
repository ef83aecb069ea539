"""The points of one host in a bucket: find the oldest, count, delete.

A point is a line as it was written: one measurement, one tag set, one time, whatever its fields.
"""

from pipeline.clock import rfc3339
from pipeline.influx.connection import Connection

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
    """One host's points in the configured bucket, and no other host's.

    All times are nanoseconds since 1970-01-01 UTC; a span holds its start and not its stop.

    Args:
        connection: With a timeout in minutes: InfluxDB counts and deletes slowly.
        host: The value of the tag `host`.
    """

    def __init__(self, connection: Connection, host: str) -> None:
        self._connection = connection
        self._host = host

    def oldest(self, start_ns: int, stop_ns: int) -> int | None:
        """Return the time of the oldest point in a span, or None.

        Raises:
            InfluxError: The server did not answer, or did not allow it.
        """
        # Values of different types cannot share a table, so they go before the series are merged.
        rows = self._query(
            start_ns,
            stop_ns,
            '|> first() |> keep(columns: ["_time"]) |> group() |> sort(columns: ["_time"])'
            " |> limit(n: 1) |> map(fn: (r) => ({ns: int(v: r._time)}))",
        )
        return rows[0]["ns"] if rows else None

    def count(self, start_ns: int, stop_ns: int) -> int:
        """Return how many points a span holds.

        Raises:
            InfluxError: The server did not answer, or did not allow it.
        """
        rows = self._query(
            start_ns,
            stop_ns,
            '|> drop(columns: ["_value", "_field", "_start", "_stop"])'
            ' |> unique(column: "_time") |> group()'
            ' |> map(fn: (r) => ({r with n: 1})) |> sum(column: "n")',
        )
        return rows[0]["n"] if rows else 0

    def times(self, measurement: str, start_ns: int, stop_ns: int, limit: int) -> list[int]:
        """Return when the points of a measurement in a span were taken, the newest first.

        Args:
            measurement: Its name.
            start_ns: The span's start.
            stop_ns: The span's stop.
            limit: How many points at most.

        Raises:
            InfluxError: The server did not answer, or did not allow it.
        """
        rows = self._query(
            start_ns,
            stop_ns,
            f"|> filter(fn: (r) => r._measurement == {flux_string(measurement)})"
            ' |> drop(columns: ["_value", "_field", "_start", "_stop"])'
            ' |> unique(column: "_time") |> keep(columns: ["_time"]) |> group()'
            f' |> sort(columns: ["_time"], desc: true) |> limit(n: {limit})'
            " |> map(fn: (r) => ({ns: int(v: r._time)}))",
        )
        return [row["ns"] for row in rows]

    def delete(self, start_ns: int, stop_ns: int) -> None:
        """Delete the points of a span. InfluxDB answers the same whether there were any or not.

        Raises:
            InfluxError: The server did not answer, or did not allow it.
        """
        settings = self._connection.settings
        self._connection.ask(
            lambda client: client.delete_api().delete(
                start=rfc3339(start_ns),
                stop=rfc3339(stop_ns - 1),  # InfluxDB deletes the stop as well
                predicate=f"host={predicate_string(self._host)}",
                bucket=settings.influxdb_bucket,
                org=settings.influxdb_org,
            )
        )

    def _query(self, start_ns: int, stop_ns: int, rest: str) -> list[dict[str, int]]:
        flux = (
            f"from(bucket: {flux_string(self._connection.settings.influxdb_bucket)})"
            f" |> range(start: {rfc3339(start_ns)}, stop: {rfc3339(stop_ns)})"
            f" |> filter(fn: (r) => r.host == {flux_string(self._host)}) {rest}"
        )
        tables = self._connection.ask(lambda client: client.query_api().query(flux))
        return [record.values for table in tables for record in table.records]
