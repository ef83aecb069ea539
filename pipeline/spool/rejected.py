"""Changes to the lines that the server refused, beside an agent that may be running.

The agent applies the bound and the age with its next reading.
"""

import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path

from pipeline.spool.contents import Cause
from pipeline.spool.opening import open_beside
from pipeline.spool.rows import insert
from pipeline.spool.schema import LOST

_LOST = f"{LOST}{Cause.REJECTED}"
_TIME = re.compile(r" (-?\d{1,19})$")
_INT64_MAX = 2**63 - 1


class UnknownLineError(Exception):
    """There is no rejected line with an id that was named; the message says which."""


def retry_rejected(directory: Path, ids: Collection[int] | None = None) -> int:
    """Put lines, None being all, on the queue again; return how many.

    Each has its own time, and is no longer lost.

    Raises:
        FileNotFoundError: There is no spool in the data directory.
        UnknownLineError: There is no line with one of the ids; nothing was changed.
        SpoolError: The spool cannot be opened or written; nothing was changed.
    """

    def queue(db: sqlite3.Connection) -> int:
        taken = _taken(db, ids)
        readings = defaultdict(list)
        for _, refused_ns, line in taken:
            readings[_time_ns(line, refused_ns)].append(line)
        for time_ns, lines in sorted(readings.items()):
            insert(db, lines, time_ns)
        _uncount(db, len(taken))
        return len(taken)

    return _write(directory, queue)


def drop_rejected(directory: Path, ids: Collection[int] | None = None) -> int:
    """Delete lines, as `retry_rejected` takes them; return how many. They stay counted as lost."""
    return _write(directory, lambda db: len(_taken(db, ids)))


def _write(directory: Path, change: Callable[[sqlite3.Connection], int]) -> int:
    with closing(open_beside(directory, write=True)) as database:
        return database.write(change)


def _taken(db: sqlite3.Connection, ids: Collection[int] | None) -> list[tuple[int, int, str]]:
    """Take lines out; return the id, the time of the refusal and the text of each."""
    kept = db.execute("SELECT id, time_ns, line FROM rejected ORDER BY id")
    wanted = [row for row in kept if ids is None or row[0] in ids]
    if missing := set(ids or ()) - {row[0] for row in wanted}:
        raise UnknownLineError(_unknown(missing))
    db.executemany("DELETE FROM rejected WHERE id = ?", ((row[0],) for row in wanted))
    return wanted


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
