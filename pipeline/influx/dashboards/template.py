"""Dashboards, variables and checks as InfluxDB templates, and what a template cannot carry.

https://docs.influxdata.com/influxdb/v2/tools/influxdb-templates/
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.influx.dashboards.agents import AGENTS
from pipeline.influx.dashboards.all_hosts import ALL_HOSTS
from pipeline.influx.dashboards.cells import PAGE, Cell, Dashboard
from pipeline.influx.dashboards.checks import CHECKS, Check
from pipeline.influx.dashboards.one_host import ONE_HOST
from pipeline.influx.dashboards.stacks import Resource
from pipeline.influx.points import flux_string

DASHBOARDS = (ALL_HOSTS, ONE_HOST, AGENTS)

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

_COLUMNS = 12
_LINES = (
    "#31C0F6", "#FF7E27", "#7CE490", "#F48D38", "#DA6FF1",
    "#FFD255", "#00828A", "#F95F53", "#8F8AF4", "#C9FF00",
)  # fmt: skip
# Each can be read on white and on black.
_TEXT = {"blue": "#00A3FF", "orange": "#E07B1A", "red": "#F95F53"}
_NAMES = {"blue": "laser", "orange": "tiger", "red": "fire"}  # of InfluxDB's own palette
_STATES = ("#4E9A5E", "#BF3D5E")
_ALWAYS = 100_000_000  # up to so many lines a tooltip or a legend has a row for each
_LOW = 3
_UNFINISHED = "`setup` was interrupted: run it again."


def variables(bucket: str) -> Iterator[Resource]:
    """Yield the variables, for any bucket; the named one is chosen at first."""
    for name, query in VARIABLES.items():
        spec = {"name": name, "type": "query", "language": "flux", "query": query}
        chosen = {"selected": [bucket]} if name == "metrics_bucket" else {}
        # Two set-ups may choose another bucket at first: that is no other version.
        yield Resource(name, _template("Variable", name, spec | chosen), version=spec)


def dashboard(board: Dashboard, page: str = "") -> Resource:
    """Return a dashboard.

    A template cannot say all that a cell is, and the server takes seconds to read the queries in
    one. So it has the cells' places alone.

    Args:
        board: The dashboard.
        page: The address of the dashboard of one host, to which it may link.
    """
    spec = {"name": board.name, "description": board.description, "charts": list(_charts(board))}
    version = {**spec, "cells": _cells(board, "")}
    made = _template("Dashboard", board.name, spec)
    return Resource(board.name, made, _cells(board, page), version=version)


def checks(bucket: str) -> Iterator[Resource]:
    """Yield the checks of one bucket, named after it."""
    for check in CHECKS:
        name = f"{check.name} ({bucket})"  # names of checks are of the whole organisation
        yield Resource(name, _check(check, name, bucket), _builder(check, bucket))


def _template(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "influxdata.com/v2alpha1",
        "kind": kind,
        "metadata": {"name": re.sub(r"[^a-z]+", "-", name.lower())},
        "spec": spec,
    }


def _charts(board: Dashboard) -> Iterator[dict[str, Any]]:
    x = y = height = 0
    for cell in board.cells:
        if x + cell.width > _COLUMNS:
            x, y, height = 0, y + height, 0
        place = {"xPos": x, "yPos": y, "width": cell.width, "height": cell.height}
        yield {"name": cell.title, "kind": "Markdown", "note": _UNFINISHED, **place}
        x, height = x + cell.width, max(height, cell.height)


def _cells(board: Dashboard, page: str) -> dict[str, Any]:
    address = flux_string(f"{page}?vars%5Bmetrics_bucket%5D=")
    return {
        cell.title: {
            "shape": "chronograf-v2",
            "queries": [
                {
                    "text": re.sub(rf"\b{PAGE}\b", lambda _: address, cell.query),
                    "editMode": "advanced",
                }
            ],
            "note": cell.note,
            "showNoteWhenEmpty": True,
            **_LOOKS[cell.kind](cell),
        }
        for cell in board.cells
    }


def _graph(cell: Cell) -> dict[str, Any]:
    axis = {"bounds": [], "label": "", "prefix": "", "suffix": "", "base": "10", "scale": "linear"}
    base = "10" if cell.unit in ("B", "B/s") else ""
    return {
        "type": "xy",
        "geom": "line",
        "position": "overlaid",
        "hoverDimension": "x",
        "xColumn": "_time",
        "yColumn": "_value",
        "axes": {
            "x": axis,
            "y": {**axis, "bounds": list(cell.bounds), "suffix": cell.unit, "base": base},
        },
        "colors": [
            {"type": "scale", "hex": color, "name": "Nineteen Eighty Four", "id": str(number)}
            for number, color in enumerate(_LINES)
        ],
        "legendColorizeRows": True,
        "legendOpacity": 1,
        "legendOrientationThreshold": _ALWAYS,
        "staticLegend": {
            "show": True,
            "colorizeRows": True,
            "opacity": 1,
            # A row for each line where there is the height, else a column.
            "heightRatio": 0.35 if cell.height > _LOW else 0.24,
            "orientationThreshold": _ALWAYS if cell.height > _LOW else 1,
            "valueAxis": "y",
        },
    }


def _number(cell: Cell) -> dict[str, Any]:
    return {"type": "single-stat", "suffix": cell.unit, **_text(cell)}


def _table(cell: Cell) -> dict[str, Any]:
    columns = {
        name: {"internalName": name, "displayName": title, "visible": bool(title)}
        for name, title in cell.columns.items()
    }
    return {
        "type": "table",
        "tableOptions": {
            "verticalTimeAxis": True,
            "wrapping": "truncate",
            "fixFirstColumn": False,
            "sortBy": columns[cell.sort_by],
        },
        "fieldOptions": list(columns.values()),
        **_text(cell),
    }


def _text(cell: Cell) -> dict[str, Any]:
    return {
        "decimalPlaces": {"isEnforced": True, "digits": cell.digits},
        "colors": [
            {
                "type": "text",
                "hex": _TEXT[color],
                "name": _NAMES[color],
                "id": color if value else "base",
                "value": value,
            }
            for value, color in ((0.0, "blue"), *cell.colors)
        ],
    }


def _mosaic(_: Cell) -> dict[str, Any]:
    return {
        "type": "mosaic",
        "xColumn": "_time",
        "ySeriesColumns": ["host"],
        "yLabelColumns": ["host"],
        "fillColumns": ["heard"],
        "colors": list(_STATES),
        "legendColorizeRows": True,
        "legendOpacity": 1,
    }


_LOOKS = {"graph": _graph, "number": _number, "table": _table, "mosaic": _mosaic}


def _check(check: Check, name: str, bucket: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "name": name,
        "description": check.description,
        "every": check.every,
        "query": check.query.replace("BUCKET", flux_string(bucket)),
        "statusMessageTemplate": check.message,
        "status": "active",
    }
    if check.silent_for:
        spec |= {"level": "CRIT", "timeSince": check.silent_for, "staleTime": "1d"}
        return _template("CheckDeadman", check.name, spec)
    spec["thresholds"] = [
        {"type": "greater", "level": level, "value": value} for level, value in check.above.items()
    ]
    return _template("CheckThreshold", check.name, spec)


def _builder(check: Check, bucket: str) -> dict[str, Any]:
    """Return what a check's page needs to save it: that it has one field."""
    chosen = dict(re.findall(r'r\.(_measurement|_field) == "(\w+)"', check.query))
    return {
        "query": {
            "editMode": "builder",
            "builderConfig": {
                "buckets": [bucket],
                "tags": [
                    {"key": key, "values": [value], "aggregateFunctionType": "filter"}
                    for key, value in chosen.items()
                ],
                "functions": [] if check.silent_for else [{"name": "last"}],
                "aggregateWindow": {"period": "", "fillValues": False},
            },
        }
    }
