"""The dashboard of one host, which fits two screens."""

from pipeline.influx.dashboards.cells import (
    FULL,
    MEAN,
    MEMORY,
    RATE,
    SILENT,
    WEEK,
    Cell,
    Dashboard,
    gaps,
    graph,
    highest,
    number,
    of,
    script,
    select,
)

_TOTAL = 'r.cpu == "cpu-total"'
_PROCESSES = "Needs `enabled = true` under `[collectors.process]` in the host's settings.toml."
# The mean of all cores would hide one that is busy alone; a line for each would hide all.
_CORES = script(
    "cores = " + select(of("cpu", "usage_active"), MEAN, host=True),
    f"""mean = cores
  |> filter(fn: (r) => {_TOTAL})
  |> map(fn: (r) => ({{_time: r._time, _value: r._value, cores: "mean of all"}}))""",
    """busiest = cores
  |> filter(fn: (r) => r.cpu != "cpu-total")
  |> group(columns: ["_time"])
  |> max()
  |> group()
  |> map(fn: (r) => ({_time: r._time, _value: r._value, cores: "the busiest"}))""",
    """union(tables: [mean, busiest])
  |> map(fn: (r) => ({r with _value: math.round(x: 100.0 * r._value) / 100.0}))
  |> group(columns: ["cores"])""",
)

_TROUBLES = (
    'if r._field == "TcpRetransSegs" then "TCP segments sent again"'
    ' else if r._field == "TcpEstabResets" then "connections cut off"'
    ' else if r._field == "TcpExtListenDrops" then "connections not taken"'
    ' else "UDP errors"'
)


def _either(field: str, word: str, other: str) -> str:
    """Return the word for one of two fields, to stand after a name."""
    return f'(if r._field == "{field}" then " {word}" else " {other}")'


ONE_HOST = Dashboard(
    "Metrics: one host",
    "The chosen host: how it is, and what it did.",
    (
        number(
            "Last heard of",
            of("system", "uptime"),
            "|> map(fn: (r) => ({r with _value: (int(v: now()) - int(v: r._time)) / 1000000000}))",
            unit=" s ago",
            colors=SILENT,
            start=WEEK,
            note="Not in the last 7 days.",
        ),
        number("Processor", of("system_metrics", "cpu_usage"), unit=" %", digits=1, colors=FULL),
        number(
            "Memory", of("system_metrics", "memory_percent"), unit=" %", digits=1, colors=MEMORY
        ),
        number("Load", of("system", "load1"), digits=2),
        number(
            "Fullest file system",
            of("disk", "used_percent", 'r.mode != "ro"'),
            "|> group()",
            "|> max()",
            unit=" %",
            digits=1,
            colors=FULL,
        ),
        number("Up for", of("system", "uptime_format")),
        graph(
            "Processor, by kind of work",
            of(
                "cpu",
                "usage_user usage_system usage_iowait usage_steal usage_nice usage_softirq",
                _TOTAL,
            ),
            by=("kind", 'strings.trimPrefix(v: r._field, prefix: "usage_")'),
            unit=" %",
        ),
        Cell("Processor, the busiest core", _CORES, unit=" %", bounds=("0", "100")),
        graph("Load and cores", of("system", "load1 load5 load15 n_cpus"), "|> toFloat()", MEAN),
        graph(
            "Pressure: share of time that some wait, or all",
            of("pressure", "avg60"),
            by=("kind", 'r.resource + " " + r.type'),
            unit=" %",
            bounds=("0", ""),  # 5 % of all waiting for memory is much
            width=3,
            note="The kernel does not measure it.",
        ),
        graph(
            "Memory, and swap in use",
            f"({of('mem', 'used cached buffered free')}) or ({of('swap', 'used')})",
            by=("kind", 'if r._measurement == "swap" then "swap" else r._field'),
            unit="B",
            width=3,
        ),
        graph("Swap, read and written", of("swap", "in out"), RATE, MEAN, unit="B/s", width=3),
        highest(
            "Temperature",
            of("temp", "temp"),
            by=("sensor", "r.sensor"),
            host=True,
            unit=" °C",
            bounds=("", ""),
            note="No sensor.",
            width=3,
        ),
        highest(
            "File systems, space and files",
            of("disk", "used_percent inodes_used_percent"),
            by=("path", "r.path + " + _either("used_percent", "space", "files")),
            host=True,
            unit=" %",
        ),
        highest(
            "Disks, busy", of("diskio", "io_util"), by=("name", "r.name"), host=True, unit=" %"
        ),
        gaps(host=True, width=4),
        highest(
            "Disks, read and written",
            of("diskio", "read_bytes write_bytes"),
            RATE,
            by=("name", "r.name + " + _either("read_bytes", "read", "written")),
            host=True,
            unit="B/s",
            width=3,
        ),
        highest(
            "Network, received and sent",
            of("net", "bytes_recv bytes_sent"),
            RATE,
            by=("interface", "r.interface + " + _either("bytes_recv", "received", "sent")),
            host=True,
            unit="B/s",
            width=3,
        ),
        graph(
            "Network, errors and drops a second",
            of("net", "err_in err_out drop_in drop_out"),
            RATE,
            # Of all interfaces the worst one.
            '|> group(columns: ["_field"])',
            "|> aggregateWindow(every: v.windowPeriod, fn: max, createEmpty: false)",
            width=3,
        ),
        graph(
            "TCP and UDP, retransmissions and errors a second",
            of("nstat", "TcpRetransSegs TcpEstabResets TcpExtListenDrops UdpInErrors"),
            RATE,
            MEAN,
            by=("kind", _TROUBLES),
            width=3,
        ),
        graph(
            "Open files, and connections tracked",
            f"({of('linux_sysctl_fs', 'file-nr')}) or ({of('conntrack', 'ip_conntrack_count')})",
            by=("kind", 'if r._field == "file-nr" then "open files" else "connections"'),
            width=3,
        ),
        graph(
            "Processes, by state",
            of("processes", "running sleeping idle blocked zombies stopped"),
            width=3,
        ),
        highest(
            "Processes, the busiest",
            of("process", "cpu_usage"),
            by=("process", 'r.process_name + " of " + r.user'),
            host=True,
            unit=" %",
            bounds=("0", ""),
            note=_PROCESSES,
            width=3,
        ),
        highest(
            "Processes, the largest",
            of("process", "memory_rss"),
            by=("process", 'r.process_name + " of " + r.user'),
            host=True,
            unit="B",
            note=_PROCESSES,
            width=3,
        ),
    ),
)
