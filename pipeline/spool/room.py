"""Room: the bound on what a store takes of the disk, and what to do when the disk is full."""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

from pipeline.spool.contents import Cause
from pipeline.spool.database import Database
from pipeline.spool.files import delete_corrupt, sibling
from pipeline.spool.rows import drop, tally
from pipeline.spool.schema import LOST, NO_ROOM, FullError, free

_log = logging.getLogger(__name__)

_LOST = f"{LOST}{Cause.SPOOL_FULL}"
# At the bound, room is made for many ticks at once, so that not every tick costs a search.
_ROOM_SHARE = 100
# Ordered by time, so that the index is read and no lines are. The newest reading stays.
_OLDEST = "SELECT id FROM tick WHERE id < (SELECT max(id) FROM tick) ORDER BY time_ns LIMIT 64"
_OLDEST_DELIVERED = _OLDEST.replace(" ORDER", " AND id NOT IN (SELECT id FROM pending) ORDER")
# A large clean-up is done in parts, so that no tick waits long for it.
_DROPPED_AT_ONCE, _VACUUMED_AT_ONCE = 2_000, 512
_LEAST_LOG, _MOST_LOG = 2**16, 2**20
_LEAST_RESERVE = 2**16
# On a full disk: how much to free of what is used, and at least.
_FREED_SHARE, _FREED_LEAST = 16, 2**16
_NEAR_SHARE = 10  # of the bound: a store that is as near to it still loses readings


@dataclass(frozen=True, slots=True)
class Limits:
    """The shares of a bound: what each file of a store may take of the disk, in bytes.

    Attributes:
        rows: The database itself.
        log: The write-ahead log, before one more transaction.
        reserve: The reserve for a full disk.
    """

    rows: int
    log: int
    reserve: int

    @classmethod
    def within(cls, max_bytes: int) -> Self:
        """Divide a bound into shares."""
        log = min(max(max_bytes // 16, _LEAST_LOG), _MOST_LOG)
        return cls(rows=max_bytes - 3 * log, log=log, reserve=log)

    def apply(self, db: sqlite3.Connection) -> None:
        """Keep the log of a connection's store within its share."""
        (page,) = db.execute("PRAGMA page_size").fetchone()
        db.execute(f"PRAGMA wal_autocheckpoint = {self.log // 2 // page}")
        db.execute(f"PRAGMA journal_size_limit = {self.log}")


class Reserve:
    """A file that reserves room on the disk: deleting rows takes room, too.

    It is deleted when the disk is full, and made again when there is room again.

    Args:
        path: The file.
        size: Its size in bytes, if the disk has as much.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._again = 0  # how many bytes must be free before it is made again
        # A larger one, of another bound, is made anew.
        self.held = (path.exists() and path.stat().st_size <= size) or self._taken()

    def take(self) -> None:
        """Make the file again, if it was deleted and there is room again."""
        if not self.held and free(self._path.parent) >= self._again:
            self.held = self._taken()

    def release(self) -> None:
        """Delete the file, as the disk is full."""
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
            return error.errno not in NO_ROOM  # a file system without fallocate has no reserve
        return True


class Room:
    """The room that a store has: its bound, and a reserve for a full disk."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._losing = False
        self.set_bound(max_bytes)

    def set_bound(self, max_bytes: int) -> None:
        """Set another bound, which the next `keep` applies."""
        self.limits = Limits.within(max_bytes)
        self._reserve = Reserve(sibling(self._path, ".reserve"), self.limits.reserve)

    @property
    def pressure(self) -> str | None:
        """Why undelivered readings make room for newer ones; None while none do."""
        if not self._reserve.held:
            return f"the disk of {self._path.parent} is full, make room on it"
        if self._losing:
            return f"{self._path} has reached its bound, spool_max_mb"
        return None

    def shrink(self, db: sqlite3.Connection) -> int:
        """Shrink the store towards its bound; return by how many bytes."""
        before = _size(db)
        self.keep(db)
        return before - _size(db)

    def keep(self, db: sqlite3.Connection) -> None:
        """Keep the bound, in the transaction that adds rows."""
        bound = self.limits.rows
        self._reserve.take()
        if not self._reserve.held:
            # On a full disk the database cannot grow, even if the log still can.
            bound = min(bound, self._path.stat().st_size)
        lost = _keep_bound(db, bound)
        tally(db, {_LOST: lost})
        if lost:
            self._losing = True
        elif self._losing:
            oldest = "SELECT 1 FROM pending WHERE id = (SELECT min(id) FROM tick)"
            waits = db.execute(oldest).fetchone() is not None
            self._losing = waits and _used(db) > bound - bound // _NEAR_SHARE

    def relieve(self, database: Database) -> bool:
        """Make room on a full disk without losing a reading; return whether a store is open."""
        self._reserve.release()
        if gone := delete_corrupt(self._path):
            _log.warning("The disk is full: %d files of damaged stores were deleted", gone)
        if database.is_open:
            with contextlib.suppress(FullError), database.connection() as db:
                # The log is used again once all that is in it is in the database.
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        return database.is_open

    def make(self, database: Database) -> None:
        """Make room on a full disk by deleting the oldest readings, delivered ones first."""
        with database.transaction() as db:
            # The room stays in the file, for newer readings: other programs would take it.
            goal = _used(db) - max(_used(db) // _FREED_SHARE, _FREED_LEAST)
            tally(db, {_LOST: _drop_oldest(db, goal)})


def _keep_bound(db: sqlite3.Connection, bound: int) -> int:
    """Delete the oldest readings beyond a bound, a part at a time, delivered ones first.

    Return how many points were deleted that were not delivered.
    """
    if _size(db) <= bound:
        return 0
    lost = _drop_oldest(db, bound - bound // _ROOM_SHARE) if _used(db) > bound else 0
    pages, _, size = _figures(db)
    give_back(db, min(_VACUUMED_AT_ONCE, max(0, pages - bound // size)))
    return lost


def _drop_oldest(db: sqlite3.Connection, goal: int) -> int:
    """Delete readings until no more bytes than `goal` are used; return how many points are lost."""
    lost = 0
    for tick in islice(_oldest(db), _DROPPED_AT_ONCE):
        if _used(db) <= goal:
            break
        lost += drop(db, [tick], Cause.SPOOL_FULL)
    return lost


def _oldest(db: sqlite3.Connection) -> Iterator[int]:
    # A few at a time: the search for delivered ones is long when there are few.
    for query in (_OLDEST_DELIVERED, _OLDEST):
        while ids := db.execute(query).fetchall():
            yield from (tick for (tick,) in ids)


def give_back(db: sqlite3.Connection, most: int = _VACUUMED_AT_ONCE) -> int:
    """Give unused pages back to the file system; return how many are left."""
    pages = min(most, _figures(db)[1])
    for _ in range(pages):  # with a larger number, the sqlite3 module frees one page, too
        db.execute("PRAGMA incremental_vacuum(1)")
    return _figures(db)[1]


def _size(db: sqlite3.Connection) -> int:
    """Return the size of the database, in bytes, once all that is in its log is written to it."""
    pages, _, size = _figures(db)
    return pages * size


def _used(db: sqlite3.Connection) -> int:
    """Return how much of the database is in use, in bytes."""
    pages, unused, size = _figures(db)
    return (pages - unused) * size


def _figures(db: sqlite3.Connection) -> tuple[int, int, int]:
    names = ("page_count", "freelist_count", "page_size")
    pages, unused, size = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return pages, unused, size
