"""Spans in which readings are missing, until somebody is told of them.

One a cause: what is missing of the same cause before it is told widens the span.
"""

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gap:
    """A span in which readings are missing.

    Attributes:
        cause: Why.
        start_ns: The earliest time of one that may be missing, in nanoseconds since 1970-01-01 UTC.
        stop_ns: The latest.
        readings: How many are missing.
    """

    cause: str
    start_ns: int
    stop_ns: int
    readings: int


def mark(db: sqlite3.Connection, gap: Gap) -> None:
    """Remember a gap; one of the same cause becomes wider."""
    db.execute(
        "INSERT INTO gap VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " start_ns = min(start_ns, excluded.start_ns), stop_ns = max(stop_ns, excluded.stop_ns),"
        " readings = readings + excluded.readings",
        (gap.cause, gap.start_ns, gap.stop_ns, gap.readings),
    )


def forget(db: sqlite3.Connection, gap: Gap) -> None:
    """Forget a gap that is told, unless it became wider meanwhile."""
    db.execute(
        "DELETE FROM gap WHERE cause = ? AND start_ns = ? AND stop_ns = ? AND readings = ?",
        (gap.cause, gap.start_ns, gap.stop_ns, gap.readings),
    )
