"""The dashboard of the agents: whether they keep up, lose nothing, and cost little."""

from pipeline.influx.dashboards.cells import (
    MEAN,
    NEWEST,
    RATE,
    Cell,
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
_DELIVERY = "metrics_delivery"
_OWN = "not exists r.collector"
_LOST = "r._field =~ /^lost_/"
# The store's counters start again with a new store.
_GROWTH = "|> difference(nonNegative: true, initialZero: true)"
# A single value draws no line, and two draw a slope: where there is nothing, there is 0.
_SUM = "|> aggregateWindow(every: v.windowPeriod, fn: sum, createEmpty: true)\n  |> fill(value: 0)"
# Most causes never are one, and would hide the others. By a join, all is read once.
_LOST_BY_CAUSE = script(
    "all = " + select(of(_AGENT, where=_LOST), _GROWTH, '|> group(columns: ["_field"])'),
    """causes = all
  |> sum()
  |> filter(fn: (r) => r._value > 0)""",
    """windows = all
  |> aggregateWindow(every: v.windowPeriod, fn: sum, createEmpty: false)
  |> group(columns: ["_field"])""",
    """join(tables: {window: windows, sum: causes}, on: ["_field"])
  |> map(fn: (r) => ({
    _time: r._time,
    _value: r._value_window,
    cause: strings.trimPrefix(v: r._field, prefix: "lost_"),
  }))
  |> group(columns: ["cause"])""",
)


def _losses_first(measurement: str, *tags: str, where: str = "", with_memory: bool = False) -> str:
    """Return the query for the newest figures, and what was lost in the span that is shown.

    Args:
        measurement: What tells of both.
        tags: What tells a row from the others.
        where: A further condition for the figures.
        with_memory: Whether a row has the memory, too.
    """
    by = ", ".join(f'"{tag}"' for tag in tags)
    fields = "backlog_points backlog_age_s rejected_points" + " memory_rss" * with_memory
    figures = of(measurement, fields, where)
    own = [f"{tag}: r.{tag}," for tag in tags]
    own += ["memory: r.memory_rss / 1000000.0,"] * with_memory
    own_columns = "\n      ".join(own)
    return script(
        "newest = "
        + select(figures, NEWEST, "|> toFloat()", f'|> keep(columns: [{by}, "_field", "_value"])'),
        "lost = "
        + select(
            of(measurement, where=_LOST),
            _GROWTH,
            "|> toFloat()",
            f"|> group(columns: [{by}])",
            "|> sum()",
            '|> set(key: "_field", value: "lost")',
        ),
        f"""union(tables: [newest, lost])
  |> group()
  |> pivot(rowKey: [{by}], columnKey: ["_field"], valueColumn: "_value")
  |> map(fn: (r) => {{
    lost = if exists r.lost then r.lost else 0.0

    return {{
      {own_columns}
      waiting: r.backlog_points,
      age: r.backlog_age_s,
      lost: lost,
      refused: r.rejected_points,
      rank: -1000000.0 * lost - r.backlog_points,
    }}
  }})""",
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
            _losses_first(_AGENT, "host", where=_OWN, with_memory=True),
            {
                "host": "host",
                "waiting": "points waiting",
                "age": "the oldest for s",
                "lost": "points lost in this span",
                "refused": "lines refused",
                "memory": "memory MB",
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
        Cell("Lost, points by cause", _LOST_BY_CAUSE, note="Nothing, in this span."),
        fleet(
            "Readings that are missing, by cause",
            of("metrics_gap", "readings"),
            '|> group(columns: ["cause"])',
            _SUM,
            by=("cause", "r.cause"),
            note="None, in this span.",
        ),
        gaps(width=8),
        highest("Memory", of(_AGENT, "memory_rss", _OWN), fn="max", unit="B"),
        highest(
            "Share of a core",
            of(_AGENT, "cpu_time_s", _OWN),
            RATE,
            "|> map(fn: (r) => ({r with _value: 100.0 * r._value}))",
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
            _GROWTH,
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
        table(
            "Deliveries to each server, those with losses first",
            _losses_first(_DELIVERY, "host", "server"),
            {
                "host": "host",
                "server": "server",
                "waiting": "points waiting",
                "age": "the oldest for s",
                "lost": "points lost in this span",
                "refused": "lines refused",
            },
            "rank",
            width=8,
            note="No agent has a mirror.",
        ),
        highest(
            "Waiting for each server, points",
            of(_DELIVERY, "backlog_points"),
            by=("server", 'r.host + ": " + r.server'),
            fn="max",
            note="No agent has a mirror.",
        ),
    ),
)
