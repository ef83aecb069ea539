"""What is found in a damaged store: rows that their shapes tell from each other."""

import contextlib
import dataclasses
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable

from pipeline.settings import MAIN
from pipeline.spool.contents import Fact, Gap
from pipeline.spool.rows import DAMAGES, mark, servers, unpack
from pipeline.spool.salvage.pages import Row
from pipeline.spool.salvage.progress import PREFIX, Account, Progress, inherit

_LARGEST_ID = 2**62
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")  # of a server, and of none that noise makes
# They are about the agent that runs.
_NEVER_COPIED = {Fact.LAST_ERROR, Fact.TROUBLES, Fact.SALVAGE}


def copy_servers(db: sqlite3.Connection, progress: Progress, rows: Iterable[Row]) -> None:
    """Queue readings from the first one on for the servers of the damaged store.

    One that is not found now is filled anew when the salvage is over.
    """
    for row in rows:
        match row.rowid, row.values:
            case int(), (None, str(name), int() | None as below) if _NAME.fullmatch(name):
                if name not in servers(db) and abs(below or 0) < _LARGEST_ID:
                    first = None if below is None else below - progress.lowered
                    db.execute("INSERT INTO server (name, below) VALUES (?, ?)", (name, first))


def copy_small(db: sqlite3.Connection, progress: Progress, rows: Iterable[Row]) -> Progress:
    """Put all but readings into their tables, which their shapes tell."""
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    served = servers(db)
    for row in rows:
        match row.rowid, row.values:
            case int(tick), (None, int(points), int()):  # of 0.1.0, as are others without a server
                _expect(db, progress, MAIN, tick, points)
            case None, (str(server), int(tick), int(points), int()):
                _expect(db, progress, server, tick, points)
            case None, (int(tick), str(source), str(server), int(points)):
                _expect(db, progress, server, tick, points, source)
            case int(number), (None, int(), str(), str()):
                _keep_rejected(db, number, (*row.values[1:], MAIN))
            case int(number), (None, int(), str(), str(), str(server)) if server in served:
                _keep_rejected(db, number, row.values[1:])
            case int(), ("rejected", int(last)):  # of sqlite_sequence
                _number_rejected(db, last)
            case None, (str(cause), str(server), int(start), int(stop), int(readings)):
                mark(db, Gap(cause, start, stop, readings, server))
            case None, (str(name), int(value)):
                found[MAIN].setdefault(name, value)
            case None, (str(server), str(name), int(value)) if _NAME.fullmatch(server):
                found[server].setdefault(name, value)
            case None, (str(name), str(value)) if name.startswith(PREFIX):
                inherit(db, value)
            case None, (str(name), str(value)) if name not in _NEVER_COPIED:
                db.execute("INSERT OR IGNORE INTO fact VALUES (?, ?)", (name, value))
    accounts = dict(progress.accounts)
    for server, counters in found.items():
        account = accounts.get(server, Account())
        accounts[server] = dataclasses.replace(account, counters={**counters, **account.counters})
    return dataclasses.replace(progress, accounts=accounts)


def _expect(
    db: sqlite3.Connection,
    progress: Progress,
    server: str,
    tick: int,
    points: int,
    source: str | None = None,
) -> None:
    number = tick - progress.lowered
    if points > 0 and abs(number) < _LARGEST_ID and _NAME.fullmatch(server):
        row = number, source or progress.stamp, server, points
        db.execute("INSERT OR IGNORE INTO salvage VALUES (?, ?, ?, ?)", row)


def _keep_rejected(db: sqlite3.Connection, number: int, values: tuple[object, ...]) -> None:
    query = "INSERT OR IGNORE INTO rejected VALUES (?, ?, ?, ?, ?)"
    if db.execute(query, (number, *values)).rowcount == 0:  # another one was refused meanwhile
        columns = "time_ns, reason, line, server"
        db.execute(
            f"INSERT INTO rejected ({columns}) SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS "  # noqa: S608  # above
            f"(SELECT 1 FROM rejected WHERE ({columns}) = (?1, ?2, ?3, ?4))",
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


def reading_of(row: Row) -> tuple[int, int, int, bytes] | None:
    """Return the columns of a reading whose lines are whole."""
    match row.rowid, row.values:
        case int(tick), (None, int(time_ns), int(points), bytes(lines)):
            if points > 0 and abs(tick) < _LARGEST_ID:
                with contextlib.suppress(*DAMAGES):
                    unpack(lines)
                    return tick, time_ns, points, lines
    return None
