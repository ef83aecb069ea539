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
        removed = lost = 0
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for tick, _, points in rows:
                kept = self._kept(tick, aged) if aged else []
                if len(kept) == points:
                    continue
                removed += points - len(kept)
                lost += self._repack(tick, kept)
            if lost and count:
                self._db.execute(
                    "INSERT INTO counter VALUES (?, ?) "
                    "ON CONFLICT DO UPDATE SET value = value + excluded.value",
                    (f"{LOST}expired", lost),
                )
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return removed

    def _kept(self, tick: int, aged: Callable[[str], bool]) -> list[str]:
        (block,) = self._db.execute("SELECT lines FROM tick WHERE id = ?", (tick,)).fetchone()
        return [line for line in self._split(unpack(block)) if not aged(line)]

    def _repack(self, tick: int, kept: list[str]) -> int:
        """Leave a reading only some of its lines; return how many others waited for delivery."""
        db = self._db
        waiting = db.execute("SELECT points FROM pending WHERE id = ?", (tick,)).fetchone()
        if kept:
            block = pack(kept)
            new = (len(kept), block, tick)
            db.execute("UPDATE tick SET points = ?, lines = ? WHERE id = ?", new)
            new_queued = (len(kept), len(block), tick)
            db.execute("UPDATE pending SET points = ?, bytes = ? WHERE id = ?", new_queued)
        else:
            db.execute("DELETE FROM pending WHERE id = ?", (tick,))
            db.execute("DELETE FROM tick WHERE id = ?", (tick,))
        return int(waiting[0]) - len(kept) if waiting else 0
