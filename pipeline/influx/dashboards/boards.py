"""The dashboards: what is in their cells. `template.py` makes an InfluxDB template of it."""

from pipeline.influx.dashboards.cells import (
    BY_HOST,
    GROWTH,
    MAX,
    MEAN,
    NEWEST,
    RATE,
    SUM,
    Cell,
    Dashboard,
    fleet,
    select,
)


def _number(title: str, measurement: str, field: str, unit: str = "") -> Cell:
    return Cell(title, select(measurement, field, NEWEST), "number", unit, width=2, height=2)


def _graph(
    title: str,
    measurement: str,
    fields: str,
    *how: str,
    unit: str = "",
    width: int = 6,
    where: str = "",
) -> Cell:
    query = select(measurement, fields, *(how or (MEAN,)), where=where)
    return Cell(title, query, unit=unit, width=width)


FLEET = Dashboard(
    "Metrics: all hosts",
    "The newest values of every host, who is silent, and whether the agents keep up.",
    (
        Cell(
            "Newest values",
            fleet(
                "system_metrics",
                "cpu_usage memory_percent disk_percent cpu_temperature",
                NEWEST,
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
            fleet(
                "system",
                "uptime",
                NEWEST,
                "|> map(fn: (r) => ({host: r.host, _time: r._time,"
                " seconds_ago: (int(v: now()) - int(v: r._time)) / 1000000000}))",
                "|> group()",
                '|> sort(columns: ["seconds_ago"], desc: true)',
            ),
            "table",
            width=4,
            height=4,
        ),
        Cell("Processor", fleet("system_metrics", "cpu_usage", MEAN), unit=" %"),
        Cell("Memory", fleet("system_metrics", "memory_percent", MEAN), unit=" %"),
        Cell(
            "Fullest file system",
            fleet("disk", "used_percent", BY_HOST, MAX, where='r.mode != "ro"'),
            unit=" %",
        ),
        Cell("Load, mean over 5 minutes", fleet("system", "load5", MEAN)),
        Cell(
            "Waiting for delivery, points",
            fleet("metrics_agent", "backlog_points", MAX, where="not exists r.collector"),
        ),
        Cell(
            "Lost, points",
            fleet("metrics_agent", "", GROWTH, BY_HOST, where="r._field =~ /^lost_/"),
        ),
        Cell(
            "Readings that are missing",
            fleet("metrics_gap", "readings", BY_HOST, SUM),
        ),
        Cell("Agents' memory", fleet("metrics_agent", "memory_rss", MAX), unit="B"),
    ),
)

HOST = Dashboard(
    "Metrics: one host",
    "Everything of the chosen host, and how its agent does.",
    (
        _number("Processor", "system_metrics", "cpu_usage", " %"),
        _number("Memory", "system_metrics", "memory_percent", " %"),
        _number("File system of /", "system_metrics", "disk_percent", " %"),
        _number("Load", "system", "load1"),
        _number("Temperature", "system_metrics", "cpu_temperature", " °C"),
        _number("Up for", "system", "uptime_format"),
        _graph(
            "Processor, by kind of work",
            "cpu",
            "usage_user usage_system usage_iowait usage_steal usage_nice usage_softirq",
            unit=" %",
            where='r.cpu == "cpu-total"',
        ),
        _graph(
            "Processor, each core", "cpu", "usage_active", unit=" %", where='r.cpu != "cpu-total"'
        ),
        _graph("Memory", "mem", "used cached buffered free", unit="B"),
        _graph("Swap in use", "swap", "used", unit="B", width=3),
        _graph("Swap, in and out a second", "swap", "in out", RATE, unit="B", width=3),
        _graph("File systems, use", "disk", "used_percent", unit=" %"),
        _graph("File systems, files", "disk", "inodes_used_percent", unit=" %"),
        _graph(
            "Disks, read and written a second", "diskio", "read_bytes write_bytes", RATE, unit="B"
        ),
        _graph("Disks, busy", "diskio", "io_util", unit=" %"),
        _graph(
            "Network, received and sent a second", "net", "bytes_recv bytes_sent", RATE, unit="B"
        ),
        _graph(
            "Network, errors and drops a second", "net", "err_in err_out drop_in drop_out", RATE
        ),
        _graph("Load and cores", "system", "load1 load5 load15 n_cpus", "|> toFloat()", MEAN),
        _graph("Temperature", "temp", "temp", unit=" °C"),
        _graph(
            "Processes, by state",
            "processes",
            "running sleeping idle blocked zombies stopped",
            width=4,
        ),
        _graph(
            "Processes, busiest (collectors.process)", "process", "cpu_usage", unit=" %", width=4
        ),
        _graph(
            "Processes, largest (collectors.process)", "process", "memory_rss", unit="B", width=4
        ),
        _graph(
            "Agent: waiting for delivery, points", "metrics_agent", "backlog_points", MAX, width=4
        ),
        _graph(
            "Agent: lost, points by cause",
            "metrics_agent",
            "",
            GROWTH,
            where="r._field =~ /^lost_/",
            width=4,
        ),
        Cell(
            "Agent: spans without readings",
            select(
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
        _graph(
            "Agent: a reading and its commit",
            "metrics_agent",
            "tick_ms write_ms",
            unit=" ms",
            width=3,
        ),
        _graph("Agent: each collector", "metrics_agent", "collect_ms", unit=" ms", width=3),
        _graph("Agent: memory", "metrics_agent", "memory_rss", MAX, unit="B", width=3),
        _graph(
            "Agent: share of a core",
            "metrics_agent",
            "cpu_time_s",
            RATE,
            "|> map(fn: (r) => ({r with _value: 100.0 * r._value}))",
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
