"""What a cell of a dashboard is, and what the queries of many cells have in common.

In the queries `v.metrics_bucket` and `v.metrics_host` are what is chosen above the dashboard, and
`v.timeRangeStart`, `v.timeRangeStop` and `v.windowPeriod` what InfluxDB's own time menu says.
"""

from dataclasses import dataclass
from typing import Literal

NEWEST = "|> last()"
MEAN = "|> aggregateWindow(every: v.windowPeriod, fn: mean, createEmpty: false)"
MAX = "|> aggregateWindow(every: v.windowPeriod, fn: max, createEmpty: false)"
SUM = "|> aggregateWindow(every: v.windowPeriod, fn: sum, createEmpty: false)"
# Counters begin anew when a host or an agent restarts.
RATE = f"|> derivative(unit: 1s, nonNegative: true, initialZero: true)\n  {MEAN}"
GROWTH = f"|> difference(nonNegative: true, initialZero: true)\n  {SUM}"


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


def select(measurement: str, fields: str, *rest: str, where: str = "", host: bool = True) -> str:
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


def fleet(measurement: str, fields: str, *rest: str, where: str = "") -> str:
    """Return such a query for all hosts."""
    return select(measurement, fields, *rest, where=where, host=False)


BY_HOST = '|> group(columns: ["host", "_field"])'
