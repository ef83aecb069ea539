"""Changes to the lines that the server refused, beside an agent that may be running.

The agent applies the bound and the age with its next reading.
"""

import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path

from pipeline.spool.contents import Cause
from pipeline.spool.opening import open_beside
from pipeline.spool.rows import insert
from pipeline.spool.schema import LOST

_LOST = f"{LOST}{Cause.REJECTED}"
_TIME = re.compile(r" (-?\d{1,19})$")
_INT64_MAX = 2**63 - 1
# They are taken in parts, so that no tick waits long for it, and few are held in memory.
_AT_ONCE = 200

_Line = tuple[int, str]  # the time of the refusal, and the line


class UnknownLineError(Exception):
    """There is no rejected line with an id that was named; the message says which."""


def retry_rejected(directory: Path, ids: Collection[int] | None = None) -> int:
    """Put lines, None being all, on the queue again; return how many.

    Each has its own time, and is no longer lost.

    Raises:
        FileNotFoundError: There is no spool in the data directory.
        UnknownLineError: There is no line with one of the ids; nothing was changed.
        SpoolError: The spool cannot be opened or written; what was changed stays so.
    """

    def queue(db: sqlite3.Connection, taken: Sequence[_Line]) -> None:
        readings = defaultdict(list)
        for refused_ns, line in taken:
            readings[_time_ns(line, refused_ns)].append(line)
        for time_ns, lines in sorted(readings.items()):
            insert(db, lines, time_ns)
        _uncount(db, len(taken))

    return _take(directory, ids, queue)


def drop_rejected(directory: Path, ids: Collection[int] | None = None) -> int:
    """Delete lines, as `retry_rejected` takes them; return how many. They stay counted as lost."""
    return _take(directory, ids, lambda _, __: None)


def _take(
    directory: Path,
    ids: Collection[int] | None,
    use: Callable[[sqlite3.Connection, Sequence[_Line]], None],
) -> int:
    """Take lines out, and use them; return how many that were."""
    with closing(open_beside(directory, write=True)) as database:
        wanted = database.read(lambda db: _found(db, ids))

        def part(db: sqlite3.Connection) -> int | None:
            some = [taken for number in wanted[:_AT_ONCE] if (taken := _taken(db, number))]
            use(db, some)
            return len(some) if wanted else None

        number = 0
        for taken in database.write_in_parts(part):
            del wanted[:_AT_ONCE]
            number += taken
        return number


def _found(db: sqlite3.Connection, ids: Collection[int] | None) -> list[int]:
    kept = {number for (number,) in db.execute("SELECT id FROM rejected")}
    if missing := set(ids or ()) - kept:
        raise UnknownLineError(_unknown(missing))
    return sorted(kept if ids is None else kept & set(ids))


def _taken(db: sqlite3.Connection, number: int) -> _Line | None:
    query = "DELETE FROM rejected WHERE id = ? RETURNING time_ns, line"
    found: _Line | None = db.execute(query, (number,)).fetchone()
    return found


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
