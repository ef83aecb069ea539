"""Removes lines from a spool by their age, in the agent or beside one that is running."""

import sqlite3
from collections import Counter, deque
from pathlib import Path
from typing import Self

from pipeline.point import measurement_of, split_lines
from pipeline.settings import Age
from pipeline.spool.beside import open_beside
from pipeline.spool.contents import Cause
from pipeline.spool.database import Database
from pipeline.spool.room import give_back
from pipeline.spool.rows import DAMAGES, LEAST_ID, drop, joined, pack, tally_each, unpack
from pipeline.spool.schema import AGED, LOST

# A large clean-up is done in parts, so that no tick waits long for it: so many readings, and so
# many bytes of those that are packed again, which are held in memory.
_AT_ONCE, _BYTES_AT_ONCE = 500, 2**20
_AHEAD = (
    "INSERT OR IGNORE INTO ahead SELECT ?1 WHERE EXISTS "
    "(SELECT 1 FROM server CROSS JOIN pending ON server = name AND pending.id < ?1)"
)

_Place = tuple[int, int]  # the time and the id of a reading


class Aging:
    """Removes lines from a spool by their age."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def beside(cls, directory: Path) -> Self:
        """Open the spool of a data directory, beside an agent that may be running.

        Raises:
            FileNotFoundError: There is no spool in the directory.
            SpoolError: The store cannot be opened, or the agent must salvage it first.
        """
        return cls(open_beside(directory, write=True))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self._database.close()

    def oldest(self, start_ns: int, stop_ns: int) -> int | None:
        """Return the time of the oldest reading from a start until before a stop, or None."""
        query = "SELECT min(time_ns) FROM tick WHERE time_ns >= ? AND time_ns < ?"
        (oldest,) = self._database.read(
            lambda db: db.execute(query, (start_ns, stop_ns)).fetchone()
        )
        return None if oldest is None else int(oldest)

    def remove(self, start_ns: int, stop_ns: int, age: Age | None = None, *, count: bool) -> int:
        """Remove lines of a span, and give their space back to the file system.

        A reading that loses some of its lines is packed again; one that loses all is deleted. A
        damaged one is deleted when all lines of the span go.

        Args:
            start_ns: The span's start, in nanoseconds since 1970-01-01 UTC.
            stop_ns: Its stop, which is not in it.
            age: The lines that go are those it covers; None: all.
            count: Whether undelivered ones are counted as lost; not where there is no server.

        Returns:
            How many lines were removed.

        Raises:
            SpoolError: The spool cannot be read or written; what is removed stays removed.
        """
        some = None if age is None or age.everything else age
        removed, after = 0, (start_ns, LEAST_ID)

        def part(db: sqlite3.Connection) -> tuple[_Place, int] | None:
            return _remove_some(db, after, stop_ns, some, count=count)

        for last, points in self._database.write_in_parts(part):
            after = last
            removed += points
            if points:
                deque(self._database.write_in_parts(give_back), maxlen=0)
        return removed


def _remove_some(
    db: sqlite3.Connection, after: _Place, stop_ns: int, age: Age | None, *, count: bool
) -> tuple[_Place, int] | None:
    """Remove lines of some readings; return the last of these, if any, and how many lines."""
    found = db.execute(
        "SELECT id, time_ns, points FROM tick "
        "WHERE (time_ns, id) > (?, ?) AND time_ns < ? ORDER BY time_ns, id LIMIT ?",
        (*after, stop_ns, _AT_ONCE),
    ).fetchall()
    removed = repacked = 0
    lost: Counter[str] = Counter()
    smaller = []
    for tick, time_ns, points in found:
        after = time_ns, tick
        left = _left(db, tick, age) if age else []
        if left is None or len(left) == points:
            continue
        removed += points - len(left)
        waited = drop(db, [tick])
        lost.update({server: waiting - len(left) for server, waiting in waited.items()})
        if left:
            block = pack(joined(left))
            smaller.append(((tick, time_ns, len(left), block), waited))
            repacked += len(block)
        if repacked > _BYTES_AT_ONCE:
            break
    # They are inserted again at the end: SQLite frees no page when a row only shrinks.
    for row, waited in smaller:
        db.execute("INSERT INTO tick (id, time_ns, points, lines) VALUES (?, ?, ?, ?)", row)
        tick, _, points, block = row
        again = ((server, tick, points, len(block)) for server in waited)
        db.executemany("INSERT INTO pending VALUES (?, ?, ?, ?)", again)
    # A tick that was gone for a moment is not known any more to have left the queue out of turn.
    db.executemany(_AHEAD, ((row[0],) for row, waited in smaller if not waited))
    tally_each(db, f"{LOST}{Cause.EXPIRED}" if count else AGED, lost)
    return (after, removed) if found else None


def _left(db: sqlite3.Connection, tick: int, age: Age) -> list[str] | None:
    """Return the lines of a tick that stay; None when it is damaged."""
    query = "SELECT CAST(lines AS BLOB) FROM tick WHERE id = ?"
    (block,) = db.execute(query, (tick,)).fetchone()
    try:
        lines = split_lines(unpack(block))
    except DAMAGES:  # `lease` and `history` find it and say so
        return None
    return [line for line in lines if not age.covers(measurement_of(line))]
