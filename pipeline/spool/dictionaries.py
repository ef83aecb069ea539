"""The dictionaries of a store: each so many readings, one of them is that of those after it.

A dictionary has the id of the first tick that was packed with it, and is for all up to the next
dictionary. It is a copy of that tick's lines, so that the tick can go, and those after it still be
read. A damaged one costs the ticks that were packed with it.
"""

import sqlite3
from collections.abc import Iterable

from pipeline.spool.block import DAMAGES, WINDOW, pack, unpack

# More save little, and the more they are, the more is lost with a damaged one.
_READINGS = 16
_UNUSED = """
DELETE FROM dictionary WHERE {} AND id < (SELECT max(id) FROM dictionary) AND NOT EXISTS (
    SELECT 1 FROM tick WHERE tick.id >= dictionary.id AND tick.id < (
        SELECT min(later.id) FROM dictionary AS later WHERE later.id > dictionary.id
    ) AND substr(tick.lines, 1, 1) <> x'1f'  -- a gzip member has none
)
"""
_UNUSED_OF = _UNUSED.format("id = (SELECT max(id) FROM dictionary WHERE id <= ?)")
_ALL_UNUSED = _UNUSED.format("true")


class Dictionaries:
    """The dictionaries of an open store, of which it keeps those at hand.

    No id comes back, so what was kept of one is right for as long as the store is open.
    """

    def __init__(self) -> None:
        self._newest: tuple[int | None, bytes] = (None, b"")
        self._last_read: tuple[int | None, bytes] = (None, b"")
        self._left = 0

    def text(self, db: sqlite3.Connection, number: int | None) -> bytes:
        """Return a dictionary by its id; one that is damaged, or missing, is empty."""
        if number == self._newest[0]:
            return self._newest[1]
        if number != self._last_read[0]:
            self._last_read = (number, _read(db, number))
        return self._last_read[1]

    def pack(self, text: bytes) -> tuple[bytes, bytes]:
        """Return the block of a new tick; and the dictionary that begins with it, or nothing."""
        if len(text) > WINDOW:
            return pack(text), b""
        if self._left:
            return pack(text, self._newest[1]), b""
        return pack(text, text), text

    def committed(self, tick: int, begun: bytes) -> None:
        """Remember that a tick is committed, and which dictionary begins with it, if one does."""
        if begun:
            self._newest, self._left = (tick, begun), _READINGS
        self._left = max(0, self._left - 1)

    def renew(self, db: sqlite3.Connection, number: int, before_ns: int) -> None:
        """Make another dictionary of what its ticks hold now, when all of them are so old.

        So what was removed of them by age does not stay in it, and they are packed well again. The
        new one begins with the second tick: the id of the first is taken.

        Args:
            db: The store, in a transaction.
            number: The dictionary.
            before_ns: The youngest time that is too young, in nanoseconds since 1970-01-01 UTC.
        """
        query = "SELECT min(id) FROM dictionary WHERE id > ?"
        (stop,) = db.execute(query, (number,)).fetchone()
        if stop is None:  # more ticks may come that need it
            return
        query = "SELECT 1 FROM tick WHERE id >= ? AND id < ? AND NOT time_ns < ?"
        if db.execute(query, (number, stop, before_ns)).fetchone():
            return
        query = "SELECT id, time_ns, points, lines FROM packed WHERE id >= ? AND id < ? ORDER BY id"
        rows = db.execute(query, (number, stop)).fetchall()
        old = self.text(db, number)
        try:
            texts = [unpack(lines, old) for _, _, _, lines in rows]
        except DAMAGES:  # found out, and told, by whoever reads it
            return
        db.execute("DELETE FROM dictionary WHERE id = ?", (number,))
        new = b""
        for (tick, time_ns, points, _), text in zip(rows, texts, strict=True):
            if tick != rows[0][0] and not new and len(text) <= WINDOW:
                new = text
                begin(db, tick, new)
            block = pack(text, new)
            # SQLite frees no page for a row that only shrinks.
            db.execute("DELETE FROM tick WHERE id = ?", (tick,))
            db.execute("INSERT INTO tick VALUES (?, ?, ?, ?)", (tick, time_ns, points, block))
            db.execute("UPDATE pending SET bytes = ? WHERE id = ?", (len(block), tick))


def begin(db: sqlite3.Connection, tick: int, text: bytes) -> None:
    """Add the dictionary that begins with a tick."""
    db.execute("INSERT INTO dictionary VALUES (?, ?)", (tick, pack(text)))
    forget_unused(db, [tick - 1])  # as the newest one, it stayed without a tick


def forget_unused(db: sqlite3.Connection, gone: Iterable[int] | None = None) -> None:
    """Delete the dictionaries that no tick needs any more; the newest one stays, for those to come.

    Args:
        db: The store, in a transaction.
        gone: The ticks that were deleted; None: any may have been.
    """
    if gone is None:
        db.execute(_ALL_UNUSED)
    else:
        db.executemany(_UNUSED_OF, ((tick,) for tick in gone))


def _read(db: sqlite3.Connection, number: int | None) -> bytes:
    query = "SELECT coalesce(CAST(lines AS BLOB), x'') FROM dictionary WHERE id = ?"
    row = db.execute(query, (number,)).fetchone()
    try:
        return unpack(row[0]) if row else b""
    except DAMAGES:
        return b""
