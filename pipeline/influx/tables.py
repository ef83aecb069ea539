"""Flux's annotated CSV, in which InfluxDB answers queries, as rows.

https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/
"""

import csv
import io
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

DIALECT = {"annotations": ["datatype", "default"], "header": True}
"""What a query has to ask for."""


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
    # A line break within a text is sent as CRLF, too.
    text = data.decode().replace("\r\n", "\n")
    for line in csv.reader(io.StringIO(text, newline=""), strict=True):
        if not line:
            kinds, defaults, names = [], [], []
        elif line[0] == "#datatype":
            kinds, names = line, []
        elif line[0] == "#default":
            defaults = line
        elif line[0].startswith("#"):
            continue
        elif not names:
            names = line
            if not _is_failure(names) and len(names) != len(kinds):
                raise ValueError("no table of Flux")
        elif _is_failure(names):
            raise QueryError(" ".join(" ".join(line).split()))
        else:
            cells = zip(names[1:], kinds[1:], defaults[1:], line[1:], strict=True)
            found.append({name: _value(kind, cell or empty) for name, kind, empty, cell in cells})
    return found


def _is_failure(names: list[str]) -> bool:
    return {*names} - {""} == {"error", "reference"}


def _whole(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**64:
        raise ValueError("more than 64 bits")
    return number


def _nanoseconds(text: str) -> int:
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 10**9 + int(f"{fraction:0<9}")


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
