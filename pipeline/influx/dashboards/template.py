"""Dashboards, variables and checks as an InfluxDB template.

https://docs.influxdata.com/influxdb/v2/tools/influxdb-templates/
"""

import re
from collections.abc import Iterator
from typing import Any

from pipeline.influx.dashboards.boards import DASHBOARDS, VARIABLES
from pipeline.influx.dashboards.cells import Cell, Dashboard
from pipeline.influx.dashboards.checks import CHECKS, Check
from pipeline.influx.points import flux_string

_COLUMNS = 12
_COLORS = ("#31C0F6", "#A500A5", "#FF7E27")
_KINDS = {"graph": "Xy", "number": "Single_Stat", "table": "Table"}


def dashboards(bucket: str) -> list[dict[str, Any]]:
    """Return the template of the dashboards, for any bucket; the named one is chosen at first."""
    return [
        *(_variable(name, query, bucket) for name, query in VARIABLES.items()),
        *map(_dashboard, DASHBOARDS),
    ]


def checks(bucket: str) -> list[dict[str, Any]]:
    """Return the template of the checks of one bucket, named after it."""
    return [_check(check, bucket) for check in CHECKS]


def _resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "influxdata.com/v2alpha1",
        "kind": kind,
        "metadata": {"name": re.sub(r"[^a-z]+", "-", name.lower())},
        "spec": spec,
    }


def _variable(name: str, query: str, bucket: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": name, "type": "query", "language": "flux", "query": query}
    if name == "metrics_bucket":
        spec["selected"] = [bucket]
    return _resource("Variable", name, spec)


def _dashboard(dashboard: Dashboard) -> dict[str, Any]:
    spec = {
        "name": dashboard.name,
        "description": dashboard.description,
        "charts": list(_charts(dashboard)),
    }
    return _resource("Dashboard", dashboard.name, spec)


def _charts(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    x = y = height = 0
    for cell in dashboard.cells:
        if x + cell.width > _COLUMNS:
            x, y, height = 0, y + height, 0
        place = {"xPos": x, "yPos": y, "width": cell.width, "height": cell.height}
        yield {"name": cell.title, "queries": [{"query": cell.query}], **place, **_look(cell)}
        x, height = x + cell.width, max(height, cell.height)


def _look(cell: Cell) -> dict[str, Any]:
    common: dict[str, Any] = {"kind": _KINDS[cell.kind]}
    if cell.kind == "graph":
        base = {"base": "2", "suffix": "B"} if cell.unit == "B" else {"suffix": cell.unit}
        scale = [
            {"type": "scale", "hex": color, "name": "Nineteen Eighty Four", "id": color}
            for color in _COLORS
        ]
        return common | {
            "geom": "line",
            "position": "overlaid",
            "hoverDimension": "auto",
            "xCol": "_time",
            "yCol": "_value",
            "axes": [{"name": "x", "base": "10", "scale": "linear"},
                     {"name": "y", "scale": "linear", **base}],
            "colors": scale,
            "legendColorizeRows": True,
            "legendOpacity": 1,
        }  # fmt: skip
    if cell.kind == "number":
        text = {"type": "text", "hex": "#00C9FF", "name": "laser", "id": "base", "value": 0}
        return common | {"suffix": cell.unit, "decimalPlaces": 1, "colors": [text]}
    return common | {
        "decimalPlaces": 1,
        "colors": [{"type": "text", "hex": "#FFFFFF", "name": "white", "id": "base", "value": 0}],
        "tableOptions": {"verticalTimeAxis": True, "wrapping": "truncate", "fixFirstColumn": False},
        "timeFormat": "YYYY-MM-DD HH:mm:ss",
    }


def _check(check: Check, bucket: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        # Names of checks are of the whole organisation.
        "name": f"{check.name} ({bucket})",
        "description": check.description,
        "every": check.every,
        "query": check.query.replace("BUCKET", flux_string(bucket)),
        "statusMessageTemplate": check.message,
        "status": "active",
    }
    if check.silent_for:
        spec |= {"level": "CRIT", "timeSince": check.silent_for, "staleTime": "1d"}
        return _resource("CheckDeadman", check.name, spec)
    spec["thresholds"] = [
        {"type": "greater", "level": level, "value": value} for level, value in check.above.items()
    ]
    return _resource("CheckThreshold", check.name, spec)
