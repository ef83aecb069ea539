"""The store: its name, its tables, the versions of its format, and its errors.

The table `tick` is the log, with one row a reading, and serves `show`. The table `pending` is the
queue of each server: the readings that are not yet delivered to it. Settling a reading takes it off
that queue; its row in the log stays as it is.
"""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

NAME = "spool.db"
VERSION = 7
"""The number of the format; 0.1.0 has 1."""
_UPGRADABLE, _UNRELEASED = 1, range(2, VERSION)
# A greater number is damage, not a later version.
_NO_VERSION = 100
# As in 0.1.0. A salvage knows a row of the others by its shape, which no other table has, nor had.
_LASTING = """
CREATE TABLE tick (
    -- The order in which readings were taken. No id comes back: the tick that a batch on its way
    -- names must never be a later one.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ns INTEGER NOT NULL,
    points INTEGER NOT NULL,
    lines BLOB NOT NULL           -- a gzip member of line protocol, each line with its break
);
CREATE INDEX tick_time ON tick (time_ns);
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_TABLES = """
CREATE TABLE server (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    below INTEGER                 -- ticks with a lower id are not queued yet; NULL: all are
);
CREATE TABLE pending (
    server TEXT NOT NULL,
    id INTEGER NOT NULL,          -- of the tick
    points INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (server, id)
) WITHOUT ROWID;
CREATE TABLE counter (
    server TEXT NOT NULL,         -- main's are also those of the host
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (server, name)
) WITHOUT ROWID;
CREATE TABLE rejected (
    -- No id comes back: a line that was listed must never be another one when it is named.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ns INTEGER NOT NULL,     -- when the server refused it
    reason TEXT NOT NULL,
    line TEXT NOT NULL,
    server TEXT NOT NULL
);
CREATE TABLE gap (
    cause TEXT NOT NULL,
    server TEXT NOT NULL,         -- '': all lack the readings
    start_ns INTEGER NOT NULL,
    stop_ns INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    PRIMARY KEY (cause, server)
) WITHOUT ROWID;
-- Ticks that left the last queue before an older one did. All others are older than what waits, or
-- wait.
CREATE TABLE ahead (id INTEGER PRIMARY KEY);
"""
_RENAMED = """
ALTER TABLE pending RENAME TO former_pending;
ALTER TABLE counter RENAME TO former_counter;
ALTER TABLE rejected RENAME TO former_rejected;
"""
_COPIED = """
INSERT INTO pending SELECT 'main', id, points, bytes FROM former_pending;
INSERT INTO counter SELECT 'main', name, value FROM former_counter;
INSERT INTO rejected SELECT id, time_ns, reason, line, 'main' FROM former_rejected;
INSERT INTO counter SELECT 'main', 'waiting', coalesce(sum(points), 0) FROM pending;
INSERT INTO counter SELECT 'main', 'waiting_bytes', coalesce(sum(bytes), 0) FROM pending;
INSERT INTO counter SELECT 'main', 'rejected_kept', count(*) FROM rejected;
-- What had left the queue by its age, where there was no InfluxDB, was not counted.
INSERT INTO counter
    SELECT 'main', 'aged', committed - told FROM (
        SELECT
            coalesce(sum(value) FILTER (WHERE name = 'points'), 0) AS committed,
            coalesce(sum(value) FILTER (WHERE name <> 'points'), 0) AS told
        FROM counter WHERE name IN ('points', 'delivered', 'waiting', 'lost:spool_full',
            'lost:expired', 'lost:rejected', 'lost:corrupt_store')
    ) WHERE committed > told;
INSERT INTO ahead SELECT id FROM tick
    WHERE id > (SELECT min(id) FROM pending) AND id NOT IN (SELECT id FROM former_pending);
DROP TABLE former_pending;
DROP TABLE former_counter;
DROP TABLE former_rejected;
"""
# How much waits and is kept is counted here, so that no one has to count it. When a part of a queue
# cannot be read any more, `waiting` also tells how many points are missing.
_TRIGGERS = """
CREATE TRIGGER served AFTER INSERT ON server BEGIN
    INSERT OR IGNORE INTO counter VALUES
        (new.name, 'waiting', 0), (new.name, 'waiting_bytes', 0), (new.name, 'rejected_kept', 0);
END;
CREATE TRIGGER overtaken AFTER DELETE ON pending
WHEN EXISTS (SELECT 1 FROM server CROSS JOIN pending ON server = name AND pending.id < old.id)
AND NOT EXISTS (SELECT 1 FROM server CROSS JOIN pending ON server = name AND pending.id = old.id)
BEGIN
    INSERT OR IGNORE INTO ahead SELECT id FROM tick WHERE id = old.id;
    DELETE FROM ahead WHERE id < (SELECT min(id) FROM tick);
END;
CREATE TRIGGER queued AFTER INSERT ON pending BEGIN
    UPDATE counter SET value = value + new.points WHERE server = new.server AND name = 'waiting';
    UPDATE counter SET value = value + new.bytes
        WHERE server = new.server AND name = 'waiting_bytes';
    DELETE FROM ahead WHERE id = new.id;
END;
CREATE TRIGGER packed_anew AFTER UPDATE OF bytes ON pending BEGIN
    UPDATE counter SET value = value + new.bytes - old.bytes
        WHERE server = new.server AND name = 'waiting_bytes';
END;
CREATE TRIGGER unqueued AFTER DELETE ON pending BEGIN
    UPDATE counter SET value = value - old.points WHERE server = old.server AND name = 'waiting';
    UPDATE counter SET value = value - old.bytes
        WHERE server = old.server AND name = 'waiting_bytes';
END;
CREATE TRIGGER refused AFTER INSERT ON rejected BEGIN
    UPDATE counter SET value = value + 1 WHERE server = new.server AND name = 'rejected_kept';
END;
CREATE TRIGGER taken AFTER DELETE ON rejected BEGIN
    UPDATE counter SET value = value - 1 WHERE server = old.server AND name = 'rejected_kept';
END;
INSERT INTO server (name) VALUES ('main');
"""
# A store of 0.1.0 as one of this version, for those who read it before it is upgraded.
_VIEWS = """
CREATE TEMP VIEW server AS SELECT 1 AS id, 'main' AS name, NULL AS below;
CREATE TEMP VIEW pending AS SELECT 'main' AS server, id, points, bytes FROM main.pending;
CREATE TEMP VIEW counter AS SELECT 'main' AS server, name, value FROM main.counter
    UNION ALL SELECT 'main', 'waiting', coalesce(sum(points), 0) FROM main.pending
    UNION ALL SELECT 'main', 'waiting_bytes', coalesce(sum(bytes), 0) FROM main.pending
    UNION ALL SELECT 'main', 'rejected_kept', count(*) FROM main.rejected;
CREATE TEMP VIEW rejected AS
    SELECT id, time_ns, reason, line, 'main' AS server FROM main.rejected;
"""
LOST = "lost:"
"""Before a cause of loss, in `counter`."""
WAITING = "waiting"
"""The counter of the points in `pending`."""
AGED = "aged"
"""The counter of points that reached their age without an InfluxDB to deliver them to."""

# What SQLite says of a damaged schema need not be Unicode.
ERRORS = (sqlite3.Error, UnicodeDecodeError, OSError)
"""The errors of a store that cannot be used."""
_DAMAGE_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_ROOM_CODES, _LEAST_ROOM = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}, 2**16
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The numbers of system errors that tell of a full disk, or of a quota that is used up."""


class SpoolError(Exception):
    """The spool cannot be read or written; the message says what, where and the fix."""


class DamagedError(SpoolError):
    """The store is damaged, and why; the agent can salvage it."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class FullError(SpoolError):
    """The disk, or a quota on it, has no room."""


class MissingError(SpoolError, FileNotFoundError):
    """There is no store."""


class GoneError(SpoolError):
    """The store was removed, or replaced by another file, while it was in use."""


@contextlib.contextmanager
def translated(path: Path, verb: str, fix: str = "", *, own: bool = False) -> Iterator[None]:
    """Let every failure of a store leave as a SpoolError, which says that it cannot be `verb`.

    Args:
        path: The store.
        verb: What cannot be done with it.
        fix: What a user can do.
        own: Whether this is its agent, which may write to find out whether there is room.
    """
    try:
        yield
    except SpoolError:  # MissingError is an OSError, too
        raise
    except ERRORS as error:
        message = f"{path} cannot be {verb}: {_reason(error, fix)}"
        raise _described(error, message, path, own=own) from error


def _reason(error: Exception, fix: str) -> str:
    if isinstance(error, OSError) and not isinstance(error, PermissionError):
        return error.strerror or str(error)  # which says what to do
    return f"{getattr(error, 'strerror', None) or error}{fix}"


def _described(error: Exception, message: str, path: Path, *, own: bool) -> SpoolError:
    if isinstance(error, OSError):
        is_full = error.errno in NO_ROOM
        return FullError(message) if is_full else SpoolError(message)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # A damaged header may say that the file is read-only.
    is_shut = code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK)
    is_damage = code in _DAMAGE_CODES or isinstance(error, UnicodeDecodeError)
    if is_damage or (is_shut and os.access(path.parent, os.W_OK)):
        return damaged(path, str(error))
    # A file cannot be made or grow, and SQLite does not say why.
    is_full = own and code in _ROOM_CODES and not _has_room(path)
    return FullError(message) if is_full or code == sqlite3.SQLITE_FULL else SpoolError(message)


def _has_room(path: Path) -> bool:
    """Try to write beside a store: a quota shows in no figure of the disk."""
    probe = path.with_name(f"{path.name}.probe")
    try:
        try:
            probe.unlink(missing_ok=True)
            made = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(made, "wb"):
                os.posix_fallocate(made, 0, _LEAST_ROOM)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return error.errno not in NO_ROOM
    return True


def free(directory: Path) -> int:
    """Return how many bytes are free on the disk of a directory."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def version_of(db: sqlite3.Connection, path: Path) -> int:
    """Return the version of an open store; 0 is an empty database.

    Raises:
        SpoolError: It is another program's, or another version's.
        DamagedError: It has the tables, and a version that cannot be.
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
    """Read a whole store; raise a DamagedError if it is damaged."""
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise damaged(path, found.splitlines()[-1])


def damaged(path: Path, why: str) -> DamagedError:
    """Return the error of a damaged store."""
    return DamagedError(f"{path} is damaged ({why}); the agent will salvage what is left", why)


def refuse_other_version(version: int, path: Path) -> None:
    """Refuse, by a SpoolError, a store whose format this version does not know."""
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
    """Upgrade a store to this version, in one transaction; version 0 is an empty database."""
    if version < VERSION:
        former = _RENAMED + _TABLES + _COPIED
        script = (former if version else _LASTING + _TABLES) + _TRIGGERS
        db.executescript(f"BEGIN IMMEDIATE;{script}PRAGMA user_version = {VERSION};COMMIT;")


def show_as_current(db: sqlite3.Connection, version: int) -> None:
    """Let a reader find in a store of another version, as it is, the tables of this one."""
    if version < VERSION:
        db.executescript(_VIEWS)
