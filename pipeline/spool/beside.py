"""A store that is opened beside its agent, running or not: nothing is made or repaired.

SQLite deletes the log beside an empty file, even for a reader, and ignores all that follows a
damaged part of the log. So only the agent, which salvages it, opens a store that is damaged.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipeline.spool import files
from pipeline.spool.access import look_at_store
from pipeline.spool.database import Database, connect, file_of
from pipeline.spool.errors import DamagedError, GoneError, MissingError, SpoolError, translated
from pipeline.spool.lock import holder
from pipeline.spool.room import Limits
from pipeline.spool.salvage import damage
from pipeline.spool.schema import NAME, VERSION, show_as_current, version_of

_LOOKS = 10
_SHUT_CODES = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR}
_OTHER_USER = "; try as the user of the agent"


def open_beside(directory: Path, *, write: bool = False, shared: bool = False) -> Database:
    """Open a store beside an agent that may be running; nothing is made or repaired.

    Args:
        directory: The data directory.
        write: Whether to change it.
        shared: Whether it must be opened so that all changes are seen. Otherwise a reader may open
            a store alone where it cannot be shared, and see half a change.

    Raises:
        MissingError: There is no store in the directory.
        DamagedError: The store is not whole.
        SpoolError: The store cannot be opened.
    """
    path = directory / NAME
    with translated(path, "opened", _OTHER_USER):
        with contextlib.suppress(NotADirectoryError):
            look_at_store(path)
        if (why := _found_damage(path)) is not None:
            raise DamagedError(path, why)
    connect = _connect_to_write if write else partial(_connect_to_read, shared=shared)
    database = Database(path, partial(_connect_beside, path, connect))
    with database.connection("read"):
        return database


def _found_damage(path: Path) -> str | None:
    """Return what is wrong with a store that the agent must salvage first, or None.

    A running agent has looked itself, and its log is in use and not deleted. Where none runs,
    another command may be writing, and a look may see half a transaction: so damage counts if two
    looks find it while nothing is written. They open and close the file, which in an agent's
    process would drop SQLite's locks on it.
    """
    try:
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
    except NotADirectoryError:
        raise MissingError(f"there is no {path}") from None
    return None


def _connect_beside(
    path: Path, connect: Callable[[Path], sqlite3.Connection]
) -> sqlite3.Connection:
    with translated(path, "opened", _OTHER_USER):
        before = file_of(path)
        if before is None:
            raise MissingError(f"there is no {path}")
        db = connect(path)
        if file_of(path) != before:  # its log may be that of the store which took its place
            db.close()
            raise GoneError(f"{path} was replaced while it was opened; try again")
        return db


def _connect_to_read(path: Path, *, shared: bool) -> sqlite3.Connection:
    try:
        return _connected(path, "mode=ro")
    except sqlite3.OperationalError as error:
        # Where SQLite can make no file, for want of the right or of room, it cannot share a store
        # in WAL mode. One that has no log is whole by itself.
        is_shut = error.sqlite_errorcode & 0xFF in _SHUT_CODES
        if shared or not is_shut or files.has_log(path):
            raise
    return _connected(path, "mode=ro&immutable=1")


def _connect_to_write(path: Path) -> sqlite3.Connection:
    db = _connected(path, "mode=rw")
    if (version := version_of(db, path)) != VERSION:
        db.close()
        raise SpoolError(f"{path} has format {version}; start the agent, which upgrades it")
    db.execute("PRAGMA synchronous = FULL")
    Limits.within(0).apply(db)  # the least share, as the bound is the agent's
    return db


def _connected(path: Path, options: str) -> sqlite3.Connection:
    db = connect(path, options)
    try:
        if (version := version_of(db, path)) == 0:
            raise MissingError(f"{path} is being made")
        show_as_current(db, version)
    except BaseException:
        db.close()
        raise
    return db
