"""Changes to the lines that the server refused, beside an agent that may be running.

The bound and the age are left to the agent, which applies both with its next reading.
"""

import contextlib
import re
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator

from pipeline.spool.block import joined, pack
from pipeline.spool.schema import LOST
from pipeline.spool.writing import Writing

_LOST = f"{LOST}rejected"
_TIME = re.compile(r" (-?\d{1,19})$")
_INT64_MAX = 2**63 - 1


class UnknownLineError(Exception):
    """A line that is named is not among the rejected ones; the message says which."""


class RejectedLines(Writing):
    """The rejected lines of a spool, to be changed; see `Writing` for how it is opened."""

    def retry(self, ids: Collection[int] | None = None) -> int:
        """Put lines on the queue again, each with its own time, and count them as lost no more.

        Args:
            ids: Which lines; None: all.

        Returns:
            How many lines that were.

        Raises:
            UnknownLineError: One of them is not there; nothing was done.
            SpoolError: The spool cannot be written; nothing was done.
        """
        readings = defaultdict(list)
        with self._taken(ids) as (db, rows):
            for _, refused_ns, line in rows:
                readings[_time_ns(line, refused_ns)].append(line)
            for time_ns, lines in sorted(readings.items()):
                block = pack(joined(lines))
                row = db.execute(
                    "INSERT INTO tick (time_ns, points, lines) VALUES (?, ?, ?)",
                    (time_ns, len(lines), block),
                )
                db.execute(
                    "INSERT INTO pending VALUES (?, ?, ?)", (row.lastrowid, len(lines), len(block))
                )
            _uncount(db, len(rows))
        return len(rows)

    def drop(self, ids: Collection[int] | None = None) -> int:
        """Delete lines; they stay counted as lost.

        Args:
            ids: Which lines; None: all.

        Returns:
            How many lines that were.

        Raises:
            UnknownLineError: One of them is not there; nothing was done.
            SpoolError: The spool cannot be written; nothing was done.
        """
        with self._taken(ids) as (_, rows):
            return len(rows)

    @contextlib.contextmanager
    def _taken(
        self, ids: Collection[int] | None
    ) -> Iterator[tuple[sqlite3.Connection, list[tuple[int, int, str]]]]:
        """Take lines out, in one transaction with what is done to them: id, time, line."""
        with self._writing() as db:
            rows = db.execute("SELECT id, time_ns, line FROM rejected ORDER BY id")
            wanted = [row for row in rows if ids is None or row[0] in ids]
            if missing := set(ids or ()) - {row[0] for row in wanted}:
                raise UnknownLineError(_unknown(missing))
            db.executemany("DELETE FROM rejected WHERE id = ?", ((r[0],) for r in wanted))
            yield db, wanted


def _uncount(db: sqlite3.Connection, points: int) -> None:
    counted = db.execute("SELECT value FROM counter WHERE name = ?", (_LOST,)).fetchone()
    lost = min(points, counted[0] if counted else 0)
    db.execute("UPDATE counter SET value = value - ? WHERE name = ?", (lost, _LOST))
    db.execute("DELETE FROM counter WHERE name = ? AND value = 0", (_LOST,))
    # A line that the bound took while it was on its way to its refusal counts as lost to the bound:
    # it becomes a point of its own, so that the account stays exact.
    db.execute("UPDATE counter SET value = value + ? WHERE name = 'points'", (points - lost,))


def _time_ns(line: str, otherwise: int) -> int:
    match = _TIME.search(line)
    found = int(match[1]) if match else otherwise
    return found if abs(found) <= _INT64_MAX else otherwise


def _unknown(ids: Collection[int]) -> str:
    names = ", ".join(map(str, sorted(ids)))
    return f"no rejected line has the id {names}; see them all: metrics-pipeline rejected list"
