"""The rows of a store: readings, the queue, refused lines, gaps and counters.

Each function is called within a transaction.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence

from pipeline.point import moved, split_lines
from pipeline.spool.contents import Cause, Gap, Refusal

DAMAGES = (zlib.error, UnicodeDecodeError, TypeError)
"""The errors that `unpack` raises for a damaged block; TypeError is for one that became NULL."""
LEAST_ID = -(2**63)
"""Before the ids of all readings: a salvage lowers them below 0."""
_REJECTED_KEPT = 10_000
_GZIP = 31  # for zlib: a gzip member, its checksum included


def joined(lines: Iterable[str]) -> str:
    """Return lines as a text, each with its break."""
    return "".join([f"{line}\n" for line in lines])


def pack(text: str) -> bytes:
    """Compress lines to a block, a gzip member, as it is stored and sent."""
    return zlib.compress(text.encode(), wbits=_GZIP)


def unpack(block: bytes) -> str:
    """Return the text of a block.

    Raises:
        zlib.error, UnicodeDecodeError, TypeError: The block is damaged.
    """
    return zlib.decompress(block, _GZIP).decode()


def insert(db: sqlite3.Connection, lines: Sequence[str], time_ns: int) -> int:
    """Add a reading to the log and to the queue; return its id."""
    block = pack(joined(lines))
    (tick,) = db.execute(
        "INSERT INTO tick (time_ns, points, lines) VALUES (?, ?, ?) RETURNING id",
        (time_ns, len(lines), block),
    ).fetchone()
    db.execute("INSERT INTO pending VALUES (?, ?, ?)", (tick, len(lines), len(block)))
    return int(tick)


def restamp(db: sqlite3.Connection, tick: int, before_ns: int, by_ns: int) -> bool:
    """Correct the time of a waiting reading and of its lines; return whether it was not damaged.

    Args:
        db: The store.
        tick: The reading.
        before_ns: Only lines with an earlier time than this are corrected.
        by_ns: By how much, in nanoseconds.
    """
    query = "SELECT time_ns, CAST(lines AS BLOB) FROM tick WHERE id = ?"
    time_ns, block = db.execute(query, (tick,)).fetchone()
    try:
        lines = split_lines(unpack(block))
    except DAMAGES:  # a lease finds and counts it
        return False
    block = pack(joined(moved(line, before_ns, by_ns) for line in lines))
    change = (time_ns + by_ns, block, tick)
    db.execute("UPDATE tick SET time_ns = ?, lines = ? WHERE id = ?", change)
    db.execute("UPDATE pending SET bytes = ? WHERE id = ?", (len(block), tick))
    return True


def restamp_gaps(db: sqlite3.Connection, before_ns: int, by_ns: int) -> None:
    """Correct the times of gaps; arguments as for `restamp`."""
    for cause, *times in db.execute("SELECT cause, start_ns, stop_ns FROM gap").fetchall():
        # One that a clock which was not set had widened is never left with its stop first.
        right = sorted(time + by_ns if time < before_ns else time for time in times)
        db.execute("UPDATE gap SET start_ns = ?, stop_ns = ? WHERE cause = ?", (*right, cause))


def drop(db: sqlite3.Connection, ids: Iterable[int], cause: Cause | None = None) -> int:
    """Delete ticks; return how many of their points still waited.

    `cause` is why these will be missing; None when nobody will miss them.
    """
    lost = 0
    for tick in ids:
        waited = unqueue(db, tick)
        gone = db.execute("DELETE FROM tick WHERE id = ? RETURNING time_ns", (tick,)).fetchone()
        if waited and gone and cause:
            mark(db, Gap(cause, gone[0], gone[0], 1))
        lost += waited
    return lost


def unqueue(db: sqlite3.Connection, tick: int) -> int:
    """Take a tick off the queue; return how many points that are."""
    row = db.execute("DELETE FROM pending WHERE id = ? RETURNING points", (tick,)).fetchone()
    return int(row[0]) if row else 0


def refuse(db: sqlite3.Connection, time_ns: int, refused: Sequence[Refusal]) -> None:
    """Keep lines that the server refused at a time; of all of them the newest stay."""
    if refused:
        db.executemany(
            "INSERT INTO rejected (time_ns, reason, line) VALUES (?, ?, ?)",
            ((time_ns, refusal.reason, refusal.line) for refusal in refused),
        )
        db.execute(
            "DELETE FROM rejected WHERE id IN (SELECT id FROM rejected ORDER BY id LIMIT max(0, "
            "(SELECT value FROM counter WHERE name = 'rejected_kept') - ?))",
            (_REJECTED_KEPT,),
        )


def tally(db: sqlite3.Connection, counts: Mapping[str, int]) -> None:
    """Add to counters."""
    db.executemany(
        "INSERT INTO counter VALUES (?, ?) "
        "ON CONFLICT DO UPDATE SET value = value + excluded.value",
        ((name, value) for name, value in counts.items() if value),
    )


def mark(db: sqlite3.Connection, gap: Gap) -> None:
    """Remember a gap; one of the same cause becomes wider."""
    db.execute(
        "INSERT INTO gap VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " start_ns = min(start_ns, excluded.start_ns), stop_ns = max(stop_ns, excluded.stop_ns),"
        " readings = readings + excluded.readings",
        (gap.cause, gap.start_ns, gap.stop_ns, gap.readings),
    )


def forget(db: sqlite3.Connection, gap: Gap) -> None:
    """Forget a gap that a point reports, unless it became wider meanwhile."""
    db.execute(
        "DELETE FROM gap WHERE cause = ? AND start_ns = ? AND stop_ns = ? AND readings = ?",
        (gap.cause, gap.start_ns, gap.stop_ns, gap.readings),
    )


def note(db: sqlite3.Connection, facts: Mapping[str, str | None]) -> None:
    """Store facts; None deletes one."""
    for name, value in facts.items():
        if value is None:
            db.execute("DELETE FROM fact WHERE name = ?", (name,))
        else:
            db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))
