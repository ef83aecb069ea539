"""What is written to a spool: append, lease, settle; and, by age, `Aging.remove`."""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence

from pipeline.spool.aging import Aging, Kept, Place
from pipeline.spool.batch import Batch, Refusal
from pipeline.spool.block import DAMAGES, joined, pack, unpack
from pipeline.spool.gap import Gap, forget, mark
from pipeline.spool.room import drop, unqueue
from pipeline.spool.schema import LOST
from pipeline.spool.store import Store, lasting, tally

_log = logging.getLogger(__name__)

_REJECTED_KEPT = 10_000
_OLDEST = (  # whatever noise has made of the numbers, and of the lines
    "SELECT id, coalesce(CAST(time_ns AS INTEGER), 0), coalesce(pending.points, 0), "
    "CAST(lines AS BLOB) FROM pending JOIN tick USING (id) ORDER BY id"
)
_NEWEST = f"{_OLDEST} DESC"
_WAITING_SINCE = (
    "SELECT id, time_ns, CAST(lines AS BLOB) FROM pending JOIN tick USING (id) "
    "WHERE id >= ? AND time_ns < ? ORDER BY id LIMIT 100"
)


class Spool(Store, Aging):
    """The spool as its one writer has it; see `Store` for how it is opened."""

    @lasting
    def append(
        self,
        lines: Sequence[str],
        time_ns: int,
        lost: Mapping[str, int] | None = None,
        gaps: Iterable[Gap] = (),
        told: Iterable[Gap] = (),
    ) -> bool:
        """Commit one reading; when this returns, it is on the disk.

        Args:
            lines: Line protocol, one point each. With none, only the losses are counted.
            time_ns: The reading's time, in nanoseconds since 1970-01-01 UTC.
            lost: Cause to points that the reading should have held as well.
            gaps: Readings that are missing before it.
            told: The gaps that its lines tell of.

        Returns:
            Whether there are gaps now that nobody has been told of.

        Raises:
            SpoolError: It could not be committed; nothing of it was.
        """
        with self._writing() as db:
            if lines:
                _insert(db, lines, time_ns)
            tally(db, {f"{LOST}{cause}": points for cause, points in (lost or {}).items()})
            for gap in told:  # first, so that what is new makes a gap of its own
                forget(db, gap)
            for gap in gaps:
                mark(db, gap)
            self._keep_bound(db)
            return db.execute("SELECT 1 FROM gap LIMIT 1").fetchone() is not None

    @lasting
    def lease(self, max_points: int, *, newest: bool = False) -> Batch | None:
        """Return what to send next; it stays queued until it is settled.

        Readings whose lines cannot be read any more are deleted, and counted as lost: SQLite does
        not notice a bit that flipped within a block; its checksum does.

        Args:
            max_points: The size of a batch. A larger tick comes alone.
            newest: Only the newest tick, instead of the oldest ones; then more may wait or not.

        Returns:
            The batch, or None when nothing waits.
        """
        leased: list[tuple[int, int, int, str]] = []
        damaged: list[int] = []
        more = newest
        left = max_points
        with self._reading() as db:
            for tick, time_ns, points, block in db.execute(_NEWEST if newest else _OLDEST):
                if leased and (newest or points > left):
                    more = True
                    break
                try:
                    leased.append((tick, time_ns, points, unpack(block)))
                    left -= points
                except DAMAGES:
                    damaged.append(tick)
        if damaged:
            self._discard(damaged)
        if not leased:
            return None
        ids, times, sizes, texts = zip(*leased, strict=True)
        return Batch(ids, sum(sizes), pack("".join(texts)), min(times), more)

    @lasting
    def settle(
        self,
        batch: Batch,
        time_ns: int,
        refused: Sequence[Refusal] = (),
        expired: int = 0,
    ) -> None:
        """Take a delivered batch off the queue, in one transaction with what became of its lines.

        Args:
            batch: The batch, as leased.
            time_ns: Now, in nanoseconds since 1970-01-01 UTC.
            refused: The lines that the server refused: kept as rejected, and counted as lost.
            expired: How many lines the server refused as older than its bucket's age.
        """
        with self._writing() as db:
            # What the bound or the age took while the batch was under way is counted already.
            settled = sum(unqueue(db, tick) for tick in batch.ids)
            if refused:
                db.executemany(
                    "INSERT INTO rejected (time_ns, reason, line) VALUES (?, ?, ?)",
                    ((time_ns, refusal.reason, refusal.line) for refusal in refused),
                )
                db.execute(
                    "DELETE FROM rejected WHERE id <= (SELECT max(id) FROM rejected) - ?",
                    (_REJECTED_KEPT,),
                )
            rejected = min(len(refused), settled)
            expired = min(expired, settled - rejected)
            counts = {f"{LOST}rejected": rejected, f"{LOST}expired": expired}
            tally(db, {"delivered": settled - rejected - expired, **counts})

    def _discard(self, damaged: Sequence[int]) -> None:
        with self._writing() as db:
            lost = drop(db, damaged, "corrupt_store")
            tally(db, {f"{LOST}corrupt_store": lost})
        _log.error("%s was damaged, %d points in it are lost", self.path, lost)

    @lasting
    def oldest(self, start_ns: int, stop_ns: int) -> int | None:
        """Return the time of the oldest reading in a span, or None; a span has no stop in it."""
        return super().oldest(start_ns, stop_ns)

    @lasting
    def _remove_some(
        self, after: Place, stop_ns: int, kept: Kept | None, *, count: bool
    ) -> tuple[Place, int] | None:
        return super()._remove_some(after, stop_ns, kept, count=count)

    @lasting
    def _give_back(self) -> int:
        return super()._give_back()

    @lasting
    def give_up(self, before_ns: int) -> int:
        """Take off the queue, and count as expired, what is too old for the server.

        The local copy keeps it until its own age.

        Args:
            before_ns: The youngest time that is too old, in nanoseconds since 1970-01-01 UTC.

        Returns:
            How many points that were.
        """
        with self._writing() as db:
            rows = db.execute(
                "DELETE FROM pending WHERE "
                "(SELECT time_ns FROM tick WHERE tick.id = pending.id) < ? RETURNING points",
                (before_ns,),
            )
            expired = sum(int(points) for (points,) in rows)
            tally(db, {f"{LOST}expired": expired})
        return expired

    @lasting
    def restamp(
        self, before_ns: int, by_ns: int, stamped: Callable[[str, int], Iterable[str]]
    ) -> int:
        """Give the waiting readings that were taken since the spool was opened another time.

        Args:
            before_ns: Only those with an earlier time, in nanoseconds since 1970-01-01 UTC.
            by_ns: How much later they were taken than they say, in nanoseconds.
            stamped: Turns a block of lines and its right time into its lines with that time.

        Returns:
            How many readings that were.
        """
        moved = 0
        with self._writing() as db:
            first = self._first_id
            # Some at a time: they may be the readings of days.
            while rows := db.execute(_WAITING_SINCE, (first, before_ns)).fetchall():
                for tick, time_ns, block in rows:
                    try:
                        text = unpack(block)
                    except DAMAGES:  # it is found out when it is to be delivered
                        continue
                    _replace(db, tick, stamped(text, time_ns + by_ns), time_ns + by_ns)
                    moved += 1
                first = rows[-1][0] + 1
        return moved

    @lasting
    def note(self, facts: Mapping[str, str | None]) -> None:
        """Keep facts for those who read the store; None forgets one."""
        with self._writing() as db:
            for name, value in facts.items():
                if value is None:
                    db.execute("DELETE FROM fact WHERE name = ?", (name,))
                else:
                    db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))


def _insert(db: sqlite3.Connection, lines: Sequence[str], time_ns: int) -> None:
    """Add a reading and queue it."""
    block = pack(joined(lines))
    (tick,) = db.execute(
        "INSERT INTO tick (time_ns, points, lines) VALUES (?, ?, ?) RETURNING id",
        (time_ns, len(lines), block),
    ).fetchone()
    db.execute("INSERT INTO pending VALUES (?, ?, ?)", (tick, len(lines), len(block)))
    tally(db, {"ticks": 1, "points": len(lines)})


def _replace(db: sqlite3.Connection, tick: int, lines: Iterable[str], time_ns: int) -> None:
    """Give a waiting reading other lines and another time."""
    block = pack(joined(lines))
    db.execute("UPDATE tick SET time_ns = ?, lines = ? WHERE id = ?", (time_ns, block, tick))
    db.execute("UPDATE pending SET bytes = ? WHERE id = ?", (len(block), tick))
