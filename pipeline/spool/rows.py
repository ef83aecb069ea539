"""The rows of a store: readings, the queue, refused lines, gaps, facts and counters.

Each function is called within a transaction.
"""

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pipeline.point import moved, split_lines
from pipeline.settings import MAIN
from pipeline.spool.contents import Cause, Contents, Gap, Refusal, Rejected
from pipeline.spool.schema import LOST, WAITING

DAMAGES = (zlib.error, UnicodeDecodeError, TypeError)
"""The errors that `unpack` raises for a damaged block; TypeError is for one that became NULL."""
LEAST_ID = -(2**63)
"""Before the ids of all readings: a salvage lowers them below 0."""
NEXT_ID = "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'tick'"
"""The query for the id of the next reading."""
_REJECTED = (
    "SELECT id, coalesce(CAST(time_ns AS INTEGER), 0), coalesce(CAST(reason AS TEXT), ''), "
    "coalesce(CAST(line AS TEXT), ''), coalesce(CAST(server AS TEXT), '') FROM rejected"
)
_REJECTED_KEPT = 10_000
_UNQUEUE = "DELETE FROM pending WHERE id = ? AND server IN (SELECT name FROM server)"
_MIRROR = "mirror:"  # begins the names of the facts of a mirror
_OLDEST = "SELECT time_ns FROM tick WHERE id = (SELECT min(id) FROM pending WHERE server = ?)"
# In a damaged store a value can be of any type, and SQLite's check of a store may not notice it.
_COUNTERS = (
    "SELECT name, value FROM counter WHERE server = ? "
    "AND typeof(name) = 'text' AND typeof(value) = 'integer'"
)
_FACTS = "SELECT name, value FROM fact WHERE typeof(name) = 'text' AND typeof(value) = 'text'"
_GAPS = (
    "SELECT cause, start_ns, stop_ns, readings, server FROM gap "
    "WHERE typeof(cause) = 'text' AND typeof(server) = 'text' AND typeof(start_ns) = 'integer' "
    "AND typeof(stop_ns) = 'integer' AND typeof(readings) = 'integer' ORDER BY start_ns"
)
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


def counters(db: sqlite3.Connection, server: str) -> dict[str, int]:
    """Return the counters of a server; those of `MAIN` are also those of the host."""
    return dict(db.execute(_COUNTERS, (server,)))


def contents(db: sqlite3.Connection, server: str) -> Contents:
    """Return the figures of a store, and of a server in it."""
    own = counters(db, server)
    of_host = own if server == MAIN else counters(db, MAIN)
    oldest = db.execute(_OLDEST, (server,)).fetchone()
    # In a damaged store a time can be a text, which is greater than any number.
    (first,) = db.execute("SELECT min(time_ns) FROM tick").fetchone()
    (last,) = db.execute("SELECT max(time_ns) FROM tick WHERE time_ns < ''").fetchone()
    return Contents(
        ticks=of_host.get("ticks", 0),
        points=own.get("points", 0),
        delivered_points=own.get("delivered", 0),
        backlog_points=own.get(WAITING, 0),
        backlog_bytes=own.get("waiting_bytes", 0),
        backlog_oldest_ns=oldest and oldest[0],
        rejected_points=own.get("rejected_kept", 0),
        lost={k.removeprefix(LOST): v for k, v in own.items() if k.startswith(LOST)},
        first_ns=first,
        last_ns=last,
    )


def servers(db: sqlite3.Connection) -> tuple[str, ...]:
    """Return the names of the servers that readings are queued for, `MAIN` first."""
    return tuple(name for (name,) in db.execute("SELECT name FROM server ORDER BY id"))


def insert(
    db: sqlite3.Connection, lines: Sequence[str], time_ns: int, server: str | None = None
) -> int:
    """Add a reading to the log and to the queue of a server; None: of each. Return its id."""
    block = pack(joined(lines))
    (tick,) = db.execute(
        "INSERT INTO tick (time_ns, points, lines) VALUES (?, ?, ?) RETURNING id",
        (time_ns, len(lines), block),
    ).fetchone()
    db.execute(
        "INSERT INTO pending SELECT name, ?, ?, ? FROM server WHERE name = coalesce(?, name)",
        (tick, len(lines), len(block), server),
    )
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
    query = "UPDATE pending SET bytes = ? WHERE id = ? AND server IN (SELECT name FROM server)"
    db.execute(query, (len(block), tick))
    return True


def restamp_gaps(db: sqlite3.Connection, before_ns: int, by_ns: int) -> None:
    """Correct the times of gaps; arguments as for `restamp`."""
    query = "SELECT cause, server, start_ns, stop_ns FROM gap"
    for cause, server, *times in db.execute(query).fetchall():
        # One that a clock which was not set had widened is never left with its stop first.
        right = sorted(time + by_ns if time < before_ns else time for time in times)
        change = "UPDATE gap SET start_ns = ?, stop_ns = ? WHERE cause = ? AND server = ?"
        db.execute(change, (*right, cause, server))


def drop(db: sqlite3.Connection, ids: Iterable[int], cause: Cause | None = None) -> Counter[str]:
    """Delete ticks; return how many of their points still waited for each server.

    `cause` is why these will be missing; None when nobody will miss them.
    """
    lost: Counter[str] = Counter()
    for tick in ids:
        waited = dict(db.execute(f"{_UNQUEUE} RETURNING server, points", (tick,)))
        gone = db.execute("DELETE FROM tick WHERE id = ? RETURNING time_ns", (tick,)).fetchone()
        if waited and gone and cause:
            mark_missing(db, cause, dict.fromkeys(waited, (gone[0], gone[0], 1)))
        lost.update(waited)
    return lost


def unqueue(db: sqlite3.Connection, server: str, ticks: Sequence[int]) -> int:
    """Take ticks off the queue of a server; return how many points of them still waited there."""
    query = (
        "DELETE FROM pending WHERE server = ? AND id IN (SELECT value FROM json_each(?)) "
        "RETURNING points"
    )
    return sum(int(points) for (points,) in db.execute(query, (server, json.dumps(ticks))))


def refuse(db: sqlite3.Connection, server: str, time_ns: int, refused: Sequence[Refusal]) -> None:
    """Keep lines that a server refused at a time; the newest ones of each server stay."""
    if refused and server in servers(db):
        db.executemany(
            "INSERT INTO rejected (time_ns, reason, line, server) VALUES (?, ?, ?, ?)",
            ((time_ns, refusal.reason, refusal.line, server) for refusal in refused),
        )
        db.execute(
            "DELETE FROM rejected WHERE id IN (SELECT id FROM rejected WHERE server = ?1 "
            "ORDER BY id LIMIT max(0, (SELECT value FROM counter "
            "WHERE server = ?1 AND name = 'rejected_kept') - ?2))",
            (server, _REJECTED_KEPT),
        )


def rejected(db: sqlite3.Connection, rest: str, value: int) -> list[Rejected]:
    """Return refused lines; `rest` ends the query: which, and in which order, by the value."""
    return [Rejected(*row) for row in db.execute(f"{_REJECTED} {rest}", (value,))]


def tally(db: sqlite3.Connection, counts: Mapping[str, int], server: str = MAIN) -> None:
    """Add to counters of a server."""
    db.executemany(
        "INSERT INTO counter VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET value = value + excluded.value",
        ((server, name, value) for name, value in counts.items() if value),
    )


def tally_each(db: sqlite3.Connection, name: str, points: Mapping[str, int]) -> None:
    """Add to the counter of that name of each server."""
    for server, number in points.items():
        tally(db, {name: number}, server)


def mark(db: sqlite3.Connection, gap: Gap) -> None:
    """Remember a gap; one of the same cause and server becomes wider."""
    db.execute(
        "INSERT INTO gap VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " start_ns = min(start_ns, excluded.start_ns), stop_ns = max(stop_ns, excluded.stop_ns),"
        " readings = readings + excluded.readings",
        (gap.cause, gap.server, gap.start_ns, gap.stop_ns, gap.readings),
    )


def mark_missing(
    db: sqlite3.Connection, cause: Cause, spans: Mapping[str, tuple[int, int, int]]
) -> None:
    """Remember the gaps of readings that are lost while they waited.

    Args:
        db: The store.
        cause: Why they are lost.
        spans: Server to its gap: start, stop, readings. One that all servers have is one gap.
    """
    if len(set(spans.values())) == 1 and set(spans) >= set(servers(db)):
        spans = {"": next(iter(spans.values()))}
    for server, span in spans.items():
        mark(db, Gap(cause, *span, server))


def gaps(db: sqlite3.Connection) -> list[Gap]:
    """Return the spans of missing readings that no point reports yet."""
    return [Gap(*row) for row in db.execute(_GAPS)]


def forget(db: sqlite3.Connection, gap: Gap) -> None:
    """Forget a gap that a point reports, unless it became wider meanwhile."""
    db.execute(
        "DELETE FROM gap WHERE (cause, server, start_ns, stop_ns, readings) = (?, ?, ?, ?, ?)",
        (gap.cause, gap.server, gap.start_ns, gap.stop_ns, gap.readings),
    )


def facts(db: sqlite3.Connection, server: str = MAIN) -> dict[str, str]:
    """Return the facts of a server; those of `MAIN` are also those of the agent."""
    found = db.execute(_FACTS).fetchall()
    if server == MAIN:
        return {name: value for name, value in found if not name.startswith(_MIRROR)}
    prefix = f"{_MIRROR}{server}:"
    return {n.removeprefix(prefix): value for n, value in found if n.startswith(prefix)}


def note(db: sqlite3.Connection, facts: Mapping[str, str | None], server: str = MAIN) -> None:
    """Store facts of a server; None deletes one."""
    prefix = "" if server == MAIN else f"{_MIRROR}{server}:"
    for name, value in facts.items():
        if value is None:
            db.execute("DELETE FROM fact WHERE name = ?", (prefix + name,))
        else:
            db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (prefix + name, value))
