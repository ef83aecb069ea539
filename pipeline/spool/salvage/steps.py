"""The steps of a salvage: each copies some pages, in one transaction with its progress.

The account is exact after each: what waits in the damaged store is committed to the new one with
its reading, and at the end what was not found is counted as lost.
"""

import dataclasses
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from pipeline.settings import MAIN
from pipeline.spool import files
from pipeline.spool.contents import COMMITTED, Cause, Fact, Gap
from pipeline.spool.database import Database
from pipeline.spool.rows import facts, mark, mark_missing, note, servers, tally
from pipeline.spool.salvage.finds import copy_servers, copy_small, reading_of
from pipeline.spool.salvage.pages import Pages
from pipeline.spool.salvage.progress import (
    SHIFT,
    Account,
    Progress,
    begin,
    end,
    forget,
    forgotten,
    is_known,
    save,
    unfinished,
)
from pipeline.spool.schema import AGED, LOST, WAITING

_log = logging.getLogger(__name__)

_AT_ONCE = 64  # pages: some hundredths of a second
_TOO_MANY = 2**53  # points and readings, for any machine and time
_SETTLED = ("delivered", AGED, *(f"{LOST}{cause}" for cause in COMMITTED))
_WAITS = "EXISTS (SELECT 1 FROM server CROSS JOIN pending ON server = name AND pending.id {})"
_OVERTAKEN = (
    f"INSERT OR IGNORE INTO ahead SELECT :id WHERE NOT {_WAITS.format('= :id')} "  # noqa: S608  # above
    f"AND ({_WAITS.format('< :id')} OR EXISTS (SELECT 1 FROM salvage WHERE id < :id))"
)
_ALL_OVERTAKEN = (
    "INSERT OR IGNORE INTO ahead SELECT id FROM tick "  # noqa: S608  # above
    f"WHERE id > :id AND NOT {_WAITS.format('= tick.id')} AND {_WAITS.format('<= :id')}"
)


def first_step(db: sqlite3.Connection, pages: Pages | None, progress: Progress, path: Path) -> None:
    """Begin a salvage in a new store, with the first pages of the damaged one, unless None.

    There are all tables that are small, such as what the agent knows of its server.
    """
    begin(db, progress)
    if pages is not None:
        numbers = pages.following(0, _AT_ONCE)
        rows = list(pages.rows(numbers, readings=False))
        copy_servers(db, progress, rows)
        found = copy_small(db, progress, rows)
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
    readings = [reading for row in rows if (reading := reading_of(row)) is not None]
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
                after = copy_small(db, progress, rows)
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


def _counted(db: sqlite3.Connection, progress: Progress) -> Progress:
    """Begin the second pass: count what left the damaged store's queues, and know what waits."""
    queued = _expected(db, progress.stamp)
    accounts = {
        server: _account(db, server, progress.accounts.get(server, Account()), queued[server])
        for server in {*progress.accounts, *queued, *servers(db)}
    }
    return dataclasses.replace(progress, page=0, accounts=accounts, copying=True)


def _account(db: sqlite3.Connection, server: str, found: Account, queued: int) -> Account:
    """Count what left the queue of a server, and know what waits in it."""
    known = {name: value for name, value in found.counters.items() if 0 <= value < _TOO_MANY}
    exact = WAITING in known and _adds_up(found.counters, queued)
    expected = known[WAITING] if exact else queued
    settled = sum(known.get(name, 0) for name in _SETTLED)
    lost = {name: value for name, value in known.items() if name.startswith(LOST)}
    other = {name: known.get(name, 0) for name in ("ticks", "delivered", AGED)}
    tally(db, {**lost, **other, "points": settled}, server)
    # A part of the queue cannot be read, so all readings are sent again: one that InfluxDB has
    # already changes nothing there, and one that it has not must not be missed.
    return Account(known, exact, not exact or queued < expected, expected)


def _expected(db: sqlite3.Connection, source: str) -> Counter[str]:
    """Return how many points waited for each server, of those whose readings are not found."""
    query = "SELECT server, sum(points) FROM salvage WHERE source = ? GROUP BY server"
    return Counter(dict(db.execute(query, (source,))))


def _adds_up(counters: Mapping[str, int], queued: int) -> bool:
    """Return whether the counters are plausible: they have no checksum."""
    points = sum(counters.get(part, 0) for part in (*_SETTLED, WAITING))
    is_sound = all(0 <= value < _TOO_MANY for value in counters.values())
    return is_sound and counters.get("points", 0) == points and queued <= counters.get(WAITING, 0)


def _copied(
    db: sqlite3.Connection, progress: Progress, readings: Iterable[tuple[int, int, int, bytes]]
) -> Progress:
    """Put readings into the log, and those that waited, or may have waited, into the queues."""
    ticks = points = 0
    served = servers(db)
    copies = {server: _Copies(account) for server, account in progress.accounts.items()}
    for number, time_ns, size, lines in readings:
        tick = number - progress.lowered
        insert = "INSERT OR IGNORE INTO tick VALUES (?, ?, ?, ?)"
        if db.execute(insert, (tick, time_ns, size, lines)).rowcount == 0:
            continue
        ticks += 1
        points += size
        query = "DELETE FROM salvage WHERE id = ? AND source = ? RETURNING server, points"
        expected = dict(db.execute(query, (tick, progress.stamp)))
        for server, copied in copies.items():
            waiting = copied.waiting(size, expected.get(server), served=server in served)
            if waiting:
                row = server, tick, waiting, len(lines)
                db.execute("INSERT INTO pending VALUES (?, ?, ?, ?)", row)
        db.execute(_OVERTAKEN, {"id": tick})
    for server, copied in copies.items():
        copied.tally(db, server)
    main = progress.accounts.get(MAIN, Account())
    tally(db, {"ticks": 0 if "ticks" in main.counters else ticks})
    return dataclasses.replace(
        progress,
        accounts={server: copied.account for server, copied in copies.items()},
        ticks=progress.ticks + ticks,
        points=progress.points + points,
    )


class _Copies:
    """What some copied readings change in the account of a server."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._queued = self._again = 0

    def waiting(self, size: int, expected: int | None, *, served: bool) -> int:
        """Return how many points of a reading of this size wait; None is expected of no queue."""
        account = self.account
        if expected is None and not (account.again and served):
            return 0
        waiting = size if expected is None else expected
        known = min(waiting, account.left) if account.exact or expected is not None else 0
        queued = waiting if served else 0  # else it is queued when the salvage is over
        self._queued += queued
        self._again += max(0, queued - known)
        self.account = dataclasses.replace(
            account, left=account.left - known, queued=account.queued + queued
        )
        return queued

    def tally(self, db: sqlite3.Connection, server: str) -> None:
        """Count them: readings that are sent again are not delivered."""
        query = "SELECT value FROM counter WHERE server = ? AND name = 'delivered'"
        (delivered,) = db.execute(query, (server,)).fetchone() or (0,)
        undone = min(self._again, delivered)
        tally(db, {"points": self._queued - undone, "delivered": -undone}, server)


def _settle(db: sqlite3.Connection, progress: Progress, path: Path) -> str:
    """Count what waited and was not found as lost; return what came of it all in a sentence."""
    _mark_time_without_agent(db, progress)
    _mark_missing(db, progress.stamp)
    for server, account in progress.accounts.items():
        _lose(db, server, account.left)
    # What was delivered meanwhile left the queue before what was copied.
    db.execute(_ALL_OVERTAKEN, {"id": SHIFT - progress.lowered})
    end(db, progress)
    main = progress.accounts.get(MAIN, Account())
    summary = (
        f"{_words(progress, path)}: saved {progress.ticks} readings ({progress.points} points, "
        f"{main.queued} of them to be delivered), {_lost(main)}; "
    )
    for server in servers(db):
        if server != MAIN:
            account = progress.accounts.get(server, Account())
            summary += f"for mirror {server} {account.queued} points, {_lost(account)}; "
    summary += f"the damaged file is {files.corrupt_path(path, progress.stamp).name}"
    _tell(db, summary)
    return summary


def _lost(account: Account) -> str:
    if account.exact:
        return f"lost {account.left} points that waited"
    return f"lost at least {account.left} points: how many waited cannot be read any more"


def _lose(db: sqlite3.Connection, server: str, points: int) -> None:
    tally(db, {f"{LOST}{Cause.CORRUPT_STORE}": points, "points": points}, server)


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
    for server, points in lost.items():
        _lose(db, server, points)
    end(db, progress)
    sentence = (
        f"the salvage of {files.corrupt_path(path, stamp).name} was damaged itself, "
        f"lost at least {lost[MAIN]} points that waited there"
    )
    for server in lost.keys() - {MAIN}:
        sentence += f", and {lost[server]} for mirror {server}"
    before = facts(db).get(Fact.SALVAGE)
    _tell(db, f"{before}; {sentence}" if before else sentence)
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
            "SELECT count(DISTINCT id) FROM salvage WHERE source = ? AND id > ?",
            (progress.stamp, before[0]),
        ).fetchone()
        if gap.readings > lost:
            mark(db, dataclasses.replace(gap, readings=gap.readings - lost))


def _mark_missing(db: sqlite3.Connection, source: str) -> None:
    """Mark the gaps of waiting readings that are lost: they lie between their neighbours."""
    query = (
        "SELECT server, min(id), max(id), count(*) FROM salvage WHERE source = ? GROUP BY server"
    )
    spans = {}
    for server, first, last, readings in db.execute(query, (source,)).fetchall():
        before = "SELECT time_ns FROM tick WHERE id < ? ORDER BY id DESC LIMIT 1"
        after = "SELECT time_ns FROM tick WHERE id > ? ORDER BY id LIMIT 1"
        found = (db.execute(before, (first,)).fetchone(), db.execute(after, (last,)).fetchone())
        known = [row[0] for row in found if row is not None]
        if known:
            spans[server] = (min(known), max(known), readings)
    mark_missing(db, Cause.CORRUPT_STORE, spans)


def _words(progress: Progress, path: Path) -> str:
    return f"{path} was damaged ({progress.why}), {progress.moment}"


def _tell(db: sqlite3.Connection, text: str) -> None:
    note(db, {Fact.SALVAGE: text})
