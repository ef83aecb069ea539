"""How far a salvage is: kept in the store that it fills, in the transaction of each step."""

import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.spool.rows import facts, note

PREFIX = "salvage:"
"""Before the stamp of a damaged store, in the table `fact`."""
SHIFT = 2**40
"""By how much a salvage lowers the ids of readings: those of a new store begin at 1 again, and are
never the same as those of a former one."""
# Of a text that was in a damaged store itself.
_NO_PROGRESS = (AttributeError, KeyError, TypeError, ValueError)
# What waits in the damaged store, until its reading is found.
_TABLE = """CREATE TABLE IF NOT EXISTS salvage (
    id INTEGER NOT NULL,
    source TEXT NOT NULL,
    server TEXT NOT NULL,
    points INTEGER NOT NULL,
    PRIMARY KEY (id, source, server)
) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class Account:
    """What a damaged store tells of one server.

    Attributes:
        counters: The counters found.
        exact: Whether they tell how many points waited.
        again: Whether all readings are sent again, as a part of the queue cannot be read.
        left: How many points that waited are not found yet.
        queued: How many points of the readings that were saved wait.
    """

    counters: Mapping[str, int] = field(default_factory=dict)
    exact: bool = False
    again: bool = False
    left: int = 0
    queued: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the salvage of a damaged store is.

    It reads the store twice: first all but the readings, which tells what waits and what is
    counted; then the readings.

    Attributes:
        stamp: The damaged store, by the time in its name.
        why: What is wrong with it.
        moment: When that was found, for users.
        lowered: By how much its ids are lowered.
        page: The last page that was read.
        accounts: Server to what is known of it.
        copying: Whether this is the second pass.
        ticks: How many readings were saved.
        points: How many points these have.
        done: Whether it is over. It is kept until the damaged file has another name, as a file
            without progress is one whose progress was damaged itself.
        resumed_s: The interval at which an agent went on that did not know its last reading, in
            seconds; 0 if the agent knew it, as it had taken it itself.
    """

    stamp: str
    why: str
    moment: str
    lowered: int = SHIFT
    page: int = 0
    accounts: Mapping[str, Account] = field(default_factory=dict)
    copying: bool = False
    ticks: int = 0
    points: int = 0
    done: bool = False
    resumed_s: float = 0.0


def begin(db: sqlite3.Connection, progress: Progress) -> None:
    """Keep the progress of a salvage that begins."""
    db.execute(_TABLE)
    save(db, progress)


def save(db: sqlite3.Connection, progress: Progress) -> None:
    """Keep a progress in place of the one before it."""
    note(db, {f"{PREFIX}{progress.stamp}": json.dumps(dataclasses.asdict(progress))})


def end(db: sqlite3.Connection, progress: Progress) -> None:
    """Keep that a salvage is over."""
    db.execute("DELETE FROM salvage WHERE source = ?", (progress.stamp,))
    save(db, dataclasses.replace(progress, done=True))


def is_known(db: sqlite3.Connection) -> bool:
    """Return whether a store knows of salvages, whether they are over or not."""
    return db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'salvage'").fetchone() is not None


def forget(db: sqlite3.Connection) -> None:
    """Forget all salvages: they are over, and their files are not needed any more."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM fact WHERE name GLOB ?", (f"{PREFIX}*",))
        db.execute("DROP TABLE IF EXISTS salvage")


def inherit(db: sqlite3.Connection, text: str) -> None:
    """Keep the progress of another salvage, which was filling the store that is now salvaged."""
    if (found := _parsed(text)) is not None:
        moved = dataclasses.replace(found, lowered=found.lowered + SHIFT)
        if f"{PREFIX}{found.stamp}" not in facts(db):
            save(db, moved)


def resume(db: sqlite3.Connection, progress: Progress, interval_s: float) -> int | None:
    """Return the time of the last reading, if it was taken after the newest damaged store.

    Otherwise the salvage of that store finds it, and marks the time without an agent.
    """
    last = "SELECT time_ns FROM tick WHERE id > ? ORDER BY id DESC LIMIT 1"
    found: tuple[int] | None = db.execute(last, (SHIFT - progress.lowered,)).fetchone()
    if found is None:
        save(db, dataclasses.replace(progress, resumed_s=interval_s))
    return found and found[0]


def carry_over(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Go on in a new store with the salvages of one that was removed: their files are there."""
    found = [text for name, text in facts(old).items() if name.startswith(PREFIX)]
    if found:
        new.execute(_TABLE)
        for text in found:
            inherit(new, text)
        expected = old.execute("SELECT id - ?, source, server, points FROM salvage", (SHIFT,))
        new.executemany("INSERT INTO salvage VALUES (?, ?, ?, ?)", expected)


def unfinished(db: sqlite3.Connection) -> list[Progress]:
    """Return the salvages that are not over, the one of the newest store first."""
    going_on = [progress for progress in _known(db) if not progress.done]
    return sorted(going_on, key=lambda progress: progress.lowered)


def forgotten(db: sqlite3.Connection, stamps: Iterable[str]) -> set[str]:
    """Return the damaged stores whose progress is not known, of those that have files or rows."""
    rows = db.execute("SELECT DISTINCT source FROM salvage").fetchall() if is_known(db) else []
    return {*stamps, *(row[0] for row in rows)} - {progress.stamp for progress in _known(db)}


def _known(db: sqlite3.Connection) -> list[Progress]:
    texts = [text for name, text in facts(db).items() if name.startswith(PREFIX)]
    return [progress for text in texts if (progress := _parsed(text)) is not None]


def _parsed(text: str) -> Progress | None:
    try:
        found = json.loads(text)
        accounts = {server: Account(**each) for server, each in found.pop("accounts").items()}
        return Progress(**found, accounts=accounts)
    except _NO_PROGRESS:
        return None
