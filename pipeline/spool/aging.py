"""Removes lines from the spool by their age, in the agent or beside one that is running.

Each step is one short transaction that has the right to write from its start, so that SQLite lets
a reading that is to be committed wait no longer than that.
"""

import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path

from pipeline.spool.block import pack, unpack
from pipeline.spool.reader import SpoolReader
from pipeline.spool.schema import LOST, SpoolError

_AT_ONCE = 500

Split = Callable[[str], list[str]]


class Aging(SpoolReader):
    """What is in a spool, to be removed by age.

    Args:
        directory: The data directory.
        split: Splits a block into its lines.

    Raises:
        FileNotFoundError: There is no spool in the directory.
        SpoolError: The file cannot be opened as a spool.
    """

    def __init__(self, directory: Path, split: Split) -> None:
        super().__init__(directory)
        self.close()
        self._split = split
        try:
            self._open("mode=rw")
        except sqlite3.OperationalError as error:
            raise self._unopened(error) from error

    def oldest(self, start_ns: int, stop_ns: int) -> int | None:
        """Return the time of the oldest reading in a span, or None; a span has no stop in it."""
        with self._reading() as db:
            (oldest,) = db.execute(
                "SELECT min(time_ns) FROM tick WHERE time_ns >= ? AND time_ns < ?",
                (start_ns, stop_ns),
            ).fetchone()
        return None if oldest is None else int(oldest)

    def remove(
        self, start_ns: int, stop_ns: int, aged: Callable[[str], bool] | None, *, count: bool
    ) -> int:
        """Remove lines of a span, and give their space back to the file system.

        A reading that loses some of its lines is packed anew; one that loses all is deleted.

        Args:
            start_ns: The span's start, in nanoseconds since 1970-01-01 UTC.
            stop_ns: Its stop, which is not in it.
            aged: Tells which lines; None: all.
            count: Whether undelivered ones are a loss: not where there is nobody to deliver to.

        Returns:
            How many lines were removed.

        Raises:
            SpoolError: The spool cannot be read or written; what was removed stays removed.
        """
        removed, after = 0, (start_ns, -1)
        with self._lock:
            try:
                while rows := self._rows(after, stop_ns):
                    removed += self._remove(rows, aged, count=count)
                    after = (rows[-1][1], rows[-1][0])
                if removed:
                    # It steps page by page, which only a script follows to the end.
                    self._db.executescript("PRAGMA incremental_vacuum")
            except sqlite3.Error as error:
                raise SpoolError(f"{self.path} cannot be written: {error}") from error
            except (OSError, EOFError, ValueError, zlib.error) as error:
                raise SpoolError(f"{self.path} is damaged: {error}; move it away") from error
        return removed

    def _rows(self, after: tuple[int, int], stop_ns: int) -> list[tuple[int, int, int]]:
        return self._db.execute(
            "SELECT id, time_ns, points FROM tick WHERE (time_ns, id) > (?, ?) AND time_ns < ? "
            "ORDER BY time_ns, id LIMIT ?",
            (*after, stop_ns, _AT_ONCE),
        ).fetchall()

    def _remove(
        self,
        rows: list[tuple[int, int, int]],
        aged: Callable[[str], bool] | None,
        *,
        count: bool,
    ) -> int:
        db = self._db
        removed = lost = 0
        db.execute("BEGIN IMMEDIATE")
        try:
            smaller = []
            for tick, time_ns, points in rows:
                kept = self._kept(tick, aged) if aged else []
                if len(kept) == points:
                    continue
                removed += points - len(kept)
                db.execute("DELETE FROM tick WHERE id = ?", (tick,))
                unqueued = db.execute("DELETE FROM pending WHERE id = ? RETURNING points", (tick,))
                waited = unqueued.fetchone()
                lost += waited[0] - len(kept) if waited else 0
                if kept:
                    smaller.append((tick, time_ns, kept, waited))
            # They go in anew, all at the end: SQLite frees no page for a row that only shrinks.
            for tick, time_ns, kept, waited in smaller:
                block = pack(kept)
                db.execute(
                    "INSERT INTO tick (id, time_ns, points, lines) VALUES (?, ?, ?, ?)",
                    (tick, time_ns, len(kept), block),
                )
                if waited:
                    row = (tick, len(kept), len(block))
                    db.execute("INSERT INTO pending VALUES (?, ?, ?)", row)
            if lost and count:
                db.execute(
                    "INSERT INTO counter VALUES (?, ?) "
                    "ON CONFLICT DO UPDATE SET value = value + excluded.value",
                    (f"{LOST}expired", lost),
                )
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return removed

    def _kept(self, tick: int, aged: Callable[[str], bool]) -> list[str]:
        (block,) = self._db.execute("SELECT lines FROM tick WHERE id = ?", (tick,)).fetchone()
        return [line for line in self._split(unpack(block)) if not aged(line)]
