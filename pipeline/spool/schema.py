"""The store: its name, its tables, and the versions of its format.

The table `tick` is the log, with one row a reading, and serves `show`. The table `pending` is the
queue of each server: the readings that are not yet delivered to it. Settling a reading takes it off
that queue; its row in the log stays as it is.
"""

import sqlite3
from pathlib import Path

from pipeline.spool.errors import DamagedError, SpoolError

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
    raise DamagedError(path, f"it has format {version}")


def examine(db: sqlite3.Connection, path: Path) -> None:
    """Read a whole store; raise a DamagedError if it is damaged."""
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise DamagedError(path, found.splitlines()[-1])


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
