"""What anyone may read of a spool, while the agent writes to it and while the agent is down."""

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pipeline.spool.block import DAMAGES, unpack
from pipeline.spool.contents import Contents, Rejected
from pipeline.spool.gap import Gap
from pipeline.spool.schema import (
    ERRORS,
    LOST,
    NAME,
    DamagedError,
    SpoolError,
    damaged,
    described,
    examine,
    version_of,
)

_log = logging.getLogger(__name__)


class SpoolReader:
    """Reads a spool, also while the agent writes to it and while the agent is down.

    Raises:
        FileNotFoundError: There is no spool in the directory.
        SpoolError: The file cannot be opened as a spool.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        try:
            self.path.stat()
        except NotADirectoryError:
            raise FileNotFoundError(self.path) from None
        except PermissionError as error:
            raise self._unopened(error.strerror) from error
        self._lock = threading.RLock()
        try:
            self._open("mode=ro")
        except sqlite3.OperationalError as error:
            # Without the right to write to the folder, SQLite cannot share a database in WAL mode;
            # when no agent has it open, the file alone is whole.
            try:
                self._open("mode=ro&immutable=1")
            except sqlite3.OperationalError:
                raise self._unopened(error) from error

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give the file back; whoever uses the spool afterwards gets a SpoolError."""
        with self._lock:
            self._db.close()

    def contents(self) -> Contents:
        """Return what the spool holds and has seen."""
        with self._reading() as db:
            counters: dict[str, int] = dict(db.execute("SELECT name, value FROM counter"))
            backlog = db.execute(
                "SELECT coalesce(sum(points), 0), coalesce(sum(bytes), 0), "
                "(SELECT time_ns FROM tick WHERE id = (SELECT min(id) FROM pending)) FROM pending"
            ).fetchone()
            (rejected,) = db.execute("SELECT count(*) FROM rejected").fetchone()
            # Noise makes a text of a number, which is greater than all of these.
            (first,) = db.execute("SELECT min(time_ns) FROM tick").fetchone()
            (last,) = db.execute("SELECT max(time_ns) FROM tick WHERE time_ns < ''").fetchone()
        return Contents(
            ticks=counters.get("ticks", 0),
            points=counters.get("points", 0),
            delivered_points=counters.get("delivered", 0),
            backlog_points=backlog[0],
            backlog_bytes=backlog[1],
            backlog_oldest_ns=backlog[2],
            rejected_points=rejected,
            lost={k.removeprefix(LOST): v for k, v in counters.items() if k.startswith(LOST)},
            first_ns=first,
            last_ns=last,
        )

    def facts(self) -> dict[str, str]:
        """Return what the agent noted for those who read the store."""
        with self._reading() as db:
            return dict(db.execute("SELECT name, value FROM fact"))

    def gaps(self) -> list[Gap]:
        """Return the spans of missing readings that nobody has been told of yet."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT cause, start_ns, stop_ns, readings FROM gap ORDER BY start_ns"
            )
            return [Gap(*row) for row in rows]

    def rejected(self, limit: int) -> list[Rejected]:
        """Return the refused lines that are kept, the newest first.

        Args:
            limit: How many at most.
        """
        with self._reading() as db:
            rows = db.execute(
                "SELECT id, time_ns, reason, line FROM rejected ORDER BY id DESC LIMIT ?", (limit,)
            )
            return [Rejected(*row) for row in rows]

    def times(self, since_ns: int) -> list[int]:
        """Return when the readings were taken that are held, from the oldest on.

        Args:
            since_ns: The oldest time wanted, in nanoseconds since 1970-01-01 UTC.
        """
        with self._reading() as db:
            rows = db.execute(
                "SELECT time_ns FROM tick WHERE time_ns >= ? ORDER BY time_ns", (since_ns,)
            )
            return [time_ns for (time_ns,) in rows]

    def has(self, time_ns: int) -> bool:
        """Return whether there is a reading of exactly this time."""
        with self._reading() as db:
            row = db.execute("SELECT 1 FROM tick WHERE time_ns = ? LIMIT 1", (time_ns,)).fetchone()
        return row is not None

    def history(self, since_ns: int, most: int | None = None) -> Iterator[str]:
        """Yield each reading's lines, one block a tick, from the oldest on.

        What is damaged is left out, and told at the end.

        Args:
            since_ns: The oldest time wanted, in nanoseconds since 1970-01-01 UTC.
            most: Only so many readings, evenly out of all and the newest among them, so that a long
                history takes no longer than a short one; None stands for all.
        """
        damaged = 0
        step = self.step(since_ns, most) if most else 1
        with self._reading() as db:
            # What is left out is not read: the index on the time has the ids, too.
            rows = db.execute(
                "SELECT CAST(lines AS BLOB) FROM tick WHERE time_ns >= ?1 AND (?2 = 1 OR id IN ("
                "SELECT id FROM (SELECT id, row_number() OVER (ORDER BY time_ns DESC, id DESC) AS n"
                " FROM tick WHERE time_ns >= ?1) WHERE n % ?2 = 1)) ORDER BY time_ns, id",
                (since_ns, step),
            )
            for (block,) in rows:
                try:
                    text = unpack(block)
                except DAMAGES:
                    damaged += 1
                else:
                    yield text
        if damaged:
            _log.warning("%d readings in %s are damaged and left out", damaged, self.path)

    def step(self, since_ns: int, most: int) -> int:
        """Return which part of the readings `history` yields: 1 for all, 3 for every third."""
        with self._reading() as db:
            query = "SELECT count(*) FROM tick WHERE time_ns >= ?"
            count: int = db.execute(query, (since_ns,)).fetchone()[0]
        return max(1, -(-count // most))

    def examine(self) -> None:
        """Read all there is.

        Raises:
            DamagedError: The file is damaged.
        """
        with self._reading() as db:
            examine(db, self.path)

    def _connection(self) -> sqlite3.Connection:
        return self._db

    def _open(self, options: str) -> None:
        self._db = self._connect(options)
        try:
            self._check()
        except BaseException:
            self._db.close()
            raise

    def _unopened(self, why: object) -> SpoolError:
        return SpoolError(f"{self.path} cannot be opened: {why}; try as the user of the agent")

    def _connect(self, options: str) -> sqlite3.Connection:
        try:
            return sqlite3.connect(
                f"{self.path.absolute().as_uri()}?{options}",
                uri=True,
                timeout=5,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise self._unopened(error) from error

    def _check(self) -> None:
        try:
            version = version_of(self._db, self.path)
        except sqlite3.OperationalError:
            raise
        except ERRORS as error:
            raise self._unread(error) from error
        if version == 0:
            raise FileNotFoundError(f"{self.path} is being made")

    def _unread(self, error: Exception) -> SpoolError:
        failure = described(error, f"{self.path} cannot be read: {error}", self.path)
        return damaged(self.path, failure.why) if isinstance(failure, DamagedError) else failure

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        # One transaction, so that all that is read is of one moment.
        with self._lock:
            try:
                db = self._connection()
                db.execute("BEGIN")
                try:
                    yield db
                finally:
                    if db.in_transaction:
                        db.execute("COMMIT")
            except ERRORS as error:
                raise self._unread(error) from error
