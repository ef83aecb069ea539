"""A store that is open: its transactions, its failures, and another try after a repair."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from pipeline.spool.schema import ERRORS, DamagedError, FullError, SpoolError, damaged, described

T = TypeVar("T")


class Repair(Protocol):
    """What may help after a failure."""

    def __call__(self, database: "Database", error: SpoolError, /) -> Iterable[None]:
        """Do one thing after the other; after each, the operation is tried again.

        Raises:
            SpoolError: It could not be done.
        """
        ...


def no_repair(_: "Database", __: SpoolError) -> Iterable[None]:
    """Leave the store to its agent, which alone may repair it."""
    return ()


class Database:
    """A store with one connection, which its parts share.

    An operation that fails is tried again after a repair. It is one transaction, so that nothing of
    its first try is left.

    Args:
        path: The store.
        connect: Opens it; called when it is used first, and again after `release`.
        repair: What may help after a failure.
    """

    def __init__(
        self, path: Path, connect: Callable[[], sqlite3.Connection], repair: Repair = no_repair
    ) -> None:
        self.path = path
        self._connect = connect
        self._repair = repair
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether it has a connection."""
        return self._connection is not None

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query, all of it at one moment of the store.

        Raises:
            SpoolError: It failed.
        """
        return self._retry_after_repair("BEGIN", query)

    def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Make a change, in a transaction that has the right to write from its start.

        So SQLite lets whoever comes second wait, be it the agent or a command beside it.

        Raises:
            SpoolError: It failed; nothing of it was done.
        """
        return self._retry_after_repair("BEGIN IMMEDIATE", change)

    @contextlib.contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Run one transaction without a repair: a long read, or a repair itself.

        Raises:
            SpoolError: It failed.
        """
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
        """Give the connection, outside a transaction and without a repair.

        Args:
            verb: What cannot be done to the store when it fails.

        Raises:
            SpoolError: It failed.
        """
        with self._lock, self._translating_errors(verb):
            if self._closed:
                raise SpoolError(f"{self.path} was closed")
            if self._connection is None:
                self._connection = self._connect()
            yield self._connection

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Keep every other thread from the store; tell whether it may be used at all."""
        with self._lock:
            yield not self._closed

    def release(self) -> None:
        """Close the connection, for a repair; the next operation opens another."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def close(self) -> None:
        """Close it for good; whoever uses it afterwards gets a SpoolError."""
        with self._lock:
            self._closed = True
            self.release()

    def _retry_after_repair(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        def once() -> T:
            with self.transaction(begin) as db:
                return work(db)

        with self._lock:
            try:
                return once()
            except (DamagedError, FullError) as error:
                failure: SpoolError = error
            for _ in self._repair(self, failure):
                try:
                    return once()
                except FullError as error:
                    failure = error
            raise failure

    @contextlib.contextmanager
    def _translating_errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except ERRORS as error:
            failure = described(error, f"{self.path} cannot be {verb}: {error}", self.path)
            if isinstance(failure, DamagedError):
                failure = damaged(self.path, failure.why)
            raise failure from error
