"""The dashboards: what is in their cells. `template.py` makes an InfluxDB template of it.

In the queries `v.metrics_bucket` and `v.metrics_host` are what is chosen above the dashboard, and
`v.timeRangeStart`, `v.timeRangeStop` and `v.windowPeriod` what InfluxDB's own time menu says.
"""

from dataclasses import dataclass
from typing import Literal

_NEWEST = "|> last()"
_MEAN = "|> aggregateWindow(every: v.windowPeriod, fn: mean, createEmpty: false)"
_MAX = "|> aggregateWindow(every: v.windowPeriod, fn: max, createEmpty: false)"
_SUM = "|> aggregateWindow(every: v.windowPeriod, fn: sum, createEmpty: false)"
# Counters begin anew when a host or an agent restarts.
_RATE = f"|> derivative(unit: 1s, nonNegative: true, initialZero: true)\n  {_MEAN}"
_GROWTH = f"|> difference(nonNegative: true, initialZero: true)\n  {_SUM}"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a dashboard.

    Attributes:
        title: Its heading.
        query: The Flux query that fills it.
        kind: A graph over time, one number, or a table.
        unit: Stands after each number; "B" makes bytes readable.
        width: Of twelve columns.
        height: In rows.
    """

    title: str
    query: str
    kind: Literal["graph", "number", "table"] = "graph"
    unit: str = ""
    width: int = 6
    height: int = 3


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard: its cells fill rows of twelve columns, from left to right."""

    name: str
    description: str
    cells: tuple[Cell, ...]


def _select(measurement: str, fields: str, *rest: str, where: str = "", host: bool = True) -> str:
    """Return a query for some fields of a measurement, of the chosen host or of all.

    Args:
        measurement: Its name.
        fields: Names with spaces between; "" is all.
        rest: What to do with the series.
        where: A further condition for a row.
        host: Whether only the chosen host is meant.
    """
    conditions = [f'r._measurement == "{measurement}"']
    if host:
        conditions.append("r.host == v.metrics_host")
    if where:
        conditions.append(where)
    if fields:
        either = " or ".join(f'r._field == "{field}"' for field in fields.split())
        conditions.append(f"({either})")
    steps = [
        "from(bucket: v.metrics_bucket)",
        "|> range(start: v.timeRangeStart, stop: v.timeRangeStop)",
        *(f"|> filter(fn: (r) => {condition})" for condition in conditions),
        *rest,
    ]
    return "\n  ".join(steps)


def _fleet(measurement: str, fields: str, *rest: str, where: str = "") -> str:
    return _select(measurement, fields, *rest, where=where, host=False)


_BY_HOST = '|> group(columns: ["host", "_field"])'

FLEET = Dashboard(
    "Metrics: all hosts",
    "The newest values of every host, who is silent, and whether the agents keep up.",
    (
        Cell(
            "Newest values",
            _fleet(
                "system_metrics",
                "cpu_usage memory_percent disk_percent cpu_temperature",
                _NEWEST,
                '|> keep(columns: ["host", "_time", "_field", "_value"])',
                '|> pivot(rowKey: ["host", "_time"], columnKey: ["_field"], valueColumn: "_value")',
                "|> group()",
                '|> sort(columns: ["host"])',
            ),
            "table",
            width=8,
            height=4,
        ),
        Cell(
            "Last heard of, the longest silent first",
            _fleet(
                "system",
                "uptime",
                _NEWEST,
                "|> map(fn: (r) => ({host: r.host, _time: r._time,"
                " seconds_ago: (int(v: now()) - int(v: r._time)) / 1000000000}))",
                "|> group()",
                '|> sort(columns: ["seconds_ago"], desc: true)',
            ),
            "table",
            width=4,
            height=4,
        ),
        Cell("Processor", _fleet("system_metrics", "cpu_usage", _MEAN), unit=" %"),
        Cell("Memory", _fleet("system_metrics", "memory_percent", _MEAN), unit=" %"),
        Cell(
            "Fullest file system",
            _fleet("disk", "used_percent", _BY_HOST, _MAX, where='r.mode != "ro"'),
            unit=" %",
        ),
        Cell("Load, mean over 5 minutes", _fleet("system", "load5", _MEAN)),
        Cell(
            "Waiting for delivery, points",
            _fleet("metrics_agent", "backlog_points", _MAX, where="not exists r.collector"),
        ),
        Cell(
            "Lost, points",
            _fleet("metrics_agent", "", _GROWTH, _BY_HOST, where="r._field =~ /^lost_/"),
        ),
        Cell(
            "Readings that are missing",
            _fleet("metrics_gap", "readings", _BY_HOST, _SUM),
        ),
        Cell("Agents' memory", _fleet("metrics_agent", "memory_rss", _MAX), unit="B"),
    ),
)

HOST = Dashboard(
    "Metrics: one host",
    "Everything of the chosen host, and how its agent does.",
    (
        Cell("Processor", _select("system_metrics", "cpu_usage", _NEWEST), "number", " %", 2, 2),
        Cell("Memory", _select("system_metrics", "memory_percent", _NEWEST), "number", " %", 2, 2),
        Cell(
            "File system of /",
            _select("system_metrics", "disk_percent", _NEWEST),
            "number",
            " %",
            2,
            2,
        ),
        Cell("Load", _select("system", "load1", _NEWEST), "number", "", 2, 2),
        Cell(
            "Temperature",
            _select("system_metrics", "cpu_temperature", _NEWEST),
            "number",
            " °C",
            2,
            2,
        ),
        Cell("Up for", _select("system", "uptime_format", _NEWEST), "number", "", 2, 2),
        Cell(
            "Processor, by kind of work",
            _select(
                "cpu",
                "usage_user usage_system usage_iowait usage_steal usage_nice usage_softirq",
                _MEAN,
                where='r.cpu == "cpu-total"',
            ),
            unit=" %",
        ),
        Cell(
            "Processor, each core",
            _select("cpu", "usage_active", _MEAN, where='r.cpu != "cpu-total"'),
            unit=" %",
        ),
        Cell("Memory", _select("mem", "used cached buffered free", _MEAN), unit="B"),
        Cell("Swap in use", _select("swap", "used", _MEAN), unit="B", width=3),
        Cell("Swap, in and out a second", _select("swap", "in out", _RATE), unit="B", width=3),
        Cell("File systems, use", _select("disk", "used_percent", _MEAN), unit=" %"),
        Cell("File systems, files", _select("disk", "inodes_used_percent", _MEAN), unit=" %"),
        Cell(
            "Disks, read and written a second",
            _select("diskio", "read_bytes write_bytes", _RATE),
            unit="B",
        ),
        Cell("Disks, busy", _select("diskio", "io_util", _MEAN), unit=" %"),
        Cell(
            "Network, received and sent a second",
            _select("net", "bytes_recv bytes_sent", _RATE),
            unit="B",
        ),
        Cell(
            "Network, errors and drops a second",
            _select("net", "err_in err_out drop_in drop_out", _RATE),
        ),
        Cell(
            "Load and cores", _select("system", "load1 load5 load15 n_cpus", "|> toFloat()", _MEAN)
        ),
        Cell("Temperature", _select("temp", "temp", _MEAN), unit=" °C"),
        Cell(
            "Processes, by state",
            _select("processes", "running sleeping idle blocked zombies stopped", _MEAN),
            width=4,
        ),
        Cell(
            "Processes, busiest (collectors.process)",
            _select("process", "cpu_usage", _MEAN),
            unit=" %",
            width=4,
        ),
        Cell(
            "Processes, largest (collectors.process)",
            _select("process", "memory_rss", _MEAN),
            unit="B",
            width=4,
        ),
        Cell(
            "Agent: waiting for delivery, points",
            _select("metrics_agent", "backlog_points", _MAX),
            width=4,
        ),
        Cell(
            "Agent: lost, points by cause",
            _select("metrics_agent", "", _GROWTH, where="r._field =~ /^lost_/"),
            width=4,
        ),
        Cell(
            "Agent: spans without readings",
            _select(
                "metrics_gap",
                "readings seconds",
                "|> toFloat()",
                '|> keep(columns: ["_time", "cause", "_field", "_value"])',
                '|> pivot(rowKey: ["_time", "cause"], columnKey: ["_field"],'
                ' valueColumn: "_value")',
                "|> group()",
                '|> sort(columns: ["_time"], desc: true)',
            ),
            "table",
            width=4,
        ),
        Cell(
            "Agent: a reading and its commit",
            _select("metrics_agent", "tick_ms write_ms", _MEAN),
            unit=" ms",
            width=3,
        ),
        Cell(
            "Agent: each collector",
            _select("metrics_agent", "collect_ms", _MEAN),
            unit=" ms",
            width=3,
        ),
        Cell("Agent: memory", _select("metrics_agent", "memory_rss", _MAX), unit="B", width=3),
        Cell(
            "Agent: share of a core",
            _select(
                "metrics_agent",
                "cpu_time_s",
                _RATE,
                "|> map(fn: (r) => ({r with _value: 100.0 * r._value}))",
            ),
            unit=" %",
            width=3,
        ),
    ),
)

DASHBOARDS = (FLEET, HOST)

VARIABLES = {
    "metrics_bucket": (
        "buckets()\n"
        "  |> filter(fn: (r) => r.name !~ /^_/)\n"
        '  |> rename(columns: {name: "_value"})\n'
        '  |> keep(columns: ["_value"])'
    ),
    "metrics_host": (
        'import "influxdata/influxdb/schema"\n\n'
        'schema.tagValues(bucket: v.metrics_bucket, tag: "host")'
    ),
}
"""What there is to choose above a dashboard: the query for the choices, by name."""
