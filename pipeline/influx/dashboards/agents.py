"""The dashboard of the agents: whether they keep up, lose nothing, and cost little."""

from pipeline.influx.dashboards.cells import (
    GROWTH,
    MEAN,
    NEWEST,
    PERCENT_OF_A_CORE,
    RATE,
    SUM,
    Dashboard,
    fleet,
    gaps,
    highest,
    of,
    script,
    select,
    table,
)

_AGENT = "metrics_agent"
_OWN = "not exists r.collector"
_LOST = "r._field =~ /^lost_/"
# Of what was not lost there are many readings, and nothing to be seen.
_GROWTH = (GROWTH, "|> filter(fn: (r) => r._value > 0)")
_CAUSE = ("cause", 'strings.trimPrefix(v: r._field, prefix: "lost_")')
_NOTHING_LOST = "Nothing, in this span."

_NEWEST = script(
    "newest = "
    + select(
        of(_AGENT, "backlog_points backlog_age_s rejected_points memory_rss", _OWN),
        NEWEST,
        "|> toFloat()",
        '|> keep(columns: ["host", "_field", "_value"])',
    ),
    "lost = "
    + select(
        of(_AGENT, where=_LOST),
        *_GROWTH,
        "|> toFloat()",
        '|> group(columns: ["host"])',
        "|> sum()",
        '|> set(key: "_field", value: "lost")',
    ),
    """union(tables: [newest, lost])
  |> group()
  |> pivot(rowKey: ["host"], columnKey: ["_field"], valueColumn: "_value")
  |> map(fn: (r) => ({
    host: r.host,
    waiting: r.backlog_points,
    age: r.backlog_age_s,
    lost: if exists r.lost then r.lost else 0.0,
    refused: r.rejected_points,
    memory: r.memory_rss / 1000000.0,
    rank: -1000.0 * r.lost - r.backlog_points,
  }))""",
)
_VERSIONS = select(
    of(_AGENT, "version"),
    NEWEST,
    "|> group()",
    "|> map(fn: (r) => ({version: r._value, host: r.host}))",
)

AGENTS = Dashboard(
    "Metrics: the agents",
    "Whether the agents of all hosts keep up and lose nothing, and what they cost.",
    (
        table(
            "Agents, those with losses first",
            _NEWEST,
            {
                "host": "host",
                "waiting": "points waiting",
                "age": "the oldest for, s",
                "lost": "points lost in this span",
                "refused": "lines refused",
                "memory": "memory, MB",
            },
            "rank",
            width=8,
            height=4,
        ),
        table(
            "Versions, the oldest first",
            _VERSIONS,
            {"version": "version", "host": "host"},
            "version",
            height=4,
            note="No agent tells its version.",
        ),
        highest("Waiting for delivery, points", of(_AGENT, "backlog_points", _OWN), fn="max"),
        highest("The oldest waits for", of(_AGENT, "backlog_age_s", _OWN), fn="max", unit=" s"),
        fleet(
            "Lost, points by cause",
            of(_AGENT, where=_LOST),
            *_GROWTH,
            '|> group(columns: ["_field"])',
            SUM,
            by=_CAUSE,
            note=_NOTHING_LOST,
        ),
        fleet(
            "Readings that are missing, by cause",
            of("metrics_gap", "readings"),
            '|> group(columns: ["cause"])',
            SUM,
            by=("cause", "r.cause"),
            note="None, in this span.",
        ),
        gaps(width=8),
        highest("Memory", of(_AGENT, "memory_rss", _OWN), fn="max", unit="B"),
        highest(
            "Share of a core",
            of(_AGENT, "cpu_time_s", _OWN),
            RATE,
            PERCENT_OF_A_CORE,
            unit=" %",
            bounds=("0", ""),
        ),
        highest("A reading and its commit", of(_AGENT, "tick_ms", _OWN), unit=" ms"),
        highest(
            "A delivery",
            of(_AGENT, "write_ms", _OWN),
            unit=" ms",
            note="None in this span.",
        ),
        highest(
            "Deliveries that failed",
            of(_AGENT, "retries", _OWN),
            GROWTH,
            fn="sum",
        ),
        fleet(
            "Each collector, mean of all hosts",
            of(_AGENT, "collect_ms"),
            '|> group(columns: ["collector"])',
            MEAN,
            by=("collector", "r.collector"),
            unit=" ms",
        ),
    ),
)
