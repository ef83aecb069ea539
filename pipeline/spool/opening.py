"""The store of its agent: opened, made, upgraded and repaired; its files are looked at before."""

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pipeline.clock import Clock
from pipeline.settings import MAIN
from pipeline.spool import files
from pipeline.spool.contents import Cause, Fact
from pipeline.spool.database import Database, connect
from pipeline.spool.errors import (
    ERRORS,
    DamagedError,
    FullError,
    GoneError,
    SpoolError,
    translated,
)
from pipeline.spool.room import Room
from pipeline.spool.rows import (
    counters,
    gaps,
    mark,
    mark_missing,
    note,
    servers,
    tally,
    tally_each,
)
from pipeline.spool.salvage import SHIFT, carry_over, conclude, damage, set_aside, unfinished
from pipeline.spool.schema import (
    AGED,
    LOST,
    WAITING,
    examine,
    migrate,
    version_of,
)

_log = logging.getLogger(__name__)

# A store of usual size is read as a whole before it is used; a larger one is checked later.
_CHECKED_AT_ONCE = 64 * 2**20
# Errors of a store that opens: only a header that was damaged causes them.
_NOISE_CODES = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT}
_NO_ROOM = "; is it writable, with room on the disk?"


class OwnStore:
    """The store of the process that holds its data directory, which alone repairs it.

    Args:
        path: The store.
        room: Its room on the disk.
        clock: Tells the time.

    Attributes:
        made: How often a new store took the place of another one.
        salvaging: Whether a damaged store is not read to its end yet.
    """

    def __init__(self, path: Path, room: Room, clock: Clock) -> None:
        self._path = path
        self._room = room
        self._clock = clock
        self.made = 0
        self.salvaging = False

    @property
    def above(self) -> int:
        """By how much the ids of a batch are higher than those in the store.

        A new store begins with the id 1 again, and a batch may name ticks of a former one.
        """
        return self.made * SHIFT

    def connect(self) -> sqlite3.Connection:
        """Open the store. A missing one is made, a damaged one replaced, an old one upgraded.

        Raises:
            FullError: The disk has no room for it.
            SpoolError: It is another program's or another version's, or cannot be written.
        """
        path = self._path
        with translated(path, "opened", _NO_ROOM, own=True):
            files.finish_replacement(path)
            if (why := damage(path)) is not None:
                self._set_aside(why)
            elif not path.exists():
                files.create(path)
        try:
            db = self._connected()
        except DamagedError as error:
            with translated(path, "opened", _NO_ROOM, own=True):
                self._set_aside(error.why)
            db = self._connected()
        return db

    def _connected(self) -> sqlite3.Connection:
        path = self._path
        with translated(path, "opened", _NO_ROOM, own=True):
            db = connect(path, "mode=rw")
            try:
                # Nothing is written before it is known that the file is a store of this version.
                version = version_of(db, path)
                if version == 0:  # freed pages go back to the file system in steps
                    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
                # A committed reading must survive a power cut, and one fsync a tick is cheap.
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.execute("PRAGMA secure_delete = OFF")
                # In KiB: by default SQLite keeps 2 MiB of pages, which are not read again.
                db.execute("PRAGMA cache_size = -256")
                self._room.limits.apply(db)
                migrate(db, version)
                if path.stat().st_size <= _CHECKED_AT_ONCE:
                    examine(db, path)
                self.conclude_salvage(db)
            except sqlite3.Error as error:
                db.close()
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOISE_CODES:
                    raise DamagedError(path, str(error)) from error
                raise
            except BaseException:
                db.close()
                raise
        return db

    def conclude_salvage(self, db: sqlite3.Connection) -> None:
        """Conclude the salvage of damaged stores, unless one is not read to its end yet."""
        self.salvaging = True  # until all is counted, for which the disk may have no room
        if not unfinished(db):
            conclude(db, self._path)
            self.salvaging = False

    def repair(self, database: Database, error: SpoolError, /) -> Iterator[None]:
        """Do one thing after the other; after each, the operation is tried again.

        Raises:
            SpoolError: It could not be done.
        """
        if isinstance(error, DamagedError):
            self.replace(database, error)
            yield
        elif isinstance(error, GoneError):
            try:
                self._make_anew(database, str(error))
            except DamagedError as damaged:
                self.replace(database, damaged)
            yield
        elif isinstance(error, FullError):
            # Often only the log cannot grow, and that costs no reading.
            if self._room.relieve(database):
                yield
                self._room.delete_oldest(database)
            yield

    def replace(self, database: Database, error: DamagedError) -> None:
        """Replace a damaged store by a new one, into which its rows are copied later.

        Raises:
            FullError: The disk has no room for it.
            SpoolError: It cannot be done.
        """
        database.release()
        with translated(self._path, "opened", _NO_ROOM, own=True):
            self._set_aside(error.why)

    def _set_aside(self, why: str) -> None:
        set_aside(self._path, why, self._clock.now_ns())
        self.made += 1
        self.salvaging = True

    def _make_anew(self, database: Database, why: str) -> None:
        """Make a store of which a file was removed anew, out of the one that is still open.

        Whoever removes a folder removes one file after the other. So none of them is opened again,
        and the one that is open is closed last: if anything fails, all is there for the next time.
        """
        path, old, left = self._path, database.last_connection, database.files_left()
        assert old is not None  # noqa: S101  # else nobody had seen that a file is gone
        if path not in left and path.exists():
            database.release()  # the next look at that one finds out what it is
            for file in left:
                file.unlink(missing_ok=True)
        else:
            with translated(path, "made anew", _NO_ROOM, own=True):
                if path in left:
                    files.copy(old, path)
                    why = f"{why}; what was in it is saved"
                else:
                    with files.building(path) as new:
                        gone = f"{path} was removed while it was in use"
                        why = f"{gone}, lost {_carry_over(old, new)} points that waited"
                        note(new, {Fact.SALVAGE: why})
                files.place(path)
                database.exchange(self._connected())
        _log.error("%s", why)
        self.made += path not in left  # the ids of another store are others


def _carry_over(old: sqlite3.Connection, new: sqlite3.Connection) -> int:
    """Copy what is known of a store that was removed; return how many points waited for `MAIN`."""
    with contextlib.suppress(*ERRORS):
        counted = {server: counters(old, server) for server in servers(old)}
        missing = old.execute(
            "SELECT server, min(time_ns), max(time_ns), count(*) "
            "FROM pending JOIN tick USING (id) GROUP BY server"
        ).fetchall()
        facts = old.execute("SELECT * FROM fact WHERE name NOT LIKE 'salvage%'").fetchall()
        marked = gaps(old)
        carry_over(old, new)
        mirrors = [(server,) for server in counted if server != MAIN]
        new.executemany("INSERT INTO server (name) VALUES (?)", mirrors)
        waited = {server: its.get(WAITING, 0) for server, its in counted.items()}
        kept = ("ticks", "points", "delivered", AGED)
        for server, its in counted.items():
            told = {name: its[name] for name in its if name in kept or name.startswith(LOST)}
            tally(new, told, server)
        tally_each(new, f"{LOST}{Cause.CORRUPT_STORE}", waited)
        new.executemany("INSERT INTO fact VALUES (?, ?)", facts)
        for gap in marked:
            mark(new, gap)
        mark_missing(new, Cause.CORRUPT_STORE, {server: tuple(span) for server, *span in missing})
        return waited.get(MAIN, 0)
    return 0
