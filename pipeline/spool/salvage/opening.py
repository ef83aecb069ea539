"""Opening a store to write: a missing one is made, a damaged one mended, an old one upgraded."""

import errno
import sqlite3
from pathlib import Path

from pipeline.spool.room import Limits
from pipeline.spool.salvage import damage, salvage
from pipeline.spool.salvage import swap as files
from pipeline.spool.schema import (
    ERRORS,
    DamagedError,
    FullError,
    SpoolError,
    damaged,
    described,
    examine,
    migrate,
    version_of,
)

# A store of usual size is read through before it is used; a larger one when that delays nothing.
_CHECKED_AT_ONCE = 64 * 2**20
# What only a header that was not written so can make SQLite say of a store that opens.
_NOISE_CODES = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT}


def open_store(path: Path, limits: Limits, now_ns: int) -> sqlite3.Connection:
    """Open the store of a data directory that this process holds.

    Args:
        path: The store.
        limits: Its bounds.
        now_ns: Now, in nanoseconds since 1970-01-01 UTC.

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
        raise unopened(path, error) from error
    try:
        return _opened(path, limits)
    except DamagedError as error:
        mend(path, error, now_ns)
        return _opened(path, limits)


def next_id(db: sqlite3.Connection) -> int:
    """Return the id that the next tick will have."""
    query = "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'tick'"
    return int(db.execute(query).fetchone()[0])


def mend(path: Path, error: DamagedError, now_ns: int) -> None:
    """Salvage a store that nobody has open, of which SQLite said that it is damaged.

    Raises:
        FullError: The disk has no room for it.
        SpoolError: It cannot be done.
    """
    try:
        salvage(path, error.why, now_ns)
    except (OSError, sqlite3.Error) as failure:
        raise unopened(path, failure) from failure


def unopened(path: Path, error: Exception) -> SpoolError:
    """Return what to say of a store that cannot be opened."""
    why = error.strerror if isinstance(error, OSError) else error
    message = f"{path} cannot be opened: {why}; is it writable, with room on the disk?"
    if isinstance(error, OSError):
        return FullError(message) if error.errno == errno.ENOSPC else SpoolError(message)
    return described(error, message, path)


def _opened(path: Path, limits: Limits) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        # Nothing is written before it is known whose it is.
        version = version_of(db, path)
        if version == 0:  # freed pages go back to the file system in steps
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        # An fsync a tick is cheap at any sane interval, and a committed reading must survive a
        # power cut.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = OFF")
        # In KiB: what SQLite takes by itself is 2 MiB of what was written in the last half hour.
        db.execute("PRAGMA cache_size = -256")
        limits.apply(db)
        migrate(db, version)
        if path.stat().st_size <= _CHECKED_AT_ONCE:
            examine(db, path)
    except ERRORS as error:
        db.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOISE_CODES:
            raise damaged(path, str(error)) from error
        raise unopened(path, error) from error
    except BaseException:
        db.close()
        raise
    return db
