"""Room: the bound on what the store takes of the disk, and a disk that has nothing left."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

from pipeline.spool.gap import Gap, mark
from pipeline.spool.schema import free

# At the bound, make room for many ticks at once, so that a full spool costs no search per tick.
_ROOM_SHARE = 100
# By time, so that the index serves and no lines are read. The newest reading stays.
_OLDEST = "SELECT id FROM tick WHERE id < (SELECT max(id) FROM tick) ORDER BY time_ns LIMIT 64"
_OLDEST_DELIVERED = _OLDEST.replace(" ORDER", " AND id NOT IN (SELECT id FROM pending) ORDER")
# A tick must not wait long for a great clean-up.
_DROPPED_AT_ONCE, _VACUUMED_AT_ONCE = 2_000, 512
_LEAST_LOG, _MOST_LOG = 2**16, 2**20
_LEAST_RESERVE = 2**16


@dataclass(frozen=True, slots=True)
class Limits:
    """What the files of a store may take of the disk, in bytes, together the bound.

    Attributes:
        rows: The database itself.
        log: The write-ahead log, before one more transaction.
        reserve: What is kept for a full disk.
    """

    rows: int
    log: int
    reserve: int

    @classmethod
    def within(cls, max_bytes: int) -> Self:
        """Share out a bound."""
        log = min(max(max_bytes // 16, _LEAST_LOG), _MOST_LOG)
        return cls(rows=max_bytes - 3 * log, log=log, reserve=log)

    def apply(self, db: sqlite3.Connection) -> None:
        """Keep the log of a connection's store within its share."""
        (page,) = db.execute("PRAGMA page_size").fetchone()
        db.execute(f"PRAGMA wal_autocheckpoint = {self.log // 2 // page}")
        db.execute(f"PRAGMA journal_size_limit = {self.log}")


class Reserve:
    """A file that keeps some of the disk: on a full one, to delete takes room, too.

    While it is let go, the disk is full.

    Args:
        path: The file.
        size: Its size, in bytes, where the disk has so much.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._again = 0  # how much must be free for it to be taken again
        # One that a larger bound left is made anew.
        self.held = (path.exists() and path.stat().st_size <= size) or self._taken()

    def take(self) -> None:
        """Take it, if it was let go and there is room again."""
        if not self.held and free(self._path.parent) >= self._again:
            self.held = self._taken()

    def release(self) -> None:
        """Let it go."""
        with contextlib.suppress(FileNotFoundError):
            self._again = self._path.stat().st_size + _LEAST_RESERVE
            self._path.unlink()
        self.held = False

    def _taken(self) -> bool:
        size = min(self._size, free(self._path.parent) // 4)
        if size < _LEAST_RESERVE:
            return False
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            self._path.unlink(missing_ok=True)
            return error.errno != errno.ENOSPC  # where it cannot be had, all must do without
        return True


def keep_bound(db: sqlite3.Connection, bound: int) -> int:
    """Delete the oldest readings beyond a bound, those that are delivered first.

    It deletes so much at once, and the rest the next time.

    Args:
        db: The store, in a transaction.
        bound: How large the database may be, in bytes.

    Returns:
        How many points were deleted that were not delivered.
    """
    if size_of(db) <= bound:
        return 0
    lost = drop_oldest(db, bound - bound // _ROOM_SHARE) if used(db) > bound else 0
    pages, _, size = _figures(db)
    give_back(db, min(_VACUUMED_AT_ONCE, max(0, pages - bound // size)))
    return lost


def drop_oldest(db: sqlite3.Connection, goal: int) -> int:
    """Delete readings until the used part of the database is so small, those delivered first.

    Returns:
        How many points were deleted that were not delivered.
    """
    lost = 0
    for tick in islice(_oldest(db), _DROPPED_AT_ONCE):
        if used(db) <= goal:
            break
        lost += drop(db, [tick], "spool_full")
    return lost


def _oldest(db: sqlite3.Connection) -> Iterator[int]:
    # Some at a time: the search for delivered ones is long when there are few.
    for query in (_OLDEST_DELIVERED, _OLDEST):
        while ids := db.execute(query).fetchall():
            yield from (tick for (tick,) in ids)


def give_back(db: sqlite3.Connection, most: int = _VACUUMED_AT_ONCE) -> int:
    """Give unused pages back to the file system; return how many are left.

    Args:
        db: The store, in a transaction.
        most: How many pages at most.
    """
    pages = min(most, _figures(db)[1])
    for _ in range(pages):  # sqlite3 takes one step of what gives a row without columns
        db.execute("PRAGMA incremental_vacuum(1)")
    return _figures(db)[1]


def drop(db: sqlite3.Connection, ids: Iterable[int], cause: str = "") -> int:
    """Delete ticks; return how many of their points still waited.

    Args:
        db: The store, in a transaction.
        ids: The ticks.
        cause: Why those that waited will be missing; "" when nobody will miss them.
    """
    lost = 0
    for tick in ids:
        waited = unqueue(db, tick)
        gone = db.execute("DELETE FROM tick WHERE id = ? RETURNING time_ns", (tick,)).fetchone()
        if waited and gone and cause:
            mark(db, Gap(cause, gone[0], gone[0], 1))
        lost += waited
    return lost


def unqueue(db: sqlite3.Connection, tick: int) -> int:
    """Take a tick off the queue; return how many points that are."""
    row = db.execute("DELETE FROM pending WHERE id = ? RETURNING points", (tick,)).fetchone()
    return int(row[0]) if row else 0


def size_of(db: sqlite3.Connection) -> int:
    """Return the size of the database, in bytes, when all that is in its log has its place."""
    pages, _, size = _figures(db)
    return pages * size


def used(db: sqlite3.Connection) -> int:
    """Return how much of it is in use."""
    pages, unused, size = _figures(db)
    return (pages - unused) * size


def _figures(db: sqlite3.Connection) -> tuple[int, int, int]:
    names = ("page_count", "freelist_count", "page_size")
    pages, unused, size = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return pages, unused, size
