"""Room: the bound on what a store takes of the disk, and what to do when the disk is full."""

import contextlib
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline.spool.access import look, make
from pipeline.spool.contents import Cause
from pipeline.spool.database import Database
from pipeline.spool.errors import NO_ROOM, FullError, SpoolError, free
from pipeline.spool.files import delete_corrupt, sibling
from pipeline.spool.rows import LEAST_ID, drop, tally_each
from pipeline.spool.schema import LOST

_log = logging.getLogger(__name__)

_LOST = f"{LOST}{Cause.SPOOL_FULL}"
_OLDEST_WAITING = (
    "(SELECT min((SELECT min(id) FROM pending WHERE pending.server = server.name)) FROM server)"
)
# In this order rows make room, a few at a time: readings that every server got before all that
# wait, the few that they got behind these, refused lines, which are counted as lost already, and
# then the readings that wait. The newest one stays. Each search has one bound, so that it reads no
# more than it finds.
_OLDEST = (
    "SELECT id, 0 FROM tick WHERE id > ? AND id < (SELECT coalesce(min(max(tick.id), "  # noqa: S608  # above
    f"{_OLDEST_WAITING}), max(tick.id)) FROM tick) ORDER BY id LIMIT 64",
    "SELECT id, 0 FROM ahead WHERE id > ? AND id < (SELECT max(id) FROM tick) ORDER BY id LIMIT 64",
    "SELECT id, 1 FROM rejected WHERE id > ? ORDER BY id LIMIT 64",
    "SELECT id, 0 FROM tick WHERE id > ? AND id < (SELECT max(id) FROM tick) ORDER BY id LIMIT 64",
)
_OLDEST_WAITS = f"SELECT coalesce({_OLDEST_WAITING} = (SELECT min(id) FROM tick), 0)"  # noqa: S608  # above
_NEWEST_SIZE = "SELECT coalesce((SELECT length(lines) FROM tick ORDER BY id DESC LIMIT 1), 0)"
# A tick makes no more room than that and twice its own size, in bytes. A large clean-up is done in
# larger parts, but in parts, so that no tick waits long for it.
_AT_ONCE, _SHRUNK_AT_ONCE, _PAGES_AT_ONCE = 2**18, 2**21, 512
_LEAST_LOG, _MOST_LOG = 2**16, 2**20
_LEAST_RESERVE = 2**16
_BLOCK = 512  # of st_blocks, everywhere
# On a full disk: how much to free of what is used, at least and at most, in bytes.
_FREED_SHARE, _FREED_LEAST, _FREED_MOST = 16, 2**16, _AT_ONCE
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
        self.held = self._is_held() or self._taken()

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

    def _is_held(self) -> bool:
        with contextlib.suppress(OSError, SpoolError):
            found = look(self._path)
            # A larger one is of another bound; what was not allocated, or was copied with holes in
            # it, holds no room. Both are made again.
            allocated = min(found.st_size, found.st_blocks * _BLOCK)
            return found.st_size <= self._size and allocated >= _LEAST_RESERVE
        return False

    def _taken(self) -> bool:
        size = min(self._size, free(self._path.parent) // 4)
        if size < _LEAST_RESERVE:
            return False
        self._path.unlink(missing_ok=True)  # also a link
        try:
            with os.fdopen(make(self._path), "wb") as file:
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

    def shrink(self, db: sqlite3.Connection) -> int | None:
        """Shrink the store towards its bound; return by how many bytes, or None."""
        before = _size(db)
        self.keep(db, _SHRUNK_AT_ONCE)
        return max(0, before - _size(db)) or None

    def keep(self, db: sqlite3.Connection, most: int = _AT_ONCE) -> None:
        """Keep the bound, in the transaction that adds a reading.

        Args:
            db: The store.
            most: How much room is made at most, in bytes; for a large reading, twice its size.
        """
        bound = self.limits.rows
        self._reserve.take()
        if not self._reserve.held:
            # On a full disk the database cannot grow, even if the log still can.
            bound = min(bound, self._path.stat().st_size)
        lost = _keep_bound(db, bound, most)
        tally_each(db, _LOST, lost)
        if lost:
            self._losing = True
        elif self._losing:
            waits = db.execute(_OLDEST_WAITS).fetchone()[0]
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

    def delete_oldest(self, database: Database) -> None:
        """Make room on a full disk by deleting the oldest readings, delivered ones first."""
        with database.transaction() as db:
            # The room stays in the file, for newer readings: other programs would take it.
            used = _used(db)
            freed = min(max(used // _FREED_SHARE, _FREED_LEAST), _FREED_MOST)
            tally_each(db, _LOST, _drop_oldest(db, used - freed))


def _keep_bound(db: sqlite3.Connection, bound: int, most: int) -> Counter[str]:
    """Delete the oldest readings beyond a bound, delivered ones first.

    Return how many points were deleted that were not delivered to each server.
    """
    if _size(db) <= bound:
        return Counter()
    most = max(most, 2 * int(db.execute(_NEWEST_SIZE).fetchone()[0]))
    lost = _drop_oldest(db, max(bound, _used(db) - most))
    pages, _, size = _figures(db)
    give_back(db, min(most // size, max(0, pages - bound // size)))
    return lost


def _drop_oldest(db: sqlite3.Connection, goal: int) -> Counter[str]:
    """Delete rows until no more bytes than `goal` are used; return what each server lost."""
    lost: Counter[str] = Counter()
    for number, refused in _oldest(db):
        if _used(db) <= goal:
            break
        if refused:
            db.execute("DELETE FROM rejected WHERE id = ?", (number,))
        else:
            lost += drop(db, [number], Cause.SPOOL_FULL)
            db.execute("DELETE FROM ahead WHERE id = ?", (number,))
    return lost


def _oldest(db: sqlite3.Connection) -> Iterator[tuple[int, bool]]:
    """Yield the ids of rows in the order in which they make room, and whether they are refused."""
    for query in _OLDEST:
        after = LEAST_ID
        while found := db.execute(query, (after,)).fetchall():
            yield from found
            after = found[-1][0]


def give_back(db: sqlite3.Connection, most: int = _PAGES_AT_ONCE) -> int | None:
    """Give unused pages back to the file system; return how many are left, or None."""
    pages = min(most, _figures(db)[1])
    for _ in range(pages):  # with a larger number, the sqlite3 module frees one page, too
        db.execute("PRAGMA incremental_vacuum(1)")
    return _figures(db)[1] or None


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
