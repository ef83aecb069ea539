"""What a cell of a dashboard is, and what makes the queries of many cells.

In the queries `v.metrics_bucket` and `v.metrics_host` are what is chosen above the dashboard, and
`v.timeRangeStart`, `v.timeRangeStop` and `v.windowPeriod` what InfluxDB's own time menu says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

NEWEST = "|> last()"
MEAN = "|> aggregateWindow(every: v.windowPeriod, fn: mean, createEmpty: false)"
# Counters start again from 0 when a host or an agent restarts.
RATE = "|> derivative(unit: 1s, nonNegative: true)\n  |> filter(fn: (r) => exists r._value)"

# A table shows a time by a clock of 12 hours without AM or PM: so it gets texts.
AGO = "ago = (t) => string(v: duration(v: (int(v: now()) - int(v: t)) / 1000000000 * 1000000000))"
UTC = (
    "utc = (t) => strings.replaceAll("
    'v: strings.substring(v: string(v: t), start: 0, end: 19), t: "T", u: " ")'
)
WEEK = "-7d"
"""For what must not vanish from a table with the time span that is shown."""
PAGE = "PAGE"
"""Stands in a query for the start of the address of a host's own dashboard."""

Colors = tuple[tuple[float, Literal["orange", "red"]], ...]
FULL: Colors = ((85.0, "orange"), (95.0, "red"))
MEMORY: Colors = ((90.0, "orange"), (97.0, "red"))
SILENT: Colors = ((120.0, "orange"), (300.0, "red"))

_PACKAGES = ("http", "math", "strings")
_BYTES = ("B", "B/s")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a dashboard.

    Attributes:
        title: Its heading, which no other cell of the dashboard has.
        query: The Flux query that fills it.
        kind: A graph over time, one number, a table, or a bar of states over time for each host.
        unit: Stands after each number; "B" and "B/s" make bytes readable.
        width: Of twelve columns.
        height: In rows.
        bounds: The ends of a graph's axis; "" leaves one to the values.
        colors: The colour of numbers, by the value from which it holds.
        digits: The decimal places of numbers.
        columns: The headings of a table, by the name of the column; "" hides one.
        sort_by: The column by which a table's rows go up.
        note: Stands in the cell when there is nothing to show.
    """

    title: str
    query: str
    kind: Literal["graph", "number", "table", "mosaic"] = "graph"
    unit: str = ""
    width: int = 4
    height: int = 3
    bounds: tuple[str, str] = ("0", "")
    colors: Colors = ()
    digits: int = 0
    columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    sort_by: str = ""
    note: str = "No readings in this span."


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard: its cells fill rows of twelve columns, from left to right."""

    name: str
    description: str
    cells: tuple[Cell, ...]


def of(measurement: str, fields: str = "", where: str = "") -> str:
    """Return the condition for some fields of a measurement.

    Args:
        measurement: Its name.
        fields: Names with spaces between; "" is all.
        where: A further condition for a row.
    """
    either = " or ".join(f'r._field == "{name}"' for name in fields.split())
    parts = (f'r._measurement == "{measurement}"', f"({either})" if either else "", where)
    return " and ".join(part for part in parts if part)


def select(condition: str, *steps: str, host: bool = False, start: str = "") -> str:
    """Return a query.

    Args:
        condition: For a row.
        steps: What to do with the series.
        host: Whether only the chosen host is meant.
        start: In place of the span that is shown: since when until now.
    """
    lines = [
        "from(bucket: v.metrics_bucket)",
        f"|> range(start: {start or 'v.timeRangeStart, stop: v.timeRangeStop'})",
        f"|> filter(fn: (r) => {condition})",
        *(["|> filter(fn: (r) => r.host == v.metrics_host)"] if host else []),
        *steps,
    ]
    return "\n  ".join(lines)


def script(*parts: str) -> str:
    """Return a query of several statements, with the packages that it needs."""
    text = "\n\n".join(parts)
    imports = "".join(f'import "{name}"\n' for name in _PACKAGES if f"{name}." in text)
    return f"{imports}\n{text}" if imports else text


def number(title: str, condition: str, *steps: str, start: str = "", **look: Any) -> Cell:
    """Return a cell of the newest value of the chosen host."""
    query = script(select(condition, NEWEST, *steps, host=True, start=start))
    return Cell(title, query, "number", width=2, height=2, **look)


def graph(
    title: str, condition: str, *steps: str, by: tuple[str, str] = ("kind", "r._field"), **look: Any
) -> Cell:
    """Return a graph of the chosen host.

    Args:
        title: The title.
        condition: Which series.
        steps: What to do with them; none takes their means.
        by: What tells a line from the others, and how it is called: a Flux expression.
        look: More of the cell.
    """
    query = select(condition, *(steps or (MEAN,)), _named(*by, look), host=True)
    return Cell(title, script(query), **_with_bounds(look))


def fleet(title: str, condition: str, *steps: str, by: tuple[str, str], **look: Any) -> Cell:
    """Return a graph of all hosts together."""
    return Cell(title, script(select(condition, *steps, _named(*by, look))), **_with_bounds(look))


def highest(
    title: str,
    condition: str,
    *steps: str,
    by: tuple[str, str] = ("host", "r.host"),
    fn: str = "mean",
    host: bool = False,
    **look: Any,
) -> Cell:
    """Return a graph of the ten series with the highest values: of more, none could be told.

    Args:
        title: The title.
        condition: Which series.
        steps: What to do with them first.
        by: As of `graph`.
        fn: What is taken of a series' values: `mean`, `max` or `sum`.
        host: Whether only the chosen host is meant.
        look: More of the cell.
    """
    column, name = by
    query = script(
        f"all = {select(condition, *steps, host=host)}",
        f"first = all\n  |> {fn}()\n  |> group()\n  |> top(n: 10)\n"
        f"  |> map(fn: (r) => ({{name: {name}}}))\n"
        '  |> findColumn(fn: (key) => true, column: "name")',
        "all\n"
        f"  |> aggregateWindow(every: v.windowPeriod, fn: {fn}, createEmpty: false)\n"
        f"  |> filter(fn: (r) => contains(value: {name}, set: first))\n"
        f"  {_named(column, name, look)}",
    )
    return Cell(title, query, **_with_bounds(look))


def gaps(*, host: bool = False, width: int) -> Cell:
    """Return a table of the spans without readings, of all hosts or of the chosen one."""
    query = script(
        UTC,
        select(
            of("metrics_gap", "readings seconds"),
            "|> toFloat()",
            '|> pivot(rowKey: ["host", "cause", "_time"], columnKey: ["_field"],'
            ' valueColumn: "_value")',
            "|> group()",
            "|> map(fn: (r) => ({host: r.host, began: utc(t: r._time),"
            " lasted: string(v: duration(v: int(v: r.seconds) * 1000000000)),"
            " readings: r.readings, cause: r.cause, rank: -int(v: r._time)}))",
            host=host,
        ),
    )
    columns = {
        "host": "" if host else "host",
        "began": "began (UTC)",
        "lasted": "lasted",
        "readings": "readings",
        "cause": "cause",
    }
    note = "None in this span."
    return table("Spans without readings", query, columns, "rank", width=width, note=note)


def _named(column: str, name: str, look: Mapping[str, Any]) -> str:
    """Return the steps that leave nothing but what a graph and its legend show."""
    # Else each digit that a float has is shown.
    rounded = "math.round(x: 100.0 * float(v: r._value)) / 100.0"
    value = "r._value" if look.get("unit") in _BYTES else rounded
    row = f"({{_time: r._time, _value: {value}, {column}: {name}}})"
    return f'|> map(fn: (r) => {row})\n  |> group(columns: ["{column}"])'


def _with_bounds(look: Mapping[str, Any]) -> dict[str, Any]:
    bounds = ("0", "100") if look.get("unit") == " %" else ("0", "")
    return {"bounds": bounds, **look}


def table(title: str, query: str, columns: Mapping[str, str], sort_by: str, **look: Any) -> Cell:
    """Return a table; `sort_by` may be a column that it does not show."""
    shown = MappingProxyType({sort_by: "", **columns})
    return Cell(title, query, "table", columns=shown, sort_by=sort_by, **look)
