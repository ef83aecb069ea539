"""The store as its one writer has it open: what makes it last through damage and a full disk."""

import contextlib
import functools
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from pipeline.spool.contents import Contents
from pipeline.spool.gap import Gap
from pipeline.spool.reader import SpoolReader
from pipeline.spool.room import Limits, Reserve, drop_oldest, keep_bound, size_of, used
from pipeline.spool.salvage.opening import mend, next_id, open_store
from pipeline.spool.salvage.swap import beside, forget_aside
from pipeline.spool.schema import LOST, NAME, DamagedError, FullError, SpoolError
from pipeline.spool.writing import Writing

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Store")

# On a full disk: how much to free of what is used, and at least.
_FREED_SHARE, _FREED_LEAST = 16, 2**16
_NEAR_SHARE = 10  # of the bound: whoever is as near is still at it


def lasting(
    operation: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[S, P], T]:
    """Do an operation once more when what it failed of was mended: damage, or a full disk."""

    @functools.wraps(operation)
    def tried(self: S, /, *args: P.args, **options: P.kwargs) -> T:
        with self._lock:
            try:
                return operation(self, *args, **options)
            except DamagedError as error:
                self._mend(error)
            except FullError:
                # Often it is the log alone that can grow no more, which costs no reading.
                with contextlib.suppress(FullError):
                    if self._relieve():
                        return operation(self, *args, **options)
                self._make_room()
            return operation(self, *args, **options)

    return tried


class Store(Writing):
    """A store that is opened when it can be, and mended when it must be.

    Args:
        directory: The data directory, held by the caller's lock; it must exist.
        max_bytes: The bound on what its files take of the disk.
        now_ns: Tells the time, in nanoseconds since 1970-01-01 UTC.

    Raises:
        SpoolError: The file cannot be made, or is another program's or another version's.
    """

    def __init__(
        self, directory: Path, max_bytes: int, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.path = directory / NAME
        self._limits = Limits.within(max_bytes)
        self._now_ns = now_ns
        self._lock = threading.RLock()
        self._opened: sqlite3.Connection | None = None
        self._closed = False
        self._losing = False
        self._mended = 0
        self._first_id = 0  # of the ticks that this process commits; no id comes back
        self._reserve = Reserve(beside(self.path, ".reserve"), self._limits.reserve)
        with contextlib.suppress(FullError):
            self._shrink()

    @property
    def pressure(self) -> str | None:
        """Why readings that were not delivered make room for newer ones; None while none do."""
        if not self._reserve.held:
            return f"the disk of {self.path.parent} is full, make room on it"
        if self._losing:
            return f"{self.path} has reached its bound, spool_max_mb"
        return None

    def close(self) -> None:
        """Give the file back; whoever uses the spool afterwards gets a SpoolError."""
        with self._lock:
            self._closed = True
            self._let_go()

    @lasting
    def contents(self) -> Contents:
        """Return what the spool holds and has seen."""
        return super().contents()

    @lasting
    def gaps(self) -> list[Gap]:
        """Return the spans of missing readings that nobody has been told of yet."""
        return super().gaps()

    @lasting
    def facts(self) -> dict[str, str]:
        """Return what the agent noted for those who read the store."""
        return super().facts()

    def check(self) -> None:
        """Read all of the store, without holding up readings, and mend what is damaged.

        Raises:
            SpoolError: It cannot be read, or not be mended.
        """
        before = self._mended
        if self._opened is None:
            return
        try:
            with contextlib.suppress(FileNotFoundError), SpoolReader(self.path.parent) as reader:
                reader.examine()
        except DamagedError as error:
            with self._lock:
                if self._mended == before:
                    self._mend(error)

    def set_bound(self, max_bytes: int) -> None:
        """Take another bound on what the files take of the disk, and come below it.

        Raises:
            SpoolError: It cannot be had at present; it holds from the next reading on.
        """
        with self._lock:
            self._limits = Limits.within(max_bytes)
            self._reserve = Reserve(beside(self.path, ".reserve"), self._limits.reserve)
            if self._opened is not None:
                with self._told() as db:
                    self._limits.apply(db)
        self._shrink()
        with self._told() as db:  # the file itself is as large as before until then
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _shrink(self) -> None:
        while self._lowered():
            pass

    @lasting
    def _lowered(self) -> int:
        with self._writing() as db:
            before = size_of(db)
            self._keep_bound(db)
            return before - size_of(db)

    def _keep_bound(self, db: sqlite3.Connection) -> None:
        bound = self._limits.rows
        self._reserve.take()
        if not self._reserve.held:
            # On a full disk the database cannot grow, whatever the log still takes.
            bound = min(bound, self.path.stat().st_size)
        lost = keep_bound(db, bound)
        tally(db, {f"{LOST}spool_full": lost})
        if lost:
            self._losing = True
        elif self._losing:
            oldest = "SELECT 1 FROM pending WHERE id = (SELECT min(id) FROM tick)"
            waits = db.execute(oldest).fetchone() is not None
            self._losing = waits and used(db) > bound - bound // _NEAR_SHARE

    def _mend(self, error: DamagedError) -> None:
        self._let_go()
        mend(self.path, error, self._now_ns())
        self._mended += 1

    def _relieve(self) -> bool:
        """Make room on a full disk of what is ours and no reading; tell whether there is a log."""
        self._reserve.release()
        if gone := forget_aside(self.path):
            _log.warning("The disk is full: %d damaged files of before were deleted", gone)
        if self._opened is None:
            return False
        with self._told() as db:
            # All that is in the log must have its place before it can begin anew.
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        return True

    def _make_room(self) -> None:
        """Delete readings on a full disk, the least valuable first."""
        if self._opened is None:
            return
        with self._writing() as db:
            # The space is for newer readings: given back, it would be anyone's.
            goal = used(db) - max(used(db) // _FREED_SHARE, _FREED_LEAST)
            tally(db, {f"{LOST}spool_full": drop_oldest(db, goal)})

    def _connection(self) -> sqlite3.Connection:
        if self._closed:
            raise SpoolError(f"{self.path} was closed")
        if self._opened is None:
            self._opened = open_store(self.path, self._limits, self._now_ns())
            self._first_id = self._first_id or next_id(self._opened)
        return self._opened

    def _let_go(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def tally(db: sqlite3.Connection, counts: Mapping[str, int]) -> None:
    """Add to counters."""
    db.executemany(
        "INSERT INTO counter VALUES (?, ?) "
        "ON CONFLICT DO UPDATE SET value = value + excluded.value",
        ((name, value) for name, value in counts.items() if value),
    )
