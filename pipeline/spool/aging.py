"""Removes lines from the spool by their age, in the agent or beside one that is running."""

import sqlite3
from collections.abc import Callable, Sequence

from pipeline.spool.block import DAMAGES, joined, pack, unpack
from pipeline.spool.room import drop, give_back
from pipeline.spool.schema import AGED, LOST
from pipeline.spool.store import tally
from pipeline.spool.writing import Writing

# A tick must not wait long for a great clean-up.
_AT_ONCE = 500

Kept = Callable[[str], Sequence[str]]
Place = tuple[int, int]


class Aging(Writing):
    """What is in a spool, to be removed by age; see `Writing` for how it is opened."""

    def oldest(self, start_ns: int, stop_ns: int) -> int | None:
        """Return the time of the oldest reading in a span, or None; a span has no stop in it."""
        with self._reading() as db:
            (oldest,) = db.execute(
                "SELECT min(time_ns) FROM tick WHERE time_ns >= ? AND time_ns < ?",
                (start_ns, stop_ns),
            ).fetchone()
        return None if oldest is None else int(oldest)

    def remove(self, start_ns: int, stop_ns: int, kept: Kept | None = None, *, count: bool) -> int:
        """Remove lines of a span, and give their space back to the file system.

        A reading that loses some of its lines is packed anew; one that loses all is deleted. One
        that is damaged goes as a whole, when nothing of the span is kept.

        Args:
            start_ns: The span's start, in nanoseconds since 1970-01-01 UTC.
            stop_ns: Its stop, which is not in it.
            kept: Returns those lines of a block that stay; None: none do.
            count: Whether undelivered ones are a loss: not where there is nobody to deliver to.

        Returns:
            How many lines were removed.

        Raises:
            SpoolError: The spool cannot be read or written; what was removed stays removed.
        """
        removed, after = 0, (start_ns, -1)
        while (step := self._remove_some(after, stop_ns, kept, count=count)) is not None:
            after, points = step
            removed += points
            while points and self._give_back():
                pass
        return removed

    def _remove_some(
        self, after: Place, stop_ns: int, kept: Kept | None, *, count: bool
    ) -> tuple[Place, int] | None:
        """Remove lines of some readings; return the last of these and how many lines, or None."""
        removed = lost = 0
        with self._writing() as db:
            rows = db.execute(
                "SELECT id, time_ns, points FROM tick "
                "WHERE (time_ns, id) > (?, ?) AND time_ns < ? ORDER BY time_ns, id LIMIT ?",
                (*after, stop_ns, _AT_ONCE),
            ).fetchall()
            smaller = []
            for tick, time_ns, points in rows:
                left = _left(db, tick, kept) if kept else []
                if left is None or len(left) == points:
                    continue
                removed += points - len(left)
                waited = drop(db, [tick])
                lost += waited - len(left) if waited else 0
                if left:
                    smaller.append(((tick, time_ns, len(left), pack(joined(left))), waited))
            # They go in anew, all at the end: SQLite frees no page for a row that only shrinks.
            for row, waited in smaller:
                db.execute("INSERT INTO tick (id, time_ns, points, lines) VALUES (?, ?, ?, ?)", row)
                if waited:
                    tick, _, points, block = row
                    db.execute("INSERT INTO pending VALUES (?, ?, ?)", (tick, points, len(block)))
            tally(db, {f"{LOST}expired" if count else AGED: lost})
        return ((rows[-1][1], rows[-1][0]), removed) if rows else None

    def _give_back(self) -> int:
        with self._writing() as db:
            return give_back(db)


def _left(db: sqlite3.Connection, tick: int, kept: Kept) -> Sequence[str] | None:
    """Return the lines of a tick that stay; None when it is damaged."""
    query = "SELECT CAST(lines AS BLOB) FROM tick WHERE id = ?"
    (block,) = db.execute(query, (tick,)).fetchone()
    try:
        return kept(unpack(block))
    except DAMAGES:  # found out, and told, by whoever reads it
        return None
