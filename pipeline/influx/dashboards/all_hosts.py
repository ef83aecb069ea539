"""The dashboard of all hosts: what is wrong, who is silent, who is busiest and fullest."""

from pipeline.influx.dashboards.cells import (
    AGO,
    FULL,
    NEWEST,
    PAGE,
    SILENT,
    WEEK,
    Cell,
    Dashboard,
    gaps,
    highest,
    of,
    script,
    select,
    table,
)

_HEARD = of("system", "uptime")
# The newest status of each series, whichever its level, of checks that run each hour at least.
_WRONG = script(
    AGO,
    """from(bucket: "_monitoring")
  |> range(start: -2h)
  |> filter(fn: (r) => r._measurement == "statuses" and r._field == "_message")
  |> group(columns: ["_level", "_start", "_stop", "_time", "_value"], mode: "except")
  |> sort(columns: ["_time"])
  |> last()
  |> group()
  |> filter(fn: (r) => r._level != "ok")
  |> map(fn: (r) => ({
    level: r._level,
    message: r._value,
    check: r._check_name,
    looked: ago(t: r._time) + " ago",
    rank: if r._level == "crit" then 0 else if r._level == "warn" then 1 else 2,
  }))""",
)
_COLUMNS = '|> keep(columns: ["host", "_field", "_value"])'
_WORST = script(
    "swap = (tables=<-, t, u) => strings.replaceAll(v: tables, t: t, u: u)",
    "escape = (v) => http.pathEscape(inputString: v)"
    ' |> swap(t: "&", u: "%26") |> swap(t: "+", u: "%2B")',
    # A host may lack a value. Its place stays empty: only numbers are coloured.
    "some = (v) => if exists v then v else 0.0",
    f"values = {select(of('system_metrics', 'cpu_usage memory_percent'), NEWEST, _COLUMNS)}",
    "disks = "
    + select(
        of("disk", "used_percent", 'r.mode != "ro"'),
        NEWEST,
        '|> group(columns: ["host", "_field"])',
        "|> max()",
        _COLUMNS,
    ),
    f"""union(tables: [values, disks])
  |> group()
  |> pivot(rowKey: ["host"], columnKey: ["_field"], valueColumn: "_value")
  |> map(fn: (r) => {{
    a = some(v: r.cpu_usage)
    b = if some(v: r.memory_percent) > a then some(v: r.memory_percent) else a
    c = if some(v: r.used_percent) > b then some(v: r.used_percent) else b

    return {{
      host: r.host,
      processor: r.cpu_usage,
      memory: r.memory_percent,
      disk: r.used_percent,
      page: {PAGE} + escape(v: v.metrics_bucket) + "&vars%5Bmetrics_host%5D=" + escape(v: r.host),
      rank: 100.0 - c,
    }}
  }})""",
)
_LAST = script(
    AGO,
    select(
        _HEARD,
        NEWEST,
        "|> group()",
        "|> map(fn: (r) => ({host: r.host, ago: ago(t: r._time),"
        " seconds: (int(v: now()) - int(v: r._time)) / 1000000000, rank: int(v: r._time)}))",
        start=WEEK,
    ),
)
# The first row has the first colour, so "heard" comes first. A window that the span cuts off may
# hold no reading.
_WHEN = script(
    "least = int(v: 2m)\nshown = int(v: v.windowPeriod)\n"
    "every = duration(v: if shown < least then least else shown)",
    "seen = "
    + select(
        _HEARD,
        "|> aggregateWindow(every: every, fn: count, createEmpty: true)",
        "|> filter(fn: (r) => r._time < r._stop and"
        " int(v: r._time) - int(v: every) >= int(v: r._start))",
        "|> map(fn: (r) => ({_time: r._time, host: r.host,"
        ' heard: if r._value > 0 then "heard" else "silent"}))',
        "|> group()",
    ),
    'key = seen |> map(fn: (r) => ({_time: r._time, host: "(heard)", heard: "heard"}))',
    """union(tables: [key, seen])
  |> group(columns: ["host"])
  |> unique(column: "_time")
  |> group()""",
)

ALL_HOSTS = Dashboard(
    "Metrics: all hosts",
    "What is wrong now, the worst hosts, who is silent, and who is busiest and fullest.",
    (
        table(
            "What is wrong now",
            _WRONG,
            {"level": "level", "message": "what", "check": "check", "looked": "looked at"},
            "rank",
            width=12,
            note="Nothing, as far as the checks see.",
        ),
        table(
            "Hosts, the worst first",
            _WORST,
            {
                "host": "host",
                "processor": "processor %",
                "memory": "memory %",
                "disk": "fullest file system %",
                "page": "page",
            },
            "rank",
            width=8,
            height=4,
            digits=1,
            colors=FULL,
        ),
        table(
            "Last heard of, the longest silent first",
            _LAST,
            {"host": "host", "ago": "ago", "seconds": "seconds ago"},
            "rank",
            height=4,
            colors=SILENT,
            note="No host in the last 7 days.",
        ),
        Cell("Who was heard of, and when", _WHEN, "mosaic", width=12, height=4),
        highest(
            "Processor, the ten busiest",
            of("system_metrics", "cpu_usage"),
            unit=" %",
            width=6,
            height=4,
        ),
        highest(
            "Memory, the ten fullest",
            of("system_metrics", "memory_percent"),
            unit=" %",
            width=6,
            height=4,
        ),
        highest(
            "File systems, the ten fullest",
            of("disk", "used_percent", 'r.mode != "ro"'),
            by=("path", 'r.host + " " + r.path'),
            unit=" %",
            width=6,
            height=4,
        ),
        highest("Load, the ten highest", of("system", "load5"), width=6, height=4),
        gaps(width=12),
    ),
)
