"""The one door of a store: its files are looked at before SQLite opens them.

SQLite deletes the log beside an empty file, even for a reader, and ignores all that follows a
damaged part of the log. So only the agent, which salvages it, opens a store that is damaged.
"""

import errno
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipeline.spool import files
from pipeline.spool.access import look, look_at_store
from pipeline.spool.database import Database
from pipeline.spool.lock import holder
from pipeline.spool.room import Limits, Room
from pipeline.spool.salvage import damage, salvage
from pipeline.spool.schema import (
    ERRORS,
    NAME,
    DamagedError,
    FullError,
    SpoolError,
    damaged,
    described,
    examine,
    migrate,
    version_of,
)

# A store of usual size is read as a whole before it is used; a larger one is checked later.
_CHECKED_AT_ONCE = 64 * 2**20
_LOOKS = 10
# Errors of a store that opens: only a header that was damaged causes them.
_NOISE_CODES = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT}


def open_beside(directory: Path, *, write: bool = False) -> Database:
    """Open a store beside an agent that may be running; nothing is made or repaired.

    Raises:
        FileNotFoundError: There is no store in the directory.
        DamagedError: The store is not whole.
        SpoolError: The store cannot be opened.
    """
    path = directory / NAME
    try:
        look_at_store(path)
        if (why := _found_damage(path)) is not None:
            raise damaged(path, why)
        look(path)
    except NotADirectoryError:
        raise FileNotFoundError(path) from None
    except PermissionError as error:
        raise _unreachable(path, error.strerror) from error
    database = Database(path, partial(_connect_to_write if write else _connect_to_read, path))
    with database.connection("read"):
        return database


def _found_damage(path: Path) -> str | None:
    """Return what is wrong with a store that the agent must salvage first, or None.

    A running agent has looked itself, and its log is in use and not deleted. Where none runs,
    another command may be writing, and a look may see half a transaction: so damage counts if two
    looks find it while nothing is written. They open and close the file, which in an agent's
    process would drop SQLite's locks on it.
    """
    is_empty = path.exists() and path.stat().st_size == 0
    has_log = files.has_log(path)
    if is_empty or holder(path.parent) is not None:
        return "it is empty, but not its write-ahead log" if is_empty and has_log else None
    if files.is_unfinished(path):
        return "its salvage was interrupted"
    for _ in range(_LOOKS):
        before = files.written(path)
        if damage(path) is None or (why := damage(path)) is None:
            return None
        if files.written(path) == before:
            return why
    return None


def _connect_to_read(path: Path) -> sqlite3.Connection:
    try:
        return _connected(path, "mode=ro")
    except sqlite3.OperationalError as error:
        # Without the right to write to the folder, SQLite cannot share a database in WAL mode.
        # When no agent has it open, the file is whole without its log.
        try:
            return _connected(path, "mode=ro&immutable=1")
        except sqlite3.OperationalError:
            raise _unreachable(path, error) from error


def _connect_to_write(path: Path) -> sqlite3.Connection:
    try:
        db = _connected(path, "mode=rw")
        db.execute("PRAGMA synchronous = FULL")
        Limits.within(0).apply(db)  # the least share, as the bound is the agent's
    except sqlite3.OperationalError as error:
        raise _unreachable(path, error) from error
    return db


def _connected(path: Path, options: str) -> sqlite3.Connection:
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=5,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        if version_of(db, path) == 0:
            raise FileNotFoundError(f"{path} is being made")
    except BaseException:
        db.close()
        raise
    return db


def _unreachable(path: Path, why: object) -> SpoolError:
    return SpoolError(f"{path} cannot be opened: {why}; try as the user of the agent")


def open_own(path: Path, limits: Limits, now_ns: int) -> sqlite3.Connection:
    """Open the store of a data directory that this process holds.

    A missing one is made, a damaged one salvaged, an old one upgraded.

    Raises:
        FullError: The disk has no room for it.
        SpoolError: It is another program's or another version's, or there is no right to write.
    """
    try:
        files.resume(path)
        if (why := damage(path)) is not None:
            salvage(path, why, now_ns)
        elif not path.exists():
            files.create(path)
    except (OSError, sqlite3.Error) as error:
        raise _unopened(path, error) from error
    try:
        return _connect_own(path, limits)
    except DamagedError as error:
        _salvage(path, error, now_ns)
        return _connect_own(path, limits)


def _connect_own(path: Path, limits: Limits) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
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
        limits.apply(db)
        migrate(db, version)
        if path.stat().st_size <= _CHECKED_AT_ONCE:
            examine(db, path)
    except ERRORS as error:
        db.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOISE_CODES:
            raise damaged(path, str(error)) from error
        raise _unopened(path, error) from error
    except BaseException:
        db.close()
        raise
    return db


class AgentRepair:
    """The repair of the agent's own store: salvage of a damaged one, room on a full disk."""

    def __init__(self, room: Room, now_ns: Callable[[], int]) -> None:
        self._room = room
        self._now_ns = now_ns
        self.salvages = 0

    def __call__(self, database: Database, error: SpoolError, /) -> Iterator[None]:
        """Do one thing after the other; after each, the operation is tried again.

        Raises:
            SpoolError: It could not be done.
        """
        if isinstance(error, DamagedError):
            self.salvage(database, error)
            yield
        elif isinstance(error, FullError):
            # Often only the log cannot grow, and that costs no reading.
            if self._room.relieve(database):
                yield
                self._room.make(database)
            yield

    def salvage(self, database: Database, error: DamagedError) -> None:
        """Replace a damaged store by a new one with all rows that can be read.

        Raises:
            FullError: The disk has no room for it.
            SpoolError: It cannot be done.
        """
        database.release()
        _salvage(database.path, error, self._now_ns())
        self.salvages += 1


def _salvage(path: Path, error: DamagedError, now_ns: int) -> None:
    try:
        salvage(path, error.why, now_ns)
    except (OSError, sqlite3.Error) as failure:
        raise _unopened(path, failure) from failure


def _unopened(path: Path, error: Exception) -> SpoolError:
    why = error.strerror if isinstance(error, OSError) else error
    message = f"{path} cannot be opened: {why}; is it writable, with room on the disk?"
    if isinstance(error, OSError):
        return FullError(message) if error.errno == errno.ENOSPC else SpoolError(message)
    return described(error, message, path)
