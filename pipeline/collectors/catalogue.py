"""The table of every measurement and field: catalogue.csv, read."""

import csv
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One field of one measurement.

    Attributes:
        measurement: Its measurement.
        field: Its key.
        type: Its type in InfluxDB: `float`, `integer`, `string` or `boolean`.
        kind: `gauge`, whose mean says something; `counter`, which only grows until it is
            reset; or `text`.
        unit: What its number counts, such as `bytes`.
        tags: The tags that tell the measurement's series apart, besides `host`, which all have.
        meaning: What it says, in one sentence.
    """

    measurement: str
    field: str
    type: str
    kind: str
    unit: str
    tags: tuple[str, ...]
    meaning: str


def load() -> tuple[Entry, ...]:
    """Read the catalogue that ships with the package."""
    from importlib.resources import files  # noqa: PLC0415  # 1.4 MiB, which an agent need not pay

    text = (files("pipeline.collectors") / "catalogue.csv").read_text(encoding="utf-8")
    return tuple(
        Entry(
            measurement=row["measurement"],
            field=row["field"],
            type=row["type"],
            kind=row["kind"],
            unit=row["unit"],
            tags=tuple(row["tags"].split()),
            meaning=row["meaning"],
        )
        for row in csv.DictReader(text.splitlines())
    )


def units() -> dict[tuple[str, str], str]:
    """Return the unit of each field, by measurement and field."""
    return {(each.measurement, each.field): each.unit for each in load()}


def cumulative() -> frozenset[tuple[str, str]]:
    """Return the fields, each with its measurement, of whose values only the last one counts."""
    return frozenset((each.measurement, each.field) for each in load() if each.kind != "gauge")
