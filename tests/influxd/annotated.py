"""InfluxDB's annotated CSV, as typed rows."""

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"(?P<whole>[^.]{19})(?:\.(?P<fraction>\d{1,9}))?(?P<zone>Z|[+-]\d\d:\d\d)")


class QueryError(Exception):
    """The server reported an error inside its answer."""


def nanoseconds(text: str) -> int:
    """Returns an RFC 3339 time as nanoseconds since 1970, without losing any."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    moment = datetime.fromisoformat(match["whole"] + match["zone"])
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return seconds * 10**9 + int((match["fraction"] or "").ljust(9, "0"))


_CONVERT: dict[str, Callable[[str], object]] = {
    "string": str,
    "long": int,
    "unsignedLong": int,
    "double": float,
    "boolean": lambda text: text == "true",
    "dateTime:RFC3339": nanoseconds,
    "dateTime:RFC3339Nano": nanoseconds,
}


def _value(kind: str, text: str) -> object:
    # CSV cannot tell an empty string from an absent one; for every other type empty is absent.
    return None if not text and kind != "string" else _CONVERT[kind](text)


def parse(text: str) -> list[dict[str, object]]:
    """Returns the rows of all tables in the text, in order.

    A time becomes nanoseconds since 1970; an absent value None (a string "").

    Raises:
        QueryError: The server put an error in place of a table.
    """
    rows: list[dict[str, object]] = []
    kinds: list[str] = []
    defaults: list[str] = []
    names: list[str] | None = None
    for line in csv.reader(io.StringIO(text)):
        mark, cells = (line[0], line[1:]) if line else ("", [])
        if not line:
            names = None  # a table ends; the next has a header of its own
        elif mark == "#datatype":
            kinds, names = cells, None
        elif mark == "#default":
            defaults = cells
        elif mark.startswith("#"):
            pass
        elif names is None:
            names = cells
            failed = {"error", "reference"} <= set(line)
        elif failed:
            raise QueryError(" ".join(filter(None, line)))
        else:
            filled = [cell or default for cell, default in zip(cells, defaults, strict=True)]
            columns = zip(names, kinds, filled, strict=True)
            rows.append({name: _value(kind, cell) for name, kind, cell in columns})
    return rows
