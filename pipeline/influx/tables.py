"""Flux's annotated CSV, in which InfluxDB answers queries, as rows.

https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/
"""

import csv
import io
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

DIALECT = {"annotations": ["datatype", "default"], "header": True}
"""What a query has to ask for."""


_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)


class QueryError(Exception):
    """A query failed after its answer had begun; the text is InfluxDB's."""


def rows(data: bytes) -> list[dict[str, Any]]:
    """Return the rows of all tables, in order, by the names of their columns.

    A time becomes nanoseconds since 1970-01-01 UTC. What is absent is None, and of a text "": in
    CSV the two are the same.

    Raises:
        QueryError: InfluxDB put an error in place of a table.
        ValueError, csv.Error: It is something else.
    """
    if not data.endswith(b"\n") and data:
        raise ValueError("it is cut off")
    found: list[dict[str, Any]] = []
    kinds: list[str] = []
    defaults: list[str] = []
    names: list[str] = []
    # InfluxDB takes names that are no UTF-8, and sends a line break within a text as CRLF, too.
    text = data.decode(errors="replace").replace("\r\n", "\n")
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    for line in lines:
        if not line:
            kinds, defaults, names = [], [], []
        elif line[0] == "#datatype":
            kinds, defaults, names = line, [], []
        elif line[0] == "#default":
            defaults = line
        elif line[0].startswith("#"):
            continue
        elif names:
            cells = zip(names[1:], kinds[1:], defaults[1:], line[1:], strict=True)
            found.append({name: _value(kind, cell or empty) for name, kind, empty, cell in cells})
        elif {*line} - {""} == {"error", "reference"}:
            said = " ".join(next(lines, [])).split()
            raise QueryError(" ".join(said) or "an error without a word")
        elif len(line) != len(kinds):
            raise ValueError("no table of Flux")
        else:
            names = line
    return found


def _whole(text: str) -> int:
    return _within(int(text), 2**64)


def _within(number: int, stop: int) -> int:
    if not -(2**63) <= number < stop:
        raise ValueError("more than 64 bits")
    return number


def _nanoseconds(text: str) -> int:
    if not (parts := _TIME.fullmatch(text)):
        raise ValueError("no time")
    whole, fraction = parts.groups("")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return _within(seconds * 10**9 + int(f"{fraction:0<9}"), 2**63)


_READ: Mapping[str, Callable[[str], Any]] = {
    "long": _whole,
    "unsignedLong": _whole,
    "double": float,
    "boolean": {"true": True, "false": False}.__getitem__,
    "dateTime:RFC3339": _nanoseconds,
    "dateTime:RFC3339Nano": _nanoseconds,
}


def _value(kind: str, cell: str) -> Any:
    if (read := _READ.get(kind)) is None:
        return cell
    return read(cell) if cell else None
