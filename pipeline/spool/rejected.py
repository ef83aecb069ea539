"""Changes to the lines that the server refused, beside an agent that may be running.

The agent applies the bound and the age with its next reading.
"""

import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from pipeline.point import measurement_of
from pipeline.settings import Age, Ages
from pipeline.spool.contents import Cause
from pipeline.spool.opening import open_beside
from pipeline.spool.rows import insert
from pipeline.spool.schema import LOST

T = TypeVar("T")

_FOR_EVER = Ages((Age(0),))
_LOST = f"{LOST}{Cause.REJECTED}"
_TIME = re.compile(r" (-?\d{1,19})$")
_INT64_MAX = 2**63 - 1


class UnknownLineError(Exception):
    """There is no rejected line with an id that was named; the message says which."""


def retry_rejected(
    directory: Path,
    ids: Collection[int] | None = None,
    ages: Ages = _FOR_EVER,
    now_ns: int = 0,
) -> tuple[int, int]:
    """Put lines on the queue again, each with its own time; they are no longer lost.

    Args:
        directory: The data directory.
        ids: Those that are wanted; None: all.
        ages: The ages. A line that is older than that of its measurement stays where it is: no
            sweep would come back for it.
        now_ns: Now, in nanoseconds since 1970-01-01 UTC.

    Returns:
        How many are on the queue again, and how many are too old for that.

    Raises:
        FileNotFoundError: There is no spool in the data directory.
        UnknownLineError: There is no line with one of the ids; nothing was changed.
        SpoolError: The spool cannot be opened or written; nothing was changed.
    """

    def queue(db: sqlite3.Connection) -> tuple[int, int]:
        wanted = _wanted(db, ids)
        readings, taken = defaultdict(list), []
        for number, refused_ns, line in wanted:
            time_ns = _time_ns(line, refused_ns)
            if time_ns >= ages.of(measurement_of(line)).cutoff_ns(now_ns):
                readings[time_ns].append(line)
                taken.append(number)
        for time_ns, lines in sorted(readings.items()):
            insert(db, lines, time_ns)
        _take_out(db, taken)
        _uncount(db, len(taken))
        return len(taken), len(wanted) - len(taken)

    return _write(directory, queue)


def drop_rejected(directory: Path, ids: Collection[int] | None = None) -> int:
    """Delete lines, as `retry_rejected` takes them; return how many. They stay counted as lost."""

    def drop(db: sqlite3.Connection) -> int:
        numbers = [number for number, *_ in _wanted(db, ids)]
        _take_out(db, numbers)
        return len(numbers)

    return _write(directory, drop)


def _write(directory: Path, change: Callable[[sqlite3.Connection], T]) -> T:
    with closing(open_beside(directory, write=True)) as database:
        return database.write(change)


def _wanted(db: sqlite3.Connection, ids: Collection[int] | None) -> list[tuple[int, int, str]]:
    """Return the id, the time of the refusal and the text of each line."""
    kept = db.execute("SELECT id, time_ns, line FROM rejected ORDER BY id")
    wanted = [row for row in kept if ids is None or row[0] in ids]
    if missing := set(ids or ()) - {row[0] for row in wanted}:
        raise UnknownLineError(_unknown(missing))
    return wanted


def _take_out(db: sqlite3.Connection, numbers: Iterable[int]) -> None:
    db.executemany("DELETE FROM rejected WHERE id = ?", ((number,) for number in numbers))


def _uncount(db: sqlite3.Connection, points: int) -> None:
    counted = db.execute("SELECT value FROM counter WHERE name = ?", (_LOST,)).fetchone()
    lost = min(points, counted[0] if counted else 0)
    db.execute("UPDATE counter SET value = value - ? WHERE name = ?", (lost, _LOST))
    db.execute("DELETE FROM counter WHERE name = ? AND value = 0", (_LOST,))
    # A line that was refused after the bound had taken it is counted as lost to the bound. It
    # becomes another point, so that the account stays exact.
    db.execute("UPDATE counter SET value = value + ? WHERE name = 'points'", (points - lost,))


def _time_ns(line: str, otherwise: int) -> int:
    match = _TIME.search(line)
    found = int(match[1]) if match else otherwise
    return found if abs(found) <= _INT64_MAX else otherwise


def _unknown(ids: Collection[int]) -> str:
    names = ", ".join(map(str, sorted(ids)))
    return f"no rejected line has the id {names}; see them all: metrics-pipeline rejected list"
