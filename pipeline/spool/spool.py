"""The spool as its agent writes it: readings are appended, and wait in the queue of a server."""

import contextlib
import sqlite3
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Self

from pipeline.clock import Clock, SystemClock
from pipeline.settings import MAIN
from pipeline.spool import rows
from pipeline.spool.aging import Aging
from pipeline.spool.contents import Contents, Gap
from pipeline.spool.database import Database
from pipeline.spool.errors import DamagedError, FullError, translated
from pipeline.spool.opening import OwnStore
from pipeline.spool.queue import Queue
from pipeline.spool.queues import Queues
from pipeline.spool.reader import SpoolReader
from pipeline.spool.room import Room
from pipeline.spool.salvage import resume, steps, unfinished
from pipeline.spool.schema import LOST, NAME

_AT_ONCE = 200  # so that no tick waits long for it
_WAITING = "SELECT id FROM pending WHERE server = ? AND id >= ? AND id < ? ORDER BY id LIMIT ?"
_IS_WRONG = "SELECT 1 FROM tick WHERE id = ? AND time_ns < ?"


class Spool:
    """The spool of the one process that holds its data directory.

    The store is made if there is none. If it is damaged or the disk is full, also while it is in
    use, it is repaired, and the operation is tried again.

    Args:
        directory: The data directory, held by the caller's lock; it must exist.
        max_bytes: The bound on what its files take of the disk.
        clock: The source of time.

    Attributes:
        path: The store.
        aging: Removes what is too old.
        next_id: The id of the next reading, or an earlier one that no reading has.

    Raises:
        SpoolError: The file cannot be made, or is another program's or another version's.
    """

    def __init__(self, directory: Path, max_bytes: int, clock: Clock | None = None) -> None:
        self.path = directory / NAME
        self._clock = clock = clock or SystemClock()
        with translated(self.path, "opened", own=True):
            self._room = Room(self.path, max_bytes)
        self._store = OwnStore(self.path, self._room, clock)
        self._database = Database(self.path, self._open, self._store.repair, clock)
        self._by_name: dict[str, Queue] = {}
        self._first_id = self.next_id = 0  # the first of this process
        self.aging = Aging(self._database)
        self._queues = Queues(self._database, lambda: self._store.salvaging, self._room.keep)
        with contextlib.suppress(FullError):
            self._shrink()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def pressure(self) -> str | None:
        """Why readings that were not delivered make room for newer ones; None while none do."""
        return self._room.pressure

    @property
    def salvaging(self) -> bool:
        """Whether a damaged store waits for `salvage`."""
        return self._store.salvaging

    def salvage(self) -> Iterator[None]:
        """Copy what can be read of damaged stores that were replaced, and yield after each step.

        Raises:
            SpoolError: The store cannot be written; the next time goes on there.
        """
        yield from steps(self._database, self._room.keep)
        with self._database.connection() as db:
            self._store.conclude_salvage(db)
        yield from self._queues.go_on()

    def resume(self, interval_s: float) -> int | None:
        """Return the time of the last reading before an agent's start, as far as it is known.

        If it is still in a damaged store, its salvage marks the time without an agent.

        Args:
            interval_s: At which interval readings are taken from now on, in seconds.

        Returns:
            Nanoseconds since 1970-01-01 UTC; None if it is not known, or there is none.
        """

        def change(db: sqlite3.Connection) -> int | None:
            if salvages := unfinished(db):
                return resume(db, salvages[0], interval_s)
            return rows.contents(db, MAIN).last_ns

        return self._database.write(change)

    def close(self) -> None:
        """Close the file: any use raises a SpoolError from now on."""
        self._database.close()

    def queue(self, name: str = MAIN) -> Queue:
        """Return the queue of a server.

        Args:
            name: The server's name; the one of the `influxdb_*` settings is `MAIN`.
        """
        return self._by_name.setdefault(name, Queue(name, self._database, self._store, self._clock))

    def serve(
        self, mirrors: Collection[str], places: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[None]:
        """Queue readings for these mirrors, from now on, and for `MAIN`; yield after each part.

        A mirror that is new gets all readings that are held; its queue is leased once it has them
        all. The queue of one that is not named any more is given up, and counted as lost. A server
        that is where another one was, as after an exchange, gets all that is held once more. It
        goes on where another process ended. While a damaged store is salvaged it does nothing: the
        salvage does it at its end.

        Args:
            mirrors: Their names.
            places: Server to where it is, in words that tell it from any other.

        Raises:
            SpoolError: The store cannot be written; the next time goes on there.
        """
        return self._queues.follow(mirrors, places)

    def contents(self) -> Contents:
        """Return the figures of the spool, and of `MAIN` in it."""
        return self._database.read(lambda db: rows.contents(db, MAIN))

    def facts(self) -> dict[str, str]:
        """Return the facts of the agent that were noted."""
        return self._database.read(rows.facts)

    def gaps(self) -> list[Gap]:
        """Return the spans of missing readings of which no point tells yet."""
        return self._database.read(rows.gaps)

    def has(self, time_ns: int) -> bool:
        """Return whether there is a reading of exactly this time."""
        query = "SELECT 1 FROM tick WHERE time_ns = ?"
        return self._database.read(lambda db: db.execute(query, (time_ns,)).fetchone() is not None)

    def append(
        self,
        lines: Sequence[str],
        time_ns: int,
        lost: Mapping[str, int] | None = None,
        gaps: Iterable[Gap] = (),
        told: Iterable[Gap] = (),
    ) -> bool:
        """Commit one reading; when this returns, it is on the disk.

        Args:
            lines: Line protocol, one point each. With none, only the losses are counted.
            time_ns: The reading's time, in nanoseconds since 1970-01-01 UTC.
            lost: Cause to points that the reading should have held as well.
            gaps: Readings that are missing before it.
            told: The gaps that its lines tell of.

        Returns:
            Whether there are gaps now of which no point tells yet.

        Raises:
            SpoolError: Nothing was committed.
        """
        missing, ended = tuple(gaps), tuple(told)

        def commit(db: sqlite3.Connection) -> tuple[bool, int]:
            tick = 0
            if lines:
                tick = rows.insert(db, lines, time_ns) + self._store.above
                rows.tally(db, {"ticks": 1})
                for server in rows.servers(db):
                    rows.tally(db, {"points": len(lines)}, server)
            rows.tally(db, {f"{LOST}{cause}": points for cause, points in (lost or {}).items()})
            for gap in ended:  # before new gaps are marked, which would widen them
                rows.forget(db, gap)
            for gap in missing:
                rows.mark(db, gap)
            self._room.keep(db)
            return db.execute("SELECT 1 FROM gap LIMIT 1").fetchone() is not None, tick

        untold, tick = self._database.write(commit)
        self.next_id = max(self.next_id, tick + 1)
        return untold

    def restamp(self, ids: range, before_ns: int, by_ns: int) -> tuple[int, range]:
        """Correct the time of some waiting readings that this process took with a wrong clock.

        Args:
            ids: The readings.
            before_ns: Only those with an earlier time than this are corrected.
            by_ns: By how much, in nanoseconds.

        Returns:
            How many were corrected, and the readings that are left.
        """

        def commit(db: sqlite3.Connection) -> tuple[int, range]:
            above = self._store.above
            first = max(ids.start, self._first_id) - above
            scope = (first, ids.stop - above, _AT_ONCE)
            # The first ones of all queues together are among the first ones of each.
            queues = [db.execute(_WAITING, (name, *scope)) for name in rows.servers(db)]
            found = sorted({tick for queue in queues for (tick,) in queue})[:_AT_ONCE]
            wrong = [tick for tick in found if db.execute(_IS_WRONG, (tick, before_ns)).fetchone()]
            corrected = sum(rows.restamp(db, tick, before_ns, by_ns) for tick in wrong)
            return corrected, range(found[-1] + 1 + above if found else ids.stop, ids.stop)

        return self._database.write(commit)

    def restamp_gaps(self, before_ns: int, by_ns: int) -> None:
        """Correct the times of the gaps of which no point tells yet, as `restamp` does."""
        self._database.write(lambda db: rows.restamp_gaps(db, before_ns, by_ns))

    def note(self, facts: Mapping[str, str | None]) -> None:
        """Store facts of the agent for those who read the spool; None deletes one."""
        self._database.write(lambda db: rows.note(db, facts))

    def check(self) -> None:
        """Read the whole store, while readings go on, and salvage it if it is damaged.

        Raises:
            SpoolError: The store could not be read, or not be salvaged.
        """
        before = self._store.made
        if not self._database.is_open:
            return
        try:
            with (
                contextlib.suppress(FileNotFoundError),
                SpoolReader(self.path.parent, shared=True) as own,
            ):
                own.examine()
        except DamagedError as error:
            with self._database.held() as usable:
                if usable and self._store.made == before:
                    self._store.replace(self._database, error)

    def set_bound(self, max_bytes: int) -> None:
        """Set another bound on what the files take of the disk, and delete what is beyond it.

        Raises:
            SpoolError: That failed now; the bound holds from the next reading on.
        """
        with self._database.held(), translated(self.path, "written", own=True):
            self._room.set_bound(max_bytes)
        self._shrink()
        with self._database.connection() as db:
            self._room.limits.apply(db)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # only this makes the file smaller

    def _shrink(self) -> None:
        deque(self._database.write_in_parts(self._room.shrink), maxlen=0)

    def _open(self) -> sqlite3.Connection:
        db = self._store.connect()
        if not self._first_id:
            (following,) = db.execute(rows.NEXT_ID).fetchone()
            self._first_id = self.next_id = int(following) + self._store.above
        return db
