"""The queues of a store: one for `MAIN`, and one for each mirror of the settings."""

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from pipeline.settings import MAIN
from pipeline.spool.contents import Cause, Fact
from pipeline.spool.database import Database
from pipeline.spool.rows import NEXT_ID, facts, note, servers, tally
from pipeline.spool.schema import LOST

_log = logging.getLogger(__name__)

_AT_ONCE = 500  # so that no tick waits long for it
_ADD = f"INSERT INTO server (name, below) VALUES (?, ({NEXT_ID}))"  # noqa: S608  # above
# The newest readings first: all that is newer than the oldest one in the queue is in it as well,
# or was in it, and so is never taken for one that left it out of turn.
_SOME = "SELECT min(id) FROM (SELECT id FROM tick WHERE id < ? ORDER BY id DESC LIMIT ?)"
_FILL = (
    "INSERT OR IGNORE INTO pending SELECT ?, id, points, length(lines) FROM tick "
    "WHERE id >= ? AND id < ? RETURNING points"
)
# If the mirror comes back before it is gone, its queue is filled from the start.
_LEAVE = f"UPDATE server SET below = ({NEXT_ID}) WHERE name = ? AND below IS NULL"  # noqa: S608  # above
_AGAIN = f"UPDATE server SET below = ({NEXT_ID}) WHERE name = ?"  # noqa: S608  # above
_GIVE_UP = (
    "DELETE FROM pending WHERE server = ?1 AND id <= (SELECT max(id) FROM "
    "(SELECT id FROM pending WHERE server = ?1 ORDER BY id LIMIT ?2)) RETURNING points"
)
_FORGET = (
    "DELETE FROM rejected WHERE id IN (SELECT id FROM rejected WHERE server = ? LIMIT ?) "
    "RETURNING id"
)


@dataclass(frozen=True, slots=True)
class _Part:
    """What was done at once.

    Attributes:
        gone: The mirror whose queue is given up; "" when something else was done.
        points: How many points of it were.
        last: Whether none are left.
    """

    gone: str = ""
    points: int = 0
    last: bool = False


class Queues:
    """Makes and removes queues of a store, so that each server of the settings has one.

    Args:
        database: The store.
        waits: Whether that has to wait, as it is not known yet what the store holds.
        keep: Keeps the bound of the store, at the end of each transaction.
    """

    def __init__(
        self,
        database: Database,
        waits: Callable[[], bool],
        keep: Callable[[sqlite3.Connection], object],
    ) -> None:
        self._database = database
        self._waits = waits
        self._keep = keep
        self._mirrors: frozenset[str] | None = None
        self._places: Mapping[str, str] = {}
        self._given_up: Counter[str] = Counter()

    def follow(self, mirrors: Collection[str], places: Mapping[str, str]) -> Iterator[None]:
        """Set the mirrors and where each server is, and do what `go_on` does."""
        self._mirrors, self._places = frozenset(mirrors), places
        yield from self.go_on()

    def go_on(self) -> Iterator[None]:
        """Fill and remove queues until they are those of the mirrors; yield after each part."""
        for moved in self._database.write(self._follow_moves):
            _log.warning("%s", moved)
        for part in self._database.write_in_parts(self._part):
            self._given_up[part.gone] += part.points  # only now: a part that fails is done again
            if part.last:
                self._tell(part.gone)
            yield

    def _follow_moves(self, db: sqlite3.Connection) -> list[str]:
        """Note where each server is, and begin to fill the queue of one that took another's place.

        What waited for the former server at that place went, or goes, elsewhere. Return what the
        log is to say of it.
        """
        before = {name: facts(db, name).get(Fact.PLACE) for name in servers(db)}
        moved = []
        for name, place in self._places.items():
            if name not in before or before[name] == place:
                continue
            if before[name] is None and self._waits():  # a salvage may still find it
                continue
            note(db, {Fact.PLACE: place}, name)
            for other in [other for other in before if other != name and before[other] == place]:
                db.execute(_AGAIN, (name,))
                moved.append(
                    f"{_words(name)} is now at {place}, where {_words(other)} was: "
                    "all readings that are held go there once more"
                )
        return moved

    def _part(self, db: sqlite3.Connection) -> _Part | None:
        """Do one part; return None when there is none left."""
        if self._mirrors is None or self._waits():
            return None
        known = servers(db)
        for name in known:
            if name != MAIN and name not in self._mirrors:
                return self._remove(db, name)
        for name in sorted(self._mirrors.difference(known)):
            db.execute(_ADD, (name,))
            note(db, {Fact.PLACE: self._places.get(name)}, name)
            return _Part()
        query = "SELECT name, below FROM server WHERE below IS NOT NULL ORDER BY id LIMIT 1"
        for name, below in db.execute(query).fetchall():
            self._fill(db, name, below)
            self._keep(db)
            return _Part()
        return None

    def _fill(self, db: sqlite3.Connection, name: str, below: int) -> None:
        """Queue some more of the readings that are held."""
        (first,) = db.execute(_SOME, (below, _AT_ONCE)).fetchone()
        if first is not None:
            queued = db.execute(_FILL, (name, first, below)).fetchall()
            tally(db, {"points": sum(points for (points,) in queued)}, name)
        db.execute("UPDATE server SET below = ? WHERE name = ?", (first, name))

    def _remove(self, db: sqlite3.Connection, name: str) -> _Part:
        """Give up some of what waits for a mirror; at the end, forget it."""
        db.execute(_LEAVE, (name,))
        gone = db.execute(_GIVE_UP, (name, _AT_ONCE)).fetchall()
        points = sum(points for (points,) in gone)
        tally(db, {f"{LOST}{Cause.MIRROR_REMOVED}": points}, name)
        forgotten = db.execute(_FORGET, (name, _AT_ONCE)).fetchall()
        last = len(gone) < _AT_ONCE and len(forgotten) < _AT_ONCE
        if last:
            note(db, dict.fromkeys(facts(db, name)), name)
            db.execute("DELETE FROM server WHERE name = ?", (name,))
        return _Part(name, points, last)

    def _tell(self, gone: str) -> None:
        points = self._given_up.pop(gone)
        _log.log(
            logging.WARNING if points else logging.INFO,
            "Mirror %s is no longer in the settings: %s points that waited for it are given up",
            gone,
            f"{points:,}",
        )


def _words(name: str) -> str:
    return "the main server" if name == MAIN else f"mirror {name}"
