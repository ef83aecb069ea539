"""The queue of a server: the readings that wait for it are leased, and settled."""

import logging
import sqlite3
from collections.abc import Mapping, Sequence

from pipeline.clock import Clock, LogLimit
from pipeline.spool import rows
from pipeline.spool.contents import Batch, Cause, Contents, Refusal
from pipeline.spool.database import Database
from pipeline.spool.opening import OwnStore
from pipeline.spool.schema import LOST

_log = logging.getLogger(__name__)

# What is done at once is bounded, so that no tick waits long for it, and memory too.
_AT_ONCE, _MOST_TEXT = 200, 2**23
# CROSS JOIN keeps SQLite from going through the log in search of the queue. The casts are for a
# damaged store, where a value may have any type.
_OLDEST = (
    "SELECT id, coalesce(CAST(time_ns AS INTEGER), 0), coalesce(pending.points, 0), "
    "CAST(lines AS BLOB) FROM pending CROSS JOIN tick USING (id) "
    "WHERE server = :server AND id >= :first "
    "AND NOT EXISTS (SELECT 1 FROM server WHERE name = :server AND below IS NOT NULL) ORDER BY id"
)
_NEWEST = f"{_OLDEST} DESC"
_SOME = (
    "SELECT max(id) FROM (SELECT id FROM pending WHERE server = ? AND id >= ? ORDER BY id LIMIT ?)"
)
_HELD = (
    "SELECT count(*), sum(pending.points), min(coalesce(CAST(time_ns AS INTEGER), 0)) "
    "FROM pending CROSS JOIN tick USING (id) WHERE server = ? AND id BETWEEN ? AND ?"
)
_GIVEN_UP = (
    "DELETE FROM pending WHERE server = ? AND id BETWEEN ? AND ? "
    "AND (SELECT time_ns FROM tick WHERE tick.id = pending.id) < ? RETURNING points"
)


class Queue:
    """The readings of a spool that wait for one server, and what is remembered of that server.

    Args:
        name: The server's name.
        database: The store, which all queues share.
        store: Knows how often the store was replaced.
        clock: Measures how often the log says that readings were damaged.

    Attributes:
        name: The server's name.
    """

    def __init__(self, name: str, database: Database, store: OwnStore, clock: Clock) -> None:
        self.name = name
        self._database = database
        self._store = store
        self._damage = LogLimit(clock)

    def contents(self) -> Contents:
        """Return the figures of the spool, and of what this server has of it."""
        return self._database.read(lambda db: rows.contents(db, self.name))

    def facts(self) -> dict[str, str]:
        """Return the facts that were noted of this server."""
        return self._database.read(lambda db: rows.facts(db, self.name))

    def note(self, facts: Mapping[str, str | None]) -> None:
        """Store facts of this server for those who read the spool; None deletes one."""
        self._database.write(lambda db: rows.note(db, facts, self.name))

    def lease(
        self, max_points: int, *, newest: bool = False, after: int | None = None
    ) -> Batch | None:
        """Return what to send next; it stays queued until it is settled.

        Readings whose lines are damaged are deleted and counted as lost: the checksum of a block
        shows a flipped bit that SQLite does not notice.

        Args:
            max_points: The size of a batch. A larger tick comes alone.
            newest: Only the newest tick, in place of the oldest ones; `more` is always true then.
            after: Only ticks after that one, the last of a batch that is under way.

        Returns:
            The batch, or None when nothing waits, or `serve` has not filled the queue yet.
        """
        lost = 0
        while True:
            batch, damaged = self._database.read(
                lambda db: _next_batch(
                    db, self.name, max_points, self._store.above, newest=newest, after=after
                )
            )
            lost += self._discard(damaged)
            if batch or not damaged:
                break
        if not lost:
            self._damage.end()
        elif self._damage.begins(self._database.path):
            _log.error("%s was damaged, %d points in it are lost", self._database.path, lost)
        return batch

    def holds(self, batch: Batch) -> bool:
        """Return whether a batch still waits as it was leased: all its lines, at the same times."""

        def held(db: sqlite3.Connection) -> bool:
            span = self._stored((batch.ids[0], batch.ids[-1]))
            found = db.execute(_HELD, (self.name, *span)).fetchone()
            return bool(found == (len(batch.ids), batch.points, batch.oldest_ns))

        return self._database.read(held)

    def settle(
        self,
        batch: Batch,
        time_ns: int,
        refused: Sequence[Refusal] = (),
        expired: int = 0,
    ) -> None:
        """Take a delivered batch off the queue, and count what became of its lines.

        Args:
            batch: The batch, as leased.
            time_ns: Now, in nanoseconds since 1970-01-01 UTC.
            refused: The lines that the server refused: kept as rejected, and counted as lost.
            expired: How many lines the server refused as older than its bucket's age.
        """

        def commit(db: sqlite3.Connection) -> None:
            # Ticks that were deleted while the batch was under way are counted already.
            settled = rows.unqueue(db, self.name, self._stored(batch.ids))
            rows.refuse(db, self.name, time_ns, refused)
            rejected = min(len(refused), settled)
            aged = min(expired, settled - rejected)
            counts = {f"{LOST}{Cause.REJECTED}": rejected, f"{LOST}{Cause.EXPIRED}": aged}
            rows.tally(db, {"delivered": settled - rejected - aged, **counts}, self.name)

        self._database.write(commit)

    def give_up(self, before_ns: int) -> int:
        """Take readings that are too old for the server off the queue; return how many points.

        They count as expired. The local copy keeps them until its own age. It ends where the queue
        has none for a while: the server refuses what lies behind that, which counts as expired too.
        """
        first, expired = rows.LEAST_ID, 0

        def part(db: sqlite3.Connection) -> tuple[int, int] | None:
            (last,) = db.execute(_SOME, (self.name, first, _AT_ONCE)).fetchone()
            gone = db.execute(_GIVEN_UP, (self.name, first, last, before_ns)).fetchall()
            points = sum(int(points) for (points,) in gone)
            rows.tally(db, {f"{LOST}{Cause.EXPIRED}": points}, self.name)
            return (last + 1, points) if gone else None

        for following, points in self._database.write_in_parts(part):
            first = following
            expired += points
        return expired

    def _stored(self, ids: Sequence[int]) -> list[int]:
        """Return the ids that leased readings have in the store as it is now."""
        return [tick - self._store.above for tick in ids]

    def _discard(self, damaged: Sequence[int]) -> int:
        def commit(db: sqlite3.Connection) -> int:
            lost = rows.drop(db, self._stored(damaged), Cause.CORRUPT_STORE)
            rows.tally_each(db, f"{LOST}{Cause.CORRUPT_STORE}", lost)
            return lost[self.name]

        return self._database.write(commit) if damaged else 0


def _next_batch(
    db: sqlite3.Connection,
    server: str,
    max_points: int,
    above: int,
    *,
    newest: bool,
    after: int | None,
) -> tuple[Batch | None, list[int]]:
    """Return a server's next batch, and the ticks before its end that are damaged.

    Args:
        db: The store.
        server: The server's name.
        max_points: The size of a batch. A larger tick comes alone.
        above: By how much the ids returned are higher than those in the store.
        newest: Only the newest tick, in place of the oldest ones.
        after: Only ticks after that one, if any, which is as high as the ids returned.
    """
    leased: list[tuple[int, int, int, str]] = []
    damaged: list[int] = []
    more = newest
    left, room = max_points, _MOST_TEXT
    query = _NEWEST if newest else _OLDEST
    first = rows.LEAST_ID if after is None else after - above + 1
    for tick, time_ns, points, block in db.execute(query, {"server": server, "first": first}):
        if len(damaged) >= _AT_ONCE or (leased and (newest or points > left)):
            more = True
            break
        try:
            text = rows.unpack(block)
        except rows.DAMAGES:
            damaged.append(tick + above)
            continue
        if leased and len(text) > room:
            more = True
            break
        leased.append((tick + above, time_ns, points, text))
        left, room = left - points, room - len(text)
    if not leased:
        return None, damaged
    ids, times, sizes, texts = zip(*leased, strict=True)
    return Batch(ids, sum(sizes), rows.pack("".join(texts)), min(times), more), damaged
