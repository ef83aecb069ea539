"""The spool's one writer: append, lease, settle, expire."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.spool.block import pack
from pipeline.spool.reader import SpoolReader
from pipeline.spool.schema import LOST, NAME, TABLES, VERSION, SpoolError

_REJECTED_KEPT = 10_000
# At the bound, make room for many ticks at once, so that a full spool costs no search per tick.
_ROOM_SHARE = 100
_OLDEST = "SELECT id, tick.points, lines FROM pending JOIN tick USING (id) ORDER BY id"
_NEWEST = f"{_OLDEST} DESC LIMIT 1"
# By time, so that the index serves and no lines are read.
_OLDEST_OF_ALL = "SELECT id FROM tick ORDER BY time_ns LIMIT 64"
_OLDEST_DELIVERED = (
    "SELECT id FROM tick WHERE id NOT IN (SELECT id FROM pending) ORDER BY time_ns LIMIT 64"
)
# A tick must not wait long for a great clean-up.
_EXPIRED_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings on their way: leased from the queue, to be settled or to stay.

    Attributes:
        ids: The ticks.
        points: How many lines they hold.
        body: The lines, as a gzip stream.
    """

    ids: tuple[int, ...]
    points: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that the server refused, and its reason."""

    line: str
    reason: str


class Spool(SpoolReader):
    """The spool as its one writer has it.

    Args:
        directory: The data directory, held by the caller's lock; it must exist.
        max_bytes: The bound on the file's size.

    Raises:
        SpoolError: The file cannot be made or is none of ours.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.path = directory / NAME
        self._lock = threading.RLock()
        try:
            self._open("mode=rwc")
        except sqlite3.Error as error:
            raise SpoolError(
                f"{self.path} cannot be opened: {error}; "
                "is it a spool, writable, with room on the disk?"
            ) from error

    def _prepare(self) -> None:
        db = self._db
        # An fsync a tick is cheap at any sane interval, and a committed reading must survive a
        # power cut. Freed pages go back to the file system in steps.
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA journal_size_limit = 4194304")
        if db.execute("PRAGMA user_version").fetchone() == (0,):
            if db.execute("SELECT count(*) FROM sqlite_schema").fetchone() != (0,):
                raise SpoolError(f"{self.path} is another program's database; move it away")
            db.executescript(f"BEGIN;{TABLES}PRAGMA user_version = {VERSION};COMMIT;")
        self._check()

    def set_bound(self, max_bytes: int) -> None:
        """Take another bound on the file's size, which holds from the next reading on."""
        self._max_bytes = max_bytes

    def append(
        self, lines: Sequence[str], time_ns: int, lost: Mapping[str, int] | None = None
    ) -> None:
        """Commit one reading; when this returns, it is on the disk.

        Args:
            lines: Line protocol, one point each. With none, only the losses are counted.
            time_ns: The reading's time, in nanoseconds since 1970-01-01 UTC.
            lost: Cause to points that the reading should have held as well.

        Raises:
            SpoolError: It could not be committed; nothing of it was.
        """
        block = pack(lines)
        with self._writing() as db:
            if lines:
                row = db.execute(
                    "INSERT INTO tick (time_ns, points, lines) VALUES (?, ?, ?)",
                    (time_ns, len(lines), block),
                )
                db.execute(
                    "INSERT INTO pending VALUES (?, ?, ?)", (row.lastrowid, len(lines), len(block))
                )
                _count(db, {"ticks": 1, "points": len(lines)})
            _count(db, {f"{LOST}{cause}": points for cause, points in (lost or {}).items()})
            self._keep_bound(db)

    def lease(self, max_points: int, *, newest: bool = False) -> Batch | None:
        """Return what to send next; it stays queued until it is settled.

        Args:
            max_points: The size of a batch. A larger tick comes alone.
            newest: Only the newest tick, instead of the oldest ones.

        Returns:
            The batch, or None when nothing waits.
        """
        ids: list[int] = []
        members: list[bytes] = []
        total = 0
        with self._reading() as db:
            for tick, points, lines in db.execute(_NEWEST if newest else _OLDEST):
                if ids and total + points > max_points:
                    break
                ids.append(tick)
                members.append(lines)
                total += points
        return Batch(tuple(ids), total, b"".join(members)) if ids else None

    def settle(
        self,
        batch: Batch,
        time_ns: int,
        refused: Sequence[Refusal] = (),
        expired: int = 0,
    ) -> None:
        """Take a delivered batch off the queue, in one transaction with what became of its lines.

        Args:
            batch: The batch, as leased.
            time_ns: Now, in nanoseconds since 1970-01-01 UTC.
            refused: The lines that the server refused: kept as rejected, and counted as lost.
            expired: How many lines the server refused as older than its bucket's age.
        """
        with self._writing() as db:
            # What the bound or the age took while the batch was under way is counted already.
            settled = sum(_unqueue(db, tick) for tick in batch.ids)
            db.executemany(
                "INSERT INTO rejected (time_ns, reason, line) VALUES (?, ?, ?)",
                ((time_ns, refusal.reason, refusal.line) for refusal in refused),
            )
            db.execute(
                "DELETE FROM rejected WHERE id <= (SELECT max(id) FROM rejected) - ?",
                (_REJECTED_KEPT,),
            )
            rejected = min(len(refused), settled)
            expired = min(expired, settled - rejected)
            counts = {f"{LOST}rejected": rejected, f"{LOST}expired": expired}
            _count(db, {"delivered": settled - rejected - expired, **counts})

    def expire(self, before_ns: int, *, count: bool) -> int:
        """Delete the readings older than the age, and give their space back.

        Args:
            before_ns: The youngest time that is too old, in nanoseconds since 1970-01-01 UTC.
            count: Whether undelivered ones are a loss: not where there is nobody to deliver to.

        Returns:
            How many points were deleted.
        """
        deleted = 0
        while some := self._expire_some(before_ns, count=count):
            deleted += some
            with self._told():
                # It steps page by page, which only a script follows to the end.
                self._db.executescript("PRAGMA incremental_vacuum")
        return deleted

    def _expire_some(self, before_ns: int, *, count: bool) -> int:
        with self._writing() as db:
            rows = db.execute(
                "SELECT id, points FROM tick WHERE time_ns < ? LIMIT ?",
                (before_ns, _EXPIRED_AT_ONCE),
            ).fetchall()
            lost = _drop(db, [tick for tick, _ in rows])
            _count(db, {f"{LOST}expired": lost} if count else {})
        return sum(points for _, points in rows)

    def give_up(self, before_ns: int) -> int:
        """Take off the queue, and count as expired, what is too old for the server.

        The local copy keeps it until its own age.

        Args:
            before_ns: The youngest time that is too old, in nanoseconds since 1970-01-01 UTC.

        Returns:
            How many points that were.
        """
        with self._writing() as db:
            rows = db.execute(
                "DELETE FROM pending WHERE "
                "(SELECT time_ns FROM tick WHERE tick.id = pending.id) < ? RETURNING points",
                (before_ns,),
            ).fetchall()
            expired = sum(int(points) for (points,) in rows)
            _count(db, {f"{LOST}expired": expired})
        return expired

    def note(self, facts: Mapping[str, str | None]) -> None:
        """Keep facts for those who read the store; None forgets one."""
        with self._writing() as db:
            for name, value in facts.items():
                if value is None:
                    db.execute("DELETE FROM fact WHERE name = ?", (name,))
                else:
                    db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    def _keep_bound(self, db: sqlite3.Connection) -> None:
        if self._used(db) <= self._max_bytes:
            return
        goal = self._max_bytes - self._max_bytes // _ROOM_SHARE
        query = _OLDEST_DELIVERED
        while self._used(db) > goal:
            ids = [tick for (tick,) in db.execute(query)]
            if not ids and query is _OLDEST_DELIVERED:
                query = _OLDEST_OF_ALL  # the search for delivered ones is long when there are none
                continue
            if len(ids) <= 1:
                return
            _count(db, {f"{LOST}spool_full": _drop(db, ids)})

    def _used(self, db: sqlite3.Connection) -> int:
        pragmas = ("page_count", "freelist_count", "page_size")
        pages, free, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas)
        return int((pages - free) * size)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise SpoolError(f"{self.path} cannot be written: {error}") from error


def _count(db: sqlite3.Connection, counts: Mapping[str, int]) -> None:
    db.executemany(
        "INSERT INTO counter VALUES (?, ?) "
        "ON CONFLICT DO UPDATE SET value = value + excluded.value",
        ((name, value) for name, value in counts.items() if value),
    )


def _drop(db: sqlite3.Connection, ids: Iterable[int]) -> int:
    """Delete ticks; return how many of their points were still waiting."""
    lost = 0
    for tick in ids:
        lost += _unqueue(db, tick)
        db.execute("DELETE FROM tick WHERE id = ?", (tick,))
    return lost


def _unqueue(db: sqlite3.Connection, tick: int) -> int:
    row = db.execute("DELETE FROM pending WHERE id = ? RETURNING points", (tick,)).fetchone()
    return int(row[0]) if row else 0
