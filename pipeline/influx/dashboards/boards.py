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
        Cell("Processor", select("system_metrics", "cpu_usage", NEWEST), "number", " %", 2, 2),
        Cell("Memory", select("system_metrics", "memory_percent", NEWEST), "number", " %", 2, 2),
        Cell(
            "File system of /",
            select("system_metrics", "disk_percent", NEWEST),
            "number",
            " %",
            2,
            2,
        ),
        Cell("Load", select("system", "load1", NEWEST), "number", "", 2, 2),
        Cell(
            "Temperature",
            select("system_metrics", "cpu_temperature", NEWEST),
            "number",
            " °C",
            2,
            2,
        ),
        Cell("Up for", select("system", "uptime_format", NEWEST), "number", "", 2, 2),
        Cell(
            "Processor, by kind of work",
            select(
                "cpu",
                "usage_user usage_system usage_iowait usage_steal usage_nice usage_softirq",
                MEAN,
                where='r.cpu == "cpu-total"',
            ),
            unit=" %",
        ),
        Cell(
            "Processor, each core",
            select("cpu", "usage_active", MEAN, where='r.cpu != "cpu-total"'),
            unit=" %",
        ),
        Cell("Memory", select("mem", "used cached buffered free", MEAN), unit="B"),
        Cell("Swap in use", select("swap", "used", MEAN), unit="B", width=3),
        Cell("Swap, in and out a second", select("swap", "in out", RATE), unit="B", width=3),
        Cell("File systems, use", select("disk", "used_percent", MEAN), unit=" %"),
        Cell("File systems, files", select("disk", "inodes_used_percent", MEAN), unit=" %"),
        Cell(
            "Disks, read and written a second",
            select("diskio", "read_bytes write_bytes", RATE),
            unit="B",
        ),
        Cell("Disks, busy", select("diskio", "io_util", MEAN), unit=" %"),
        Cell(
            "Network, received and sent a second",
            select("net", "bytes_recv bytes_sent", RATE),
            unit="B",
        ),
        Cell(
            "Network, errors and drops a second",
            select("net", "err_in err_out drop_in drop_out", RATE),
        ),
        Cell("Load and cores", select("system", "load1 load5 load15 n_cpus", "|> toFloat()", MEAN)),
        Cell("Temperature", select("temp", "temp", MEAN), unit=" °C"),
        Cell(
            "Processes, by state",
            select("processes", "running sleeping idle blocked zombies stopped", MEAN),
            width=4,
        ),
        Cell(
            "Processes, busiest (collectors.process)",
            select("process", "cpu_usage", MEAN),
            unit=" %",
            width=4,
        ),
        Cell(
            "Processes, largest (collectors.process)",
            select("process", "memory_rss", MEAN),
            unit="B",
            width=4,
        ),
        Cell(
            "Agent: waiting for delivery, points",
            select("metrics_agent", "backlog_points", MAX),
            width=4,
        ),
        Cell(
            "Agent: lost, points by cause",
            select("metrics_agent", "", GROWTH, where="r._field =~ /^lost_/"),
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
        Cell(
            "Agent: a reading and its commit",
            select("metrics_agent", "tick_ms write_ms", MEAN),
            unit=" ms",
            width=3,
        ),
        Cell(
            "Agent: each collector",
            select("metrics_agent", "collect_ms", MEAN),
            unit=" ms",
            width=3,
        ),
        Cell("Agent: memory", select("metrics_agent", "memory_rss", MAX), unit="B", width=3),
        Cell(
            "Agent: share of a core",
            select(
                "metrics_agent",
                "cpu_time_s",
                RATE,
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
