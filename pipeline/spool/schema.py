"""The spool's file: its name, its tables and their versions, and what can be wrong with it.

The table `tick` is the log, one row a reading, and serves `show`. The table `pending` is the queue:
the rows that are not yet delivered. To settle a reading is to take it off the queue, which leaves
its row, and so its compressed lines, as they lie on disk.
"""

import os
import sqlite3
from pathlib import Path

from pipeline.spool.contents import Cause

NAME = "spool.db"
VERSION = 5
"""The number of the format; 0.1.0 has 1."""
_UPGRADABLE, _UNRELEASED = 1, range(2, VERSION)
# A number beyond it was written by noise, not by a later version.
_NO_VERSION = 100
_TABLES = """
CREATE TABLE tick (
    -- The order in which readings were taken. No id comes back: the tick that a batch on its way
    -- names must never be a later one.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ns INTEGER NOT NULL,
    points INTEGER NOT NULL,
    lines BLOB NOT NULL           -- a gzip member of line protocol, each line with its break
);
CREATE INDEX tick_time ON tick (time_ns);
CREATE TABLE pending (
    id INTEGER PRIMARY KEY,       -- of the tick
    points INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);
CREATE TABLE rejected (
    id INTEGER PRIMARY KEY,
    time_ns INTEGER NOT NULL,     -- when the server refused it
    reason TEXT NOT NULL,
    line TEXT NOT NULL
);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
# What leads from 0.1.0's format to this one; a new store goes the same way.
_UPGRADE = """
-- How many points wait, beside the queue: when a part of the queue cannot be read any more, it
-- tells how many are missing.
INSERT INTO counter SELECT 'waiting', coalesce(sum(points), 0) FROM pending;
CREATE TRIGGER queued AFTER INSERT ON pending BEGIN
    UPDATE counter SET value = value + new.points WHERE name = 'waiting';
END;
CREATE TRIGGER unqueued AFTER DELETE ON pending BEGIN
    UPDATE counter SET value = value - old.points WHERE name = 'waiting';
END;
CREATE TABLE gap (
    cause TEXT PRIMARY KEY,
    start_ns INTEGER NOT NULL,
    stop_ns INTEGER NOT NULL,
    readings INTEGER NOT NULL
) WITHOUT ROWID;
-- What had left the queue by its age, where there was no InfluxDB, was not counted.
INSERT INTO counter
    SELECT 'aged', committed - told FROM (
        SELECT
            coalesce(sum(value) FILTER (WHERE name = 'points'), 0) AS committed,
            coalesce(sum(value) FILTER (WHERE name <> 'points'), 0) AS told
        FROM counter WHERE name IN ('points', 'delivered', 'waiting', 'lost:spool_full',
            'lost:expired', 'lost:rejected', 'lost:corrupt_store')
    ) WHERE committed > told;
"""
LOST = "lost:"
"""Before a cause of loss, in `counter`."""
COMMITTED = (Cause.SPOOL_FULL, Cause.EXPIRED, Cause.REJECTED, Cause.CORRUPT_STORE)
"""The causes of which points are lost that were committed; others never came that far."""
WAITING = "waiting"
"""The counter of what is in `pending`."""
AGED = "aged"
"""The counter of points that waited for nobody, as there was no InfluxDB, until their age."""

# What SQLite tells of a schema full of noise need not be text.
ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What comes of a store that cannot be used."""
_DAMAGE_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_ROOM_CODES, _NO_ROOM = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}, 2**16


class SpoolError(Exception):
    """The spool cannot be read or written; the message says what, where and the fix."""


class DamagedError(SpoolError):
    """The file is damaged, and why: its writer can salvage what is left."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class FullError(SpoolError):
    """The disk has no room."""


def described(error: Exception, message: str, path: Path) -> SpoolError:
    """Return what a failure of SQLite means, one of `ERRORS`, with a message for the user."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # A header full of noise may say that the file must not be written.
    shut = code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK)
    is_noise = code in _DAMAGE_CODES or isinstance(error, UnicodeDecodeError)
    if is_noise or (shut and os.access(path.parent, os.W_OK)):
        return DamagedError(message, str(error))
    # A file that cannot be made or grow, and of which SQLite does not tell why.
    ungrown = code in _ROOM_CODES and free(path.parent) < _NO_ROOM
    return FullError(message) if ungrown or code == sqlite3.SQLITE_FULL else SpoolError(message)


def free(directory: Path) -> int:
    """Return how much of a directory's disk is free, in bytes."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def version_of(db: sqlite3.Connection, path: Path) -> int:
    """Return the version of an open store; 0 is a database without anything in it.

    Raises:
        SpoolError: It is another program's, or another version's.
        DamagedError: It has the tables and no version that there can be.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
    if not names and version == 0:
        return 0
    if not {"tick", "pending", "counter"} <= names:
        raise SpoolError(f"{path} is another program's database; move it away, or set data_dir")
    if version in (_UPGRADABLE, VERSION):
        return int(version)
    refuse_other_version(version, path)
    raise damaged(path, f"it has format {version}")


def examine(db: sqlite3.Connection, path: Path) -> None:
    """Read a whole store.

    Raises:
        DamagedError: It is damaged.
    """
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise damaged(path, found.splitlines()[-1])


def damaged(path: Path, why: str) -> DamagedError:
    """Return what to say of a damaged store."""
    return DamagedError(f"{path} is damaged ({why}); the agent will salvage what is left", why)


def refuse_other_version(version: int, path: Path) -> None:
    """Leave alone what a version made whose format this one does not know.

    Raises:
        SpoolError: A later version made the store, or one that was never released.
    """
    if version in _UNRELEASED:
        raise SpoolError(
            f"{path} has format {version}, of a version that was never released; move the file away"
        )
    if VERSION < version < _NO_VERSION:
        raise SpoolError(
            f"{path} has format {version}, this version reads {VERSION}; "
            "run the version that made it, or move the file away"
        )


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Bring a store to this version, in one transaction with its number; 0 is an empty one."""
    if version < VERSION:
        script = _UPGRADE if version else _TABLES + _UPGRADE
        db.executescript(f"BEGIN IMMEDIATE;{script}PRAGMA user_version = {VERSION};COMMIT;")
