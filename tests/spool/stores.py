"""Stores to break, and what must be true of what is left."""

import gzip
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

from pipeline.spool import Batch, Contents, Spool, SpoolReader
from pipeline.spool.schema import COMMITTED

MB = 2**20
NOW = 1_700_000_000 * 10**9
PAGE = 4096
_ONLY_READ = ("wal.py", "pages.py", "contents.py", "schema.py")


def leased(spool: Spool, max_points: int = 1_000_000, *, newest: bool = False) -> Batch:
    batch = spool.lease(max_points, newest=newest)
    assert batch is not None
    return batch


def lines(batch: Batch) -> list[str]:
    return gzip.decompress(batch.body).decode().splitlines()


def reading(number: int, points: int = 3) -> list[str]:
    """Lines that do not compress well, and are the same for the same number."""
    noise = random.Random(number)  # noqa: S311  # chance that comes back is wanted
    return [f'm,n={n} f="{noise.randbytes(400).hex()}" {number}' for n in range(points)]


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
        spool.settle(leased(spool, 3 * delivered), NOW)
        spool.note({"a": "1"})


def sql(directory: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Do with a store what its own ways do not, beside whoever has it open."""
    with closing(sqlite3.connect(directory / "spool.db", isolation_level=None)) as db:
        return db.execute(statement, values).fetchall()


def killed(work: Callable[[], object]) -> None:
    """Do some work in a process that is then killed: nothing is closed."""
    if (child := os.fork()) == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def killed_at(line: int, work: Callable[[], object]) -> bool:
    """Do some work in a process that is killed when it comes to its nth line that changes a store.

    Returns:
        Whether it came so far.
    """

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal line
        file = Path(frame.f_code.co_filename)
        if file.parent.name not in ("spool", "salvage") or file.name in _ONLY_READ:
            return None
        if event == "line":
            line -= 1
            if line == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    if (child := os.fork()) == 0:
        status = 1
        try:
            sys.settrace(trace)
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


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


def scribble(path: Path, offset: int, size: int, seed: int = 1) -> None:
    """Write noise into the middle of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(random.Random(seed).randbytes(size))  # noqa: S311  # chance that comes back


def aside(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.glob("spool.db.corrupt-*"))
