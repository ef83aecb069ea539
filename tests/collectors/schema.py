"""What is written, as rows to compare: of points, of the catalogue, and of Telegraf as recorded."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from pipeline.collectors import catalogue
from pipeline.point import Point

_RECORDED = Path(__file__).with_name("telegraf-schema.tsv")
_TYPES = {float: "float", int: "integer", str: "string", bool: "boolean"}
# Tags that not every series of a measurement has.
_NOT_ALWAYS = {"interrupts": {"type", "device"}}

Row = tuple[str, str, str, str]
"""Measurement, field, type, and the tags besides `host`, sorted."""


def named(field: str) -> str:
    """Return a field as the catalogue names it: a core's is without its number."""
    return re.sub(r"^CPU\d+$", "CPU<n>", field)


def row(measurement: str, field: str, kind: str, tags: Iterable[str]) -> Row:
    """Return a row."""
    names = {*tags} - {"host"} - _NOT_ALWAYS.get(measurement, set())
    return measurement, named(field), kind, ",".join(sorted(names))


def written(points: Iterable[Point]) -> set[Row]:
    """Return the rows of points."""
    return {
        row(point.measurement, field, _TYPES[type(value)], point.tags)
        for point in points
        for field, value in point.fields.items()
    }


def listed() -> set[Row]:
    """Return the rows of the catalogue."""
    return {row(its.measurement, its.field, its.type, its.tags) for its in catalogue.load()}


def recorded() -> set[Row]:
    """Return the rows that Telegraf wrote on another machine."""
    lines = _RECORDED.read_text(encoding="utf-8").splitlines()[1:]
    return {
        row(its["measurement"], its["field"], its["type"], its["tags"].split(","))
        for its in csv.DictReader(lines, delimiter="\t")
    }
