"""Stores to break, and what must be true of what is left."""

import gzip
import os
import random
import signal
import sqlite3
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pipeline.settings import Age
from pipeline.spool import MAIN, Batch, Contents, Spool, SpoolReader, joined, pack
from pipeline.spool.contents import COMMITTED
from pipeline.spool.rows import tally

MB = 2**20
NOW = 1_700_000_000 * 10**9
PAGE = 4096
FILES = ("", "-wal", "-shm")
"""How the names of a store's files go on after `spool.db`."""


def leased(
    spool: Spool, max_points: int = 1_000_000, *, newest: bool = False, server: str = MAIN
) -> Batch:
    batch = spool.queue(server).lease(max_points, newest=newest)
    assert batch is not None
    return batch


def lines(batch: Batch) -> list[str]:
    return gzip.decompress(batch.body).decode().splitlines()


def reading(number: int, points: int = 3) -> list[str]:
    """Lines that do not compress well, and are the same for the same number."""
    noise = random.Random(number)  # noqa: S311  # chance that comes back is wanted
    return [f'm,n={n} f="{noise.randbytes(400).hex()}" {number}' for n in range(points)]


def blocks(*numbers: int) -> list[str]:
    """What the history gives of readings."""
    return [joined(reading(number)) for number in numbers]


def salvaged(spool: Spool) -> Spool:
    """Copy all that can be read of a damaged store, as the agent does beside its readings."""
    for _ in spool.salvage():
        pass
    return spool


def filled(directory: Path, ticks: int = 60, delivered: int = 20) -> None:
    """Make a store, closed and whole."""
    with Spool(directory, 100 * MB) as spool:
        for number in range(ticks):
            spool.append(reading(number), number)
        spool.queue().settle(leased(spool, 3 * delivered), NOW)
        spool.note({"a": "1"})


def sql(directory: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Do with a store what its own ways do not, beside whoever has it open."""
    with closing(sqlite3.connect(directory / "spool.db", isolation_level=None)) as db:
        return db.execute(statement, values).fetchall()


def leaf_of(directory: Path, table: str) -> int:
    """The number of the first page of a table that holds rows."""
    ((number,),) = sql(directory, "SELECT rootpage FROM sqlite_schema WHERE name = ?", table)
    data = (directory / "spool.db").read_bytes()
    while data[(number - 1) * PAGE] in (2, 5):  # an interior page: to its first child
        page = data[(number - 1) * PAGE : number * PAGE]
        cell = int.from_bytes(page[12:14], "big")
        number = int.from_bytes(page[cell : cell + 4], "big")
    return int(number)


def killed(work: Callable[[], object]) -> None:
    """Do some work in a process that is then killed: nothing is closed."""
    if (child := os.fork()) == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def account(contents: Contents) -> None:
    """Committed = delivered + waiting + lost, to the point."""
    lost = sum(contents.lost.get(cause, 0) for cause in COMMITTED)
    assert contents.points == contents.delivered_points + contents.backlog_points + lost


def contents(directory: Path) -> Contents:
    with SpoolReader(directory) as reader:
        return reader.contents()


def history(directory: Path) -> list[str]:
    with SpoolReader(directory) as reader:
        return list(reader.history(0))


def served(spool: Spool, *mirrors: str) -> Spool:
    """Take these mirrors, as the agent does at its start and when its settings change."""
    for _ in spool.serve(mirrors):
        pass
    return spool


def remove(directory: Path, *endings: str) -> None:
    """Remove some of the files of a store, as a user does."""
    for ending in endings:
        (directory / f"spool.db{ending}").unlink()


def scribble(path: Path, offset: int, size: int, seed: int = 1) -> None:
    """Write noise into the middle of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(random.Random(seed).randbytes(size))  # noqa: S311  # chance that comes back


def aside(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.glob("spool.db.corrupt-*"))


def many(
    directory: Path,
    delivered: int,
    waiting: int,
    lines: Sequence[str] = ("m f=1i 1",),
    mirrors: Sequence[str] = (),
) -> None:
    """Make a store of many readings, a second apart from `NOW` on, the delivered ones first."""
    served(Spool(directory, 100 * MB), *mirrors).close()
    block = pack(joined(lines))
    number = "WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
    with closing(sqlite3.connect(directory / "spool.db")) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute(
            f"{number} INSERT INTO tick SELECT i, ? + i * 1000000000, ?, ? FROM n",  # noqa: S608  # above
            (1, delivered + waiting, NOW, len(lines), block),
        )
        points = (delivered + waiting) * len(lines)
        for server in (MAIN, *mirrors):
            if waiting:
                db.execute(
                    f"{number} INSERT INTO pending SELECT ?, i, ?, ? FROM n",  # noqa: S608  # above
                    (delivered + 1, delivered + waiting, server, len(lines), len(block)),
                )
            tally(db, {"points": points, "delivered": delivered * len(lines)}, server)
        tally(db, {"ticks": delivered + waiting})
        db.commit()


def read_so_far() -> int:
    """Return how many bytes this process has read from files."""
    first = Path("/proc/self/io").read_text(encoding="ascii").splitlines()[0]
    return int(first.removeprefix("rchar: "))


def peak_of(work: Callable[[], object]) -> int:
    """The most memory that Python took for some work, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


USES: dict[str, tuple[str, Callable[[Spool], object]]] = {
    "append": ("counter", lambda spool: spool.append(reading(99), 99)),
    "lease": ("pending", lambda spool: spool.queue().lease(9)),
    "settle": ("pending", lambda spool: spool.queue().settle(Batch((1, 2), 6, b"", 0, True), NOW)),
    "give_up": ("pending", lambda spool: spool.queue().give_up(9)),
    "restamp": ("pending", lambda spool: spool.restamp(range(9), 9, 1)),
    "serve": ("pending", lambda spool: served(spool, "b")),
    "note": ("fact", lambda spool: spool.note({"b": "2"})),
    "facts": ("fact", lambda spool: spool.facts()),
    "gaps": ("gap", lambda spool: spool.gaps()),
    "contents": ("counter", lambda spool: spool.contents()),
    "has": ("tick_time", lambda spool: spool.has(1)),
    "oldest": ("tick_time", lambda spool: spool.aging.oldest(0, 1)),
    "remove": ("tick", lambda spool: spool.aging.remove(0, 150, Age(1, "m"), count=True)),
    "check": ("tick", lambda spool: spool.check()),
    "set_bound": ("", lambda spool: spool.set_bound(100 * MB)),
    "salvage": ("", lambda spool: list(spool.salvage())),
}
"""What a spool is used for: which table cannot do without, and the use."""
