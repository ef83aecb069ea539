"""The power is lost, or the process is killed, after every single change to a file."""

import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.spool import MAIN, Fact, Spool
from tests.spool.disk import Disk, Event, recorded
from tests.spool.stores import (
    MB,
    NOW,
    account,
    filled,
    history,
    leased,
    salvaged,
    scribble,
    served,
)
from tests.spool.test_salvage import abandoned
from tests.spool.test_schema import made

pytestmark = pytest.mark.slow  # much to write, and to break

# Each says what is certain when it is certain; the marks are beside the store.
BEGIN = """
import os, sys
from pathlib import Path
from pipeline.spool import Spool
from tests.spool.stores import NOW, leased, reading
folder = Path(sys.argv[1])
marks = os.open(folder / "marks", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def mark(text):
    os.write(marks, f"{text}\\n".encode())
def append(spool, number):
    spool.append(reading(number), number)
    mark(f"committed {number}")
"""
WORK = f"""{BEGIN}
with Spool(folder, 2**20) as spool:
    for number in range(100, 106):
        append(spool, number)
    spool.queue().settle(leased(spool, 6), NOW)
    mark("delivered 6")
    append(spool, 106)
    mark("expiring 102")
    spool.aging.remove(0, 102, count=True)
with Spool(folder, 2**20) as spool:
    append(spool, 107)
    spool.queue().settle(leased(spool, newest=True), NOW)
    mark("delivered 9")
    spool.note({{"a": "2"}})
"""
SHORT = f"""{BEGIN}
with Spool(folder, 2**20) as spool:
    append(spool, 100)
    for number, _ in enumerate(spool.salvage(), 102):
        append(spool, number)
    append(spool, 101)
"""


def fresh(folder: Path) -> None:
    folder.mkdir()


def old(folder: Path) -> None:
    made(folder)


def broken(folder: Path) -> None:
    folder.mkdir()
    filled(folder, ticks=6, delivered=2)
    with served(Spool(folder, MB), "b") as spool:
        spool.queue("b").settle(leased(spool, 9, server="b"), NOW)
    abandoned(folder, ticks=2)
    scribble(folder / "spool.db", 0, 100)
    (folder / "spool.db-shm").unlink()


def marked(events: list[Event]) -> tuple[set[int], int, int]:
    """What is certain: the readings committed, the points delivered, and what may be expired."""
    marks = {e.file for e in events if e.kind == "c" and e.name == "marks"}
    text = b"".join(e.data for e in events if e.file in marks).decode()
    committed = {int(n) for n in re.findall(r"committed (\d+)", text)}
    delivered = max((int(n) for n in re.findall(r"delivered (\d+)", text)), default=0)
    expiring = max((int(n) for n in re.findall(r"expiring (\d+)", text)), default=0)
    return committed, delivered, expiring


def check(folder: Path, events: list[Event], before: int) -> None:
    """All that was certain is there, once, and the account is exact; and so it is again."""
    committed, delivered, expiring = marked(events)
    for _ in range(2):
        with salvaged(Spool(folder, MB)) as spool:
            contents = spool.contents()
            account(contents)
            found = Counter(int(block.split()[-1]) for block in history(folder))
            assert max(found.values(), default=1) == 1
            assert {n for n in committed if n >= expiring} <= set(found)
            assert contents.ticks >= before + len(committed)
            assert contents.delivered_points >= delivered
            assert "corrupt_store" not in contents.lost
            damaged = before == 8  # the broken one
            assert damaged == (Fact.SALVAGE in spool.facts())
            for server, points in ((MAIN, 6), ("b", 9)) if damaged else ():
                contents = spool.queue(server).contents()
                account(contents)
                assert (contents.points, contents.delivered_points) == (3 * len(found), points)
            spool.check()


@pytest.mark.parametrize(
    ("prepare", "program", "before"),
    [(fresh, WORK, 0), (old, SHORT, 6), (broken, SHORT, 8)],
    ids=["work", "upgrade", "salvage"],
)
def test_whatever_was_certain_survives(
    prepare: Callable[[Path], None], program: str, before: int, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    prepare(folder)
    disk = Disk(folder)
    events = recorded(program, folder, tmp_path)
    assert marked(events)[0] >= {100, 101}
    assert len([event for event in events if event.kind == "s"]) > 5
    chance = random.Random(5)  # noqa: S311  # chance that comes back is wanted
    for number, event in enumerate(events, 1):
        disk.follow(event)
        ways: list[Callable[[Path], Path]] = [disk.seen]
        if event.kind in "scrud":
            ways += [disk.synced, disk.named]
        if event.kind == "w":
            ways.append(lambda path: disk.torn(path, chance))
        for way in ways:
            left = way(tmp_path / "left")
            try:
                check(left, events[:number], before)
            except BaseException as error:
                raise AssertionError(f"after change {number}, {event.kind}: {error}") from error
            shutil.rmtree(left)
