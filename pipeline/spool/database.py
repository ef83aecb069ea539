"""An open store: its connection, its transactions, its errors, and another try after a repair."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from pipeline.clock import Clock, SystemClock
from pipeline.spool.errors import DamagedError, FullError, GoneError, SpoolError, translated
from pipeline.spool.files import PARTS, siblings

T = TypeVar("T")
FileId = tuple[int, int]
"""The device and the number of a file there."""

Repair = Callable[["Database", SpoolError], Iterable[None]]
"""Repairs a store after an operation failed, step by step; after each, that is tried again.

It raises a SpoolError if it fails itself.
"""


class Database:
    """An open store with one connection, which the parts of the spool share.

    Each operation is one transaction. If it fails and a repair helps, it is tried again; else it
    raises a SpoolError.

    Args:
        path: The store.
        connect: Opens it: at its first use, and after `release`.
        repair: Repairs it after a failure; without it, that is left to its agent.
        clock: Times the pauses in long changes.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        repair: Repair | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.path = path
        self._connect = connect
        self._repair = repair
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._files: dict[Path, FileId | None] = {}
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether it has a connection."""
        return self._connection is not None

    @property
    def last_connection(self) -> sqlite3.Connection | None:
        """The connection as it is, also to files that were removed."""
        return self._connection

    def files_left(self) -> set[Path]:
        """Return its files but those that were removed, or replaced, since they were opened."""
        return {file for file, opened in self._files.items() if file_of(file) == opened is not None}

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query in one transaction, so that all it reads is of one moment."""
        return self._retry_after_repair("BEGIN", query)

    def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Make a change in one transaction, which has the right to write from its start.

        So SQLite lets the second of two writers wait, be it the agent or a command.
        """
        return self._retry_after_repair("BEGIN IMMEDIATE", change)

    def write_in_parts(self, part: Callable[[sqlite3.Connection], T | None]) -> Iterator[T]:
        """Make a long change in parts, each in one transaction, until one returns None.

        It yields what the others return. After each, nothing is written for as long as it took:
        a writer that waits asks only now and then whether it may, and one transaction after the
        other would keep it out for ever.
        """
        while True:
            begun = self._clock.monotonic()
            done = self.write(part)
            took = self._clock.monotonic() - begun
            if took > 0:
                self._clock.wait(threading.Event(), took)
            if done is None:
                return
            yield done

    @contextlib.contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Run one transaction without a repair, such as a long read, or a repair itself."""
        with self.connection("read" if begin == "BEGIN" else "written") as db:
            db.execute(begin)
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextlib.contextmanager
    def connection(self, verb: str = "written") -> Iterator[sqlite3.Connection]:
        """Lend the connection, outside a transaction and without a repair.

        Args:
            verb: How the error goes on after "cannot be".

        Raises:
            GoneError: One of its files is not that which was opened any more.
            SpoolError: It failed.
        """
        with self._lock, self._translated(verb):
            if self._closed:
                raise SpoolError(f"{self.path} was closed")
            if self._connection is None:
                self._connection = self._connect()
                self._files = self._found_files()
            elif gone := self._files.keys() - self.files_left():
                raise GoneError(f"{min(gone)} was removed or replaced while it was in use")
            yield self._connection

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Keep other threads from the store; yield whether it may still be used."""
        with self._lock:
            yield not self._closed

    def release(self) -> None:
        """Close the connection, for a repair; the next operation opens another."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def exchange(self, connection: sqlite3.Connection) -> None:
        """Use another connection, for a repair, and close the one before."""
        with self._lock:
            self.release()
            self._connection = connection
            self._files = self._found_files()

    def close(self) -> None:
        """Close it for good: using it raises a SpoolError from now on."""
        with self._lock:
            self._closed = True
            self.release()

    def _found_files(self) -> dict[Path, FileId | None]:
        # What is written to a log that was removed is seen by nobody else, and gone after a crash.
        # Beside an agent there may be no log yet, and none is repaired.
        parts = PARTS if self._repair else ("",)
        return {file: file_of(file) for file in siblings(self.path, parts)}

    def _retry_after_repair(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        def once() -> T:
            with self.transaction(begin) as db:
                return work(db)

        with self._lock, self._translated("repaired"):
            try:
                return once()
            except (DamagedError, FullError, GoneError) as error:
                failure: SpoolError = error
            for _ in self._repair(self, failure) if self._repair else ():
                try:
                    return once()
                except FullError as error:
                    failure = error
            raise failure

    def _translated(self, verb: str) -> contextlib.AbstractContextManager[None]:
        return translated(self.path, verb, own=self._repair is not None)


def connect(path: Path, options: str) -> sqlite3.Connection:
    """Open a store for any thread; whoever uses it begins and ends its transactions.

    A text that a flipped bit made none is read as far as it can be.

    Args:
        path: The store.
        options: How, as the query of an SQLite URI.
    """
    uri = f"{path.absolute().as_uri()}?{options}"
    db = sqlite3.connect(uri, timeout=5, isolation_level=None, check_same_thread=False, uri=True)
    db.text_factory = partial(str, encoding="utf-8", errors="replace")
    return db


def file_of(path: Path) -> FileId | None:
    """Return what tells a file from another one of the same name; None where there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
