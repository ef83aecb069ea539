"""Writing to a spool: short transactions that have the right to write from their start.

So SQLite lets whoever comes second wait, be it the agent or a command beside it.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pipeline.spool.reader import SpoolReader
from pipeline.spool.room import Limits
from pipeline.spool.schema import ERRORS, described


class Writing(SpoolReader):
    """A spool that is written to beside an agent that may be running.

    It makes and mends no file, and the bound is left to the agent.

    Args:
        directory: The data directory.

    Raises:
        FileNotFoundError: There is no spool in the directory.
        SpoolError: The file cannot be opened as a spool.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.close()
        try:
            self._open("mode=rw")
            self._db.execute("PRAGMA synchronous = FULL")
            Limits.within(0).apply(self._db)  # whatever the share of the log is
        except sqlite3.OperationalError as error:
            raise self._unopened(error) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._told() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection()
            except ERRORS as error:
                message = f"{self.path} cannot be written: {error}"
                raise described(error, message, self.path) from error
