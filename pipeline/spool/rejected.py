"""Changes to the lines that the server refused, beside an agent that may be running.

The agent applies the bound and the age with its next reading.
"""

import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from pipeline.point import measurement_of
from pipeline.settings import Age, Ages
from pipeline.spool.beside import open_beside
from pipeline.spool.contents import Cause, Rejected
from pipeline.spool.rows import insert, rejected, tally
from pipeline.spool.schema import LOST

_LOST = f"{LOST}{Cause.REJECTED}"
_TIME = re.compile(r" (-?\d{1,19})$")
_INT64_MAX = 2**63 - 1
_FOR_EVER = Ages((Age(0),))
# They are taken in parts, so that no tick waits long for it, and few are held in memory.
_AT_ONCE = 200
_BY_ID = "WHERE id = ?"


class UnknownLineError(Exception):
    """There is no rejected line with an id that was named; the message says which."""


def retry_rejected(
    directory: Path,
    ids: Collection[int] | None = None,
    ages: Ages = _FOR_EVER,
    now_ns: int = 0,
) -> tuple[int, int]:
    """Queue lines again for the server that refused them, each with its own time.

    They are no longer lost.

    Args:
        directory: The data directory.
        ids: Those that are wanted; None: all.
        ages: The ages. A line that is older than that of its measurement stays where it is: no
            sweep would come back for it.
        now_ns: Now, in nanoseconds since 1970-01-01 UTC.

    Returns:
        How many are on the queue again, and how many are too old for that.

    Raises:
        FileNotFoundError: There is no spool in the data directory.
        UnknownLineError: There is no line with one of the ids; nothing was changed.
        SpoolError: The spool cannot be opened or written; what was changed stays so.
    """

    def is_young(taken: Rejected) -> bool:
        return _time_ns(taken) >= ages.of(measurement_of(taken.line)).cutoff_ns(now_ns)

    def queue(db: sqlite3.Connection, taken: Sequence[Rejected]) -> None:
        readings = defaultdict(list)
        for one in taken:
            readings[_time_ns(one), one.server].append(one.line)
        for (time_ns, server), lines in sorted(readings.items()):
            insert(db, lines, time_ns, server)
            _uncount(db, server, len(lines))

    return _take(directory, ids, queue, is_young)


def drop_rejected(directory: Path, ids: Collection[int] | None = None) -> int:
    """Delete lines, as `retry_rejected` takes them; return how many. They stay counted as lost."""
    return _take(directory, ids, lambda _, __: None)[0]


def _take(
    directory: Path,
    ids: Collection[int] | None,
    use: Callable[[sqlite3.Connection, Sequence[Rejected]], None],
    is_wanted: Callable[[Rejected], bool] = lambda _: True,
) -> tuple[int, int]:
    """Take lines out, and use them; return how many that were, and how many stay."""
    with closing(open_beside(directory, write=True)) as database:
        ids_left = database.read(lambda db: _found(db, ids))

        def part(db: sqlite3.Connection) -> tuple[int, int] | None:
            found = [one for number in ids_left[:_AT_ONCE] for one in rejected(db, _BY_ID, number)]
            wanted = [one for one in found if is_wanted(one)]
            _delete(db, [one.id for one in wanted])
            use(db, wanted)
            return (len(wanted), len(found) - len(wanted)) if ids_left else None

        number = stay = 0
        for taken, left in database.write_in_parts(part):
            del ids_left[:_AT_ONCE]
            number += taken
            stay += left
        return number, stay


def _found(db: sqlite3.Connection, ids: Collection[int] | None) -> list[int]:
    kept = {number for (number,) in db.execute("SELECT id FROM rejected")}
    if missing := set(ids or ()) - kept:
        raise UnknownLineError(_unknown(missing))
    return sorted(kept if ids is None else kept & set(ids))


def _delete(db: sqlite3.Connection, numbers: Iterable[int]) -> None:
    db.executemany("DELETE FROM rejected WHERE id = ?", ((number,) for number in numbers))


def _uncount(db: sqlite3.Connection, server: str, points: int) -> None:
    where = "FROM counter WHERE server = ? AND name = ?"
    counted = db.execute(f"SELECT value {where}", (server, _LOST)).fetchone()
    lost = min(points, counted[0] if counted else 0)
    tally(db, {_LOST: -lost}, server)
    db.execute(f"DELETE {where} AND value = 0", (server, _LOST))
    # A line that was refused after the bound had taken it is counted as lost to the bound. It
    # becomes another point, so that the account stays exact.
    tally(db, {"points": points - lost}, server)


def _time_ns(taken: Rejected) -> int:
    match = _TIME.search(taken.line)
    found = int(match[1]) if match else taken.time_ns
    return found if abs(found) <= _INT64_MAX else taken.time_ns


def _unknown(ids: Collection[int]) -> str:
    names = ", ".join(map(str, sorted(ids)))
    return f"no rejected line has the id {names}; see them all: metrics-pipeline rejected list"
