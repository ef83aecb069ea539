"""The spool's file: its name, its tables, and what can be wrong with it.

The table `tick` is the log, one row a reading, and serves `show`. The table `pending` is the queue:
the rows that are not yet delivered. To settle a reading is to take it off the queue, which leaves
its row, and so its compressed lines, as they lie on disk.
"""

NAME = "spool.db"
VERSION = 1
TABLES = """
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
LOST = "lost:"
"""Before a cause of loss, in `counter`."""


class SpoolError(Exception):
    """The spool cannot be read or written; the message says what, where and the fix."""
