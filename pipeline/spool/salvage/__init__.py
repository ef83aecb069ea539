"""Salvage: the rows of a damaged store that can be read go into a new one; the rest is counted."""

import logging
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipeline.spool import files
from pipeline.spool.access import opened
from pipeline.spool.contents import Cause, Fact, Gap
from pipeline.spool.rows import DAMAGES, mark, unpack
from pipeline.spool.salvage.pages import MAGIC, Pages, Row
from pipeline.spool.salvage.wal import read_log
from pipeline.spool.schema import AGED, AHEAD, COMMITTED, LOST, WAITING, refuse_other_version

_log = logging.getLogger(__name__)

__all__ = ["damage", "salvage"]

_CORRUPT = f"{LOST}{Cause.CORRUPT_STORE}"
_TOO_MANY = 2**53  # points and readings, for any machine and time
_PARTS = ("delivered", WAITING, AGED, *(f"{LOST}{cause}" for cause in COMMITTED))
# A batch on its way names ticks of the damaged store, and a user names rejected lines: so nothing
# new may have the id of what is lost.
_NUMBERED, _IDS_LEFT_OUT = ("tick", "rejected"), 1_000_000


@dataclass(slots=True)
class _Found:
    """Counters and ids that were found beside the rows that are kept."""

    counters: dict[str, int] = field(default_factory=dict)
    queued: int = 0
    last_ids: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_NUMBERED, 0))

    def saw(self, table: str, number: int) -> None:
        self.last_ids[table] = max(self.last_ids[table], number)


def damage(path: Path) -> str | None:
    """Look for damage in the files of a store without SQLite, which could make it worse.

    Returns:
        What is wrong; None if nothing is, or there is no store.

    Raises:
        SpoolError: The store is damaged, and another version made it.
    """
    why = _look(path)
    if why is not None:
        with Pages(path) as pages:
            refuse_other_version(pages.user_version, path)
    return why


def _look(path: Path) -> str | None:
    try:
        with os.fdopen(opened(path, os.O_RDONLY), "rb") as file:
            head = file.read(len(MAGIC))
    except FileNotFoundError:
        return "it is missing, but not its write-ahead log" if files.has_log(path) else None
    if not head:
        return "it is empty"
    if head != MAGIC:
        return "file is not a database"  # in the words of SQLite
    return (
        "its write-ahead log is damaged"
        if read_log(files.sibling(path, "-wal"), 0).damaged
        else None
    )


def salvage(path: Path, why: str, now_ns: int) -> None:
    """Replace a damaged store, which nobody may have open to write, by one with all readable rows.

    However often it is interrupted, no such row is lost: see `files`.

    Raises:
        SpoolError: Another version made the store.
        OSError, sqlite3.Error: There is no room, or no right to write.
    """
    stamp = files.stamp(path, now_ns)
    with Pages(path) as pages:
        refuse_other_version(pages.user_version, path)
        with files.building(path) as db:
            found = _Found()
            for row in pages.rows():
                _keep(db, row, found)
            moment = datetime.fromtimestamp(now_ns // 10**9, UTC)
            summary = (
                f"{path} was damaged ({why}), {moment:%Y-%m-%dT%H:%M:%SZ}: "
                f"{_settle_account(db, found)}; "
                f"the damaged file is {files.damaged_path(path, stamp).name}"
            )
            db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (Fact.SALVAGE, summary))
    files.replace(path, stamp)
    _log.warning("%s", summary)


def _keep(db: sqlite3.Connection, row: Row, found: _Found) -> None:
    """Put a row into its table, which its shape tells."""
    match row.rowid, row.values:
        case int(tick), (None, int(time_ns), int(points), bytes(lines)):
            found.saw("tick", tick)
            if points > 0 and _is_whole(lines):
                reading = (tick, time_ns, points, lines)
                db.execute("INSERT OR IGNORE INTO tick VALUES (?, ?, ?, ?)", reading)
        case int(tick), (None, int(points), int(size)) if points > 0:
            found.saw("tick", tick)
            entry = (tick, points, size)
            done = db.execute("INSERT OR IGNORE INTO pending VALUES (?, ?, ?)", entry)
            found.queued += points if done.rowcount else 0
        case int(number), (None, int(time_ns), str(reason), str(line)):
            found.saw("rejected", number)
            refused = (number, time_ns, reason, line)
            db.execute("INSERT OR IGNORE INTO rejected VALUES (?, ?, ?, ?)", refused)
        case int(), (("tick" | "rejected") as table, int(last)):  # of sqlite_sequence
            found.saw(table, last)
        case None, (str(cause), int(start), int(stop), int(readings)):
            mark(db, Gap(cause, start, stop, readings))
        case None, (str(name), int(value)):
            found.counters.setdefault(name, value)
        case None, (str(name), str(value)):
            db.execute("INSERT OR IGNORE INTO fact VALUES (?, ?)", (name, value))


def _is_whole(block: bytes) -> bool:
    try:
        unpack(block)
    except DAMAGES:
        return False
    return True


def _settle_account(db: sqlite3.Connection, found: _Found) -> str:
    """Make committed = delivered + waiting + lost true again; return it in words."""
    (missing,) = db.execute(
        "SELECT coalesce(sum(points), 0) FROM pending WHERE id NOT IN (SELECT id FROM tick)"
    ).fetchone()
    _mark_missing(db)
    db.execute("DELETE FROM pending WHERE id NOT IN (SELECT id FROM tick)")
    counters = {name: value for name, value in found.counters.items() if 0 <= value < _TOO_MANY}
    expected = counters.get(WAITING) if _adds_up(found) else None
    if expected is None or found.queued < expected:
        # A part of the queue cannot be read, so all readings are sent again: one that InfluxDB has
        # already changes nothing there, and one that it has not must not be missed.
        db.execute(
            "INSERT INTO pending SELECT id, points, length(lines) FROM tick "
            "WHERE id NOT IN (SELECT id FROM pending)"
        )
    (queued,) = db.execute("SELECT coalesce(sum(points), 0) FROM pending").fetchone()
    ticks, points = db.execute("SELECT count(*), coalesce(sum(points), 0) FROM tick").fetchone()
    saved = f"saved {ticks} readings ({points} points, {queued} of them to be delivered)"
    if expected is None:
        lost = missing
        known = {"ticks": ticks, "delivered": points - found.queued + missing, **counters}
        account = _guessed(known, queued, lost, queued - found.queued + missing)
        summary = f"{saved}, lost at least {lost} points: how many waited cannot be read any more"
    else:
        lost = max(0, expected - queued)
        account = _exact(counters, queued, lost)
        summary = f"{saved}, lost {lost} points that waited"
    # The triggers have counted what waits and what is kept.
    kept = ((name, value) for name, value in account.items() if value)
    db.executemany("INSERT OR IGNORE INTO counter VALUES (?, ?)", kept)
    db.execute(AHEAD)
    db.execute("DELETE FROM sqlite_sequence")
    last_ids = ((table, last + _IDS_LEFT_OUT) for table, last in found.last_ids.items())
    db.executemany("INSERT INTO sqlite_sequence VALUES (?, ?)", last_ids)
    return summary


def _adds_up(found: _Found) -> bool:
    """Return whether the counters are plausible: they have no checksum."""
    every = found.counters
    points = sum(every.get(part, 0) for part in _PARTS)
    is_sound = all(0 <= value < _TOO_MANY for value in every.values())
    return is_sound and every.get("points", 0) == points and found.queued <= every.get(WAITING, 0)


def _mark_missing(db: sqlite3.Connection) -> None:
    """Mark the gap of waiting readings that are lost: it lies between their neighbours."""
    first, last, readings = db.execute(
        "SELECT min(id), max(id), count(*) FROM pending WHERE id NOT IN (SELECT id FROM tick)"
    ).fetchone()
    if readings:
        (start,) = db.execute("SELECT max(time_ns) FROM tick WHERE id < ?", (first,)).fetchone()
        (stop,) = db.execute("SELECT min(time_ns) FROM tick WHERE id > ?", (last,)).fetchone()
        known = [time_ns for time_ns in (start, stop) if time_ns is not None]
        if known:
            mark(db, Gap(Cause.CORRUPT_STORE, min(known), max(known), readings))


def _exact(known: Mapping[str, int], queued: int, lost: int) -> dict[str, int]:
    # Readings that are sent again are not delivered.
    again = max(0, queued - known[WAITING])
    delivered = known.get("delivered", 0) - again
    return {
        **known,
        WAITING: queued,
        _CORRUPT: known.get(_CORRUPT, 0) + lost,
        "delivered": max(0, delivered),
        "points": known.get("points", 0) + max(0, -delivered),
    }


def _guessed(known: Mapping[str, int], queued: int, lost: int, again: int) -> dict[str, int]:
    account = {
        **known,
        WAITING: queued,
        _CORRUPT: known.get(_CORRUPT, 0) + lost,
        "delivered": max(0, known["delivered"] - again),
    }
    return {**account, "points": sum(account.get(part, 0) for part in _PARTS)}
