"""What is sent next: the oldest readings of the queue, or its newest."""

import sqlite3

from pipeline.spool.contents import Batch
from pipeline.spool.rows import DAMAGES, LEAST_ID, pack, unpack

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


def next_batch(
    db: sqlite3.Connection,
    server: str,
    max_points: int,
    above: int,
    *,
    newest: bool,
    after: int | None = None,
) -> tuple[Batch | None, list[int]]:
    """Return a server's next batch, and the ticks before its end that are damaged.

    Args:
        db: The store.
        server: The server's name.
        max_points: The size of a batch. A larger tick comes alone.
        above: By how much the ids returned are higher than those in the store.
        newest: Only the newest tick, in place of the oldest ones.
        after: Only ticks after that one, which is as high as the ids returned.
    """
    leased: list[tuple[int, int, int, str]] = []
    damaged: list[int] = []
    more = newest
    left, room = max_points, _MOST_TEXT
    query = _NEWEST if newest else _OLDEST
    first = LEAST_ID if after is None else after - above + 1
    for tick, time_ns, points, block in db.execute(query, {"server": server, "first": first}):
        if len(damaged) >= _AT_ONCE or (leased and (newest or points > left)):
            more = True
            break
        try:
            text = unpack(block)
        except DAMAGES:
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
    return Batch(ids, sum(sizes), pack("".join(texts)), min(times), more), damaged
