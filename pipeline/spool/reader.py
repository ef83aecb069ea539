"""Reads a spool, whether its agent is running or not."""

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pipeline.clock import LogLimit
from pipeline.settings import MAIN
from pipeline.spool.beside import open_beside
from pipeline.spool.contents import Contents, Gap, Rejected
from pipeline.spool.rows import DAMAGES, contents, facts, gaps, rejected, servers, unpack
from pipeline.spool.schema import examine

_log = logging.getLogger(__name__)

_BEFORE = (
    "SELECT time_ns, id FROM tick WHERE time_ns >= ? AND (time_ns, id) < (?, ?) "
    "ORDER BY time_ns DESC, id DESC LIMIT 1 OFFSET ?"
)
_LAST = 2**63 - 1


def _all(db: sqlite3.Connection, since_ns: int) -> Iterator[bytes]:
    query = "SELECT CAST(lines AS BLOB) FROM tick WHERE time_ns >= ? ORDER BY time_ns, id"
    return (block for (block,) in db.execute(query, (since_ns,)))


def _chosen(db: sqlite3.Connection, since_ns: int, step: int) -> list[tuple[int, int]]:
    """Return time and id of one reading of `step`, the newest among them; only an index is read."""
    chosen: list[tuple[int, int]] = []
    place, skipped = (_LAST, _LAST), 0
    while found := db.execute(_BEFORE, (since_ns, *place, skipped)).fetchone():
        place, skipped = found, step - 1
        chosen.append(found)
    return chosen[::-1]


def _some(db: sqlite3.Connection, since_ns: int, step: int) -> Iterator[bytes]:
    query = "SELECT CAST(lines AS BLOB) FROM tick WHERE id = ?"
    for _, tick in _chosen(db, since_ns, step):
        # An index that is damaged names what is not there.
        (block,) = db.execute(query, (tick,)).fetchone() or (b"",)
        yield block


class SpoolReader:
    """Reads a spool, whether its agent is running or not.

    Args:
        directory: The data directory.
        shared: Whether all that is written meanwhile must be seen, as for `examine`.
        limit: Limits what the log says of damaged readings, for one who reads again and again.

    Raises:
        FileNotFoundError: There is no spool in the directory.
        SpoolError: The store cannot be opened, or the agent must salvage it first.
    """

    def __init__(
        self, directory: Path, *, shared: bool = False, limit: LogLimit | None = None
    ) -> None:
        self._limit = limit or LogLimit()
        self._database = open_beside(directory, shared=shared)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the file: any use raises a SpoolError from now on."""
        self._database.close()

    def servers(self) -> tuple[str, ...]:
        """Return the names of the servers that readings are queued for, `MAIN` first."""
        return self._database.read(servers)

    def contents(self, server: str = MAIN) -> Contents:
        """Return the figures of the spool, and of a server in it."""
        return self._database.read(lambda db: contents(db, server))

    def facts(self, server: str = MAIN) -> dict[str, str]:
        """Return what the agent noted of a server; of `MAIN`, also what it noted of itself."""
        return self._database.read(lambda db: facts(db, server))

    def gaps(self) -> list[Gap]:
        """Return the spans of missing readings that no point reports yet."""
        return self._database.read(gaps)

    def rejected(self, limit: int) -> list[Rejected]:
        """Return the refused lines that are kept, the newest first, `limit` at most."""
        return self._database.read(lambda db: rejected(db, "ORDER BY id DESC LIMIT ?", limit))

    def times(self, since_ns: int, most: int | None = None) -> list[int]:
        """Return the times of the readings held since a time, the oldest first.

        Args:
            since_ns: The oldest time wanted, in nanoseconds since 1970-01-01 UTC.
            most: At most so many, those that `history` chooses; None stands for all.
        """
        if most and (step := self.step(since_ns, most)) > 1:
            chosen = self._database.read(lambda db: _chosen(db, since_ns, step))
            return [time_ns for time_ns, _ in chosen]
        query = "SELECT time_ns FROM tick WHERE time_ns >= ? ORDER BY time_ns"
        return self._database.read(
            lambda db: [time_ns for (time_ns,) in db.execute(query, (since_ns,))]
        )

    def history(self, since_ns: int, most: int | None = None) -> Iterator[str]:
        """Yield each reading's lines, one block a tick, from the oldest on.

        Damaged readings are left out; a line in the log says how many.

        Args:
            since_ns: The oldest time wanted, in nanoseconds since 1970-01-01 UTC.
            most: At most so many readings, evenly chosen and the newest among them, so that a long
                history takes no longer than a short one; None stands for all.
        """
        damaged = 0
        step = self.step(since_ns, most) if most else 1
        with self._database.transaction("BEGIN") as db:
            for block in _all(db, since_ns) if step == 1 else _some(db, since_ns, step):
                try:
                    text = unpack(block)
                except DAMAGES:
                    damaged += 1
                else:
                    yield text
        if damaged and self._limit.begins(self._database.path):
            _log.warning("%d readings in %s are damaged and left out", damaged, self._database.path)

    def step(self, since_ns: int, most: int) -> int:
        """Return which part of the readings `history` yields: 1 for all, 3 for every third."""
        query = "SELECT count(*) FROM tick WHERE time_ns >= ?"
        count = self._database.read(lambda db: int(db.execute(query, (since_ns,)).fetchone()[0]))
        return max(1, -(-count // most))

    def examine(self) -> None:
        """Read the whole store; raise a DamagedError if it is damaged."""
        self._database.read(lambda db: examine(db, self._database.path))
