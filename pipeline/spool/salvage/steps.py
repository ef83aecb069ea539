"""The steps of a salvage: each copies some pages, in one transaction with its progress.

The account is exact after each: what waits in the damaged store is committed to the new one with
its reading, and at the end what was not found is counted as lost.
"""

import contextlib
import dataclasses
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from pipeline.spool import files
from pipeline.spool.contents import Cause, Fact, Gap
from pipeline.spool.database import Database
from pipeline.spool.rows import DAMAGES, mark, tally, unpack
from pipeline.spool.salvage.pages import Pages, Row
from pipeline.spool.salvage.progress import (
    PREFIX,
    SHIFT,
    Progress,
    begin,
    end,
    forget,
    forgotten,
    inherit,
    is_known,
    save,
    unfinished,
)
from pipeline.spool.schema import AGED, COMMITTED, LOST, WAITING

_log = logging.getLogger(__name__)

_AT_ONCE = 64  # pages: some hundredths of a second
_LARGEST_ID = 2**62
_TOO_MANY = 2**53  # points and readings, for any machine and time
_SETTLED = ("delivered", AGED, *(f"{LOST}{cause}" for cause in COMMITTED))
_OVERTAKEN = """INSERT OR IGNORE INTO ahead SELECT :id WHERE EXISTS
    (SELECT 1 FROM pending WHERE id < :id UNION ALL SELECT 1 FROM salvage WHERE id < :id)"""
_ALL_OVERTAKEN = """INSERT OR IGNORE INTO ahead SELECT id FROM tick
    WHERE id > :id AND id NOT IN (SELECT id FROM pending)
    AND EXISTS (SELECT 1 FROM pending WHERE id <= :id)"""
# They are about the agent that runs.
_NEVER_COPIED = {Fact.LAST_ERROR, Fact.TROUBLES, Fact.SALVAGE}


def first_step(db: sqlite3.Connection, pages: Pages | None, progress: Progress, path: Path) -> None:
    """Begin a salvage in a new store, with the first pages of the damaged one, unless None.

    There are all tables that are small, such as what the agent knows of its server.
    """
    begin(db, progress)
    if pages is not None:
        numbers = pages.following(0, _AT_ONCE)
        found = _found(db, progress, list(pages.rows(numbers, readings=False)))
        progress = dataclasses.replace(found, page=numbers[-1] if numbers else 0)
        save(db, progress)
    _tell(db, f"{_words(progress, path)}: readings go on, and what can be read is copied")


def steps(database: Database, keep: Callable[[sqlite3.Connection], object]) -> Iterator[None]:
    """Copy what can be read of damaged stores, and yield after each step.

    Args:
        database: The store that takes their place.
        keep: Keeps the bound of that store, at the end of each transaction.

    Raises:
        SpoolError: It cannot be written; what was copied stays, and the next time goes on there.
    """
    while found := database.read(unfinished):
        progress: Progress | None = found[0]
        with Pages(files.damaged_path(database.path, found[0].stamp)) as pages:
            while progress is not None:
                progress = _step(database, pages, progress, keep)
                yield


def _step(
    database: Database,
    pages: Pages,
    progress: Progress,
    keep: Callable[[sqlite3.Connection], object],
) -> Progress | None:
    """Copy some pages; return None when there are none left, or the store was replaced."""
    numbers = pages.following(progress.page, _AT_ONCE)
    rows = list(pages.rows(numbers, readings=progress.copying))
    readings = [reading for row in rows if (reading := _reading(row)) is not None]
    summary = ""

    def change(db: sqlite3.Connection) -> Progress | None:
        nonlocal summary
        if progress not in unfinished(db):
            return None
        after: Progress | None
        if numbers:
            if progress.copying:
                after = _copied(db, progress, readings)
            else:
                after = _found(db, progress, rows)
            after = dataclasses.replace(after, page=numbers[-1])
            done = pages.share(after.page) // 2 + 50 * progress.copying
            _tell(db, f"{_words(progress, database.path)}: {done} % of it is read")
        elif not progress.copying:
            after = _counted(db, progress)
        else:
            after = None
            summary = _settle(db, progress, database.path)
        if after is not None:
            save(db, after)
        keep(db)
        return after

    after = database.write(change)
    if summary:
        _log.warning("%s", summary)
    return after


def _found(db: sqlite3.Connection, progress: Progress, rows: Iterable[Row]) -> Progress:
    """Put all but readings into their tables, which their shapes tell."""
    counters = dict(progress.counters)
    for row in rows:
        match row.rowid, row.values:
            case int(tick), (None, int(points), int()) if points > 0:
                _expect(db, tick - progress.lowered, points, progress.stamp)
            case int(tick), (None, int(points), str(source)) if points > 0:
                _expect(db, tick - progress.lowered, points, source)
            case int(number), (None, int(), str(), str()):
                _keep_rejected(db, number, row.values[1:])
            case int(), ("rejected", int(last)):  # of sqlite_sequence
                _number_rejected(db, last)
            case None, (str(cause), int(start), int(stop), int(readings)):
                mark(db, Gap(cause, start, stop, readings))
            case None, (str(name), int(value)):
                counters.setdefault(name, value)
            case None, (str(name), str(value)) if name.startswith(PREFIX):
                inherit(db, value)
            case None, (str(name), str(value)) if name not in _NEVER_COPIED:
                db.execute("INSERT OR IGNORE INTO fact VALUES (?, ?)", (name, value))
    return dataclasses.replace(progress, counters=counters)


def _expect(db: sqlite3.Connection, tick: int, points: int, source: str) -> None:
    if abs(tick) < _LARGEST_ID:
        db.execute("INSERT OR IGNORE INTO salvage VALUES (?, ?, ?)", (tick, points, source))


def _keep_rejected(db: sqlite3.Connection, number: int, values: tuple[object, ...]) -> None:
    query = "INSERT OR IGNORE INTO rejected VALUES (?, ?, ?, ?)"
    if db.execute(query, (number, *values)).rowcount == 0:  # another one was refused meanwhile
        db.execute(
            "INSERT INTO rejected (time_ns, reason, line) SELECT ?1, ?2, ?3 WHERE NOT EXISTS "
            "(SELECT 1 FROM rejected WHERE (time_ns, reason, line) = (?1, ?2, ?3))",
            values,
        )


def _number_rejected(db: sqlite3.Connection, last: int) -> None:
    """Let no id come back: a user may name one."""
    db.execute("DELETE FROM sqlite_sequence WHERE name = 'rejected' AND seq < ?", (last,))
    db.execute(
        "INSERT INTO sqlite_sequence SELECT 'rejected', ?"
        " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'rejected')",
        (last,),
    )


def _counted(db: sqlite3.Connection, progress: Progress) -> Progress:
    """Begin the second pass: count what left the damaged store's queue, and know what waits."""
    queued = _expected(db, progress.stamp)
    known = {name: value for name, value in progress.counters.items() if 0 <= value < _TOO_MANY}
    exact = WAITING in known and _adds_up(progress.counters, queued)
    expected = known[WAITING] if exact else queued
    settled = sum(known.get(name, 0) for name in _SETTLED)
    lost = {name: value for name, value in known.items() if name.startswith(LOST)}
    other = {name: known.get(name, 0) for name in ("ticks", "delivered", AGED)}
    tally(db, {**lost, **other, "points": settled})
    # A part of the queue cannot be read, so all readings are sent again: one that InfluxDB has
    # already changes nothing there, and one that it has not must not be missed.
    again = not exact or queued < expected
    return dataclasses.replace(
        progress, page=0, counters=known, copying=True, exact=exact, again=again, left=expected
    )


def _expected(db: sqlite3.Connection, source: str) -> int:
    """Return how many points waited in a damaged store, of those whose readings are not found."""
    query = "SELECT coalesce(sum(points), 0) FROM salvage WHERE source = ?"
    (points,) = db.execute(query, (source,)).fetchone()
    return int(points)


def _adds_up(counters: Mapping[str, int], queued: int) -> bool:
    """Return whether the counters are plausible: they have no checksum."""
    points = sum(counters.get(part, 0) for part in (*_SETTLED, WAITING))
    is_sound = all(0 <= value < _TOO_MANY for value in counters.values())
    return is_sound and counters.get("points", 0) == points and queued <= counters.get(WAITING, 0)


def _reading(row: Row) -> tuple[int, int, int, bytes] | None:
    """Return the columns of a reading whose lines are whole."""
    match row.rowid, row.values:
        case int(tick), (None, int(time_ns), int(points), bytes(lines)):
            if points > 0 and abs(tick) < _LARGEST_ID:
                with contextlib.suppress(*DAMAGES):
                    unpack(lines)
                    return tick, time_ns, points, lines
    return None


def _copied(
    db: sqlite3.Connection, progress: Progress, readings: Iterable[tuple[int, int, int, bytes]]
) -> Progress:
    """Put readings into the log, and those that waited, or may have waited, into the queue."""
    ticks = points = queued = again = 0
    left = progress.left
    for number, time_ns, size, lines in readings:
        tick = number - progress.lowered
        insert = "INSERT OR IGNORE INTO tick VALUES (?, ?, ?, ?)"
        if db.execute(insert, (tick, time_ns, size, lines)).rowcount == 0:
            continue
        ticks += 1
        points += size
        expected = db.execute(
            "DELETE FROM salvage WHERE id = ? AND source = ? RETURNING points",
            (tick, progress.stamp),
        ).fetchone()
        if expected is None and not progress.again:
            db.execute(_OVERTAKEN, {"id": tick})
            continue
        waiting = size if expected is None else expected[0]
        db.execute("INSERT INTO pending VALUES (?, ?, ?)", (tick, waiting, len(lines)))
        queued += waiting
        known = min(waiting, left) if progress.exact or expected is not None else 0
        left -= known
        again += waiting - known
    (delivered,) = db.execute(
        "SELECT coalesce(sum(value), 0) FROM counter WHERE name = 'delivered'"
    ).fetchone()
    # Readings that are sent again are not delivered.
    undone = min(again, delivered)
    uncounted = 0 if "ticks" in progress.counters else ticks
    tally(db, {"ticks": uncounted, "points": queued - undone, "delivered": -undone})
    return dataclasses.replace(
        progress,
        left=left,
        ticks=progress.ticks + ticks,
        points=progress.points + points,
        queued=progress.queued + queued,
    )


def _settle(db: sqlite3.Connection, progress: Progress, path: Path) -> str:
    """Count what waited and was not found as lost; return what came of it all in a sentence."""
    _mark_time_without_agent(db, progress)
    _mark_missing(db, progress.stamp)
    tally(db, {f"{LOST}{Cause.CORRUPT_STORE}": progress.left, "points": progress.left})
    # What was delivered meanwhile left the queue before what was copied.
    db.execute(_ALL_OVERTAKEN, {"id": SHIFT - progress.lowered})
    end(db, progress)
    lost = f"lost {progress.left} points that waited"
    if not progress.exact:
        lost = f"lost at least {progress.left} points: how many waited cannot be read any more"
    summary = (
        f"{_words(progress, path)}: saved {progress.ticks} readings ({progress.points} points, "
        f"{progress.queued} of them to be delivered), {lost}; "
        f"the damaged file is {files.corrupt_path(path, progress.stamp).name}"
    )
    _tell(db, summary)
    return summary


def conclude(db: sqlite3.Connection, path: Path) -> None:
    """Let the damaged files be deletable, when no salvage goes on.

    A store that was damaged while a salvage filled it may have lost the progress of that. What was
    not copied yet is then counted as lost, as far as it is known.
    """
    stamps = files.damaged_stamps(path)
    for stamp in sorted(forgotten(db, stamps)):
        with db:
            db.execute("BEGIN IMMEDIATE")
            sentence = _give_up(db, stamp, path)
        _log.warning("%s", sentence)
    files.retire(path)
    if is_known(db):
        forget(db)


def _give_up(db: sqlite3.Connection, stamp: str, path: Path) -> str:
    """Count what a salvage had not copied as lost; return that in a sentence."""
    progress = Progress(stamp, "", "")
    begin(db, progress)
    lost = _expected(db, stamp)
    _mark_missing(db, stamp)
    tally(db, {f"{LOST}{Cause.CORRUPT_STORE}": lost, "points": lost})
    end(db, progress)
    sentence = (
        f"the salvage of {files.corrupt_path(path, stamp).name} was damaged itself, "
        f"lost at least {lost} points that waited there"
    )
    before = db.execute("SELECT value FROM fact WHERE name = ?", (Fact.SALVAGE,)).fetchone()
    _tell(db, "; ".join([*(before or ()), sentence]))
    return sentence


def _mark_time_without_agent(db: sqlite3.Connection, progress: Progress) -> None:
    """Mark the gap between the last reading of the damaged store and the first one after it."""
    border = {"id": SHIFT - progress.lowered}
    last = "SELECT id, time_ns FROM tick WHERE id <= :id ORDER BY id DESC LIMIT 1"
    first = "SELECT time_ns FROM tick WHERE id > :id ORDER BY id LIMIT 1"
    before, after = db.execute(last, border).fetchone(), db.execute(first, border).fetchone()
    if progress.resumed_s and before and after:
        gap = Gap.without_agent(before[1], after[0], progress.resumed_s)
        (lost,) = db.execute(
            "SELECT count(*) FROM salvage WHERE source = ? AND id > ?", (progress.stamp, before[0])
        ).fetchone()
        if gap.readings > lost:
            mark(db, dataclasses.replace(gap, readings=gap.readings - lost))


def _mark_missing(db: sqlite3.Connection, source: str) -> None:
    """Mark the gap of waiting readings that are lost: it lies between their neighbours."""
    first, last, readings = db.execute(
        "SELECT min(id), max(id), count(*) FROM salvage WHERE source = ?", (source,)
    ).fetchone()
    if readings:
        before = "SELECT time_ns FROM tick WHERE id < ? ORDER BY id DESC LIMIT 1"
        after = "SELECT time_ns FROM tick WHERE id > ? ORDER BY id LIMIT 1"
        found = (db.execute(before, (first,)).fetchone(), db.execute(after, (last,)).fetchone())
        known = [row[0] for row in found if row is not None]
        if known:
            mark(db, Gap(Cause.CORRUPT_STORE, min(known), max(known), readings))


def _words(progress: Progress, path: Path) -> str:
    return f"{path} was damaged ({progress.why}), {progress.moment}"


def _tell(db: sqlite3.Connection, text: str) -> None:
    db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (Fact.SALVAGE, text))
