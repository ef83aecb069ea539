"""What an operation costs does not know how large the store is: steps, reads, memory and time."""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pipeline.settings import Age
from pipeline.spool import Refusal, Spool, drop_rejected, retry_rejected
from tests.clocks import ManualClock
from tests.spool.stores import (
    MB,
    NOW,
    PAGE,
    account,
    history,
    leased,
    lines,
    many,
    peak_of,
    read_so_far,
    reading,
    served,
)

pytestmark = pytest.mark.slow

SECOND = 10**9
FEW, MANY = 1_000, 20_000
FIRST = NOW + SECOND
LATER = NOW + (MANY + 1) * SECOND


@contextmanager
def counted(spool: Spool) -> Iterator[Counter[str]]:
    """Count SQLite's steps and the bytes read from files, with nothing of a store in memory."""
    cost: Counter[str] = Counter()
    with spool._database.connection() as db:
        db.execute("PRAGMA shrink_memory")
        db.set_progress_handler(lambda: cost.update(["steps"]), 1)
        before = read_so_far()
        yield cost
        cost["read"] = read_so_far() - before
        db.set_progress_handler(None, 1)


def compare(few: Counter[str], many: Counter[str]) -> None:
    # A tree of more rows is deeper by a page, and each search reads one more.
    assert many["steps"] < 1.1 * few["steps"] + 50
    assert many["read"] < 1.1 * few["read"] + 16 * PAGE


@pytest.mark.parametrize(
    "use",
    [
        lambda spool: spool.append(["m f=1i 1"], LATER),
        lambda spool: spool.has(LATER),
        lambda spool: spool.queue().lease(100),
        lambda spool: spool.queue().lease(100, newest=True),
        lambda spool: spool.queue().settle(spool.queue().lease(100), NOW),
        lambda spool: spool.queue().settle(spool.queue().lease(1, newest=True), NOW),
        lambda spool: spool.contents(),
        lambda spool: spool.facts(),
        lambda spool: spool.gaps(),
        lambda spool: spool.note({"a": "1"}),
        lambda spool: spool.queue().give_up(FIRST),
        lambda spool: spool.queue().give_up(spool.queue().lease(1).oldest_ns + 1),
        lambda spool: spool.restamp(range(MANY), LATER, 1),
        lambda spool: spool.aging.oldest(0, LATER),
        lambda spool: spool.aging.remove(0, FIRST, count=True),
        lambda spool: spool.aging.remove(0, FIRST + 1, count=True),
        lambda spool: spool.aging.remove(0, FIRST + 1, Age(1, "m"), count=True),
    ],
    ids=[
        *("append", "has", "lease", "lease newest", "settle", "settle newest", "contents"),
        *("facts", "gaps", "note", "give up nothing", "give up one", "restamp", "oldest"),
        *("remove nothing", "remove one", "remove a line of one"),
    ],
)
def test_it_does_not_know_the_size_of_the_store(
    tmp_path: Path, use: Callable[[Spool], object]
) -> None:
    costs = []
    for readings in (FEW, MANY):
        folder = tmp_path / str(readings)
        folder.mkdir()
        many(folder, readings // 2, readings // 2, mirrors=["b"])
        with Spool(folder, 100 * MB) as spool:
            spool.contents()
            with counted(spool) as cost:
                use(spool)
            costs.append(cost)
    compare(*costs)


@pytest.mark.parametrize("delivered", ["none", "half", "behind what waits"])
def test_a_reading_at_the_bound_makes_room_at_the_same_cost(tmp_path: Path, delivered: str) -> None:
    costs = []
    for readings in (FEW, MANY):
        folder = tmp_path / str(readings)
        folder.mkdir()
        half = readings // 2 if delivered == "half" else 0
        many(folder, half, readings - half, reading(0, 2))
        with Spool(folder, 100 * MB) as spool:
            if delivered == "behind what waits":
                for _ in range(50):
                    spool.queue().settle(leased(spool, newest=True), NOW)
                    spool.append(reading(0, 2), LATER)
            spool.set_bound(spool.path.stat().st_size)
            with counted(spool) as cost:
                for number in range(60):  # a page more or less is a small share
                    spool.append(reading(number, 2), LATER + number)
            costs.append(cost)
            account(spool.contents())
    compare(*costs)


def test_a_bound_that_is_far_away_costs_a_reading_little(tmp_path: Path) -> None:
    """As on a disk that has become full, or after another program wrote to the store."""
    many(tmp_path, 0, 5_000, reading(0, 2))
    with Spool(tmp_path, 100 * MB) as spool:
        spool._room.set_bound(2 * MB)
        spool.append(reading(1, 2), LATER)
        assert spool.contents().lost["spool_full"] < 1_000
        for number in range(60):
            spool.append(reading(number, 2), LATER + number)
        assert spool.path.stat().st_size < 2 * MB
        account(spool.contents())


# ---- memory --------------------------------------------------------------------------------------


def noise(size: int) -> str:
    """Text that does not become much smaller when it is packed."""
    return os.urandom(size // 2).hex()


def test_readings_that_lose_lines_are_packed_anew_in_parts(spool: Spool) -> None:
    for second in range(40):
        text = noise(MB // 8)
        spool.append([f"cpu f=1i {second}", f'mem t="{text}" {second}'], second * SECOND)

    def remove() -> None:
        spool.aging.remove(0, 40 * SECOND, Age(1, "cpu"), count=True)

    assert peak_of(remove) < 3 * MB  # of 5
    assert spool.contents().lost == {"expired": 40}
    assert all(block.startswith("mem ") for block in history(spool.path.parent))


def test_rejected_lines_are_taken_in_parts(spool: Spool, tmp_path: Path) -> None:
    texts = [f'm t="{noise(4_000)}" {NOW + number}' for number in range(1_200)]
    spool.append([f"m f=1i {NOW}"], NOW)
    spool.queue().settle(leased(spool), NOW, [Refusal(text, "no") for text in texts])
    taken: list[int] = []
    spool.set_bound(100 * MB)  # so that there is no log to look at
    assert peak_of(lambda: taken.append(retry_rejected(tmp_path, range(1, 601))[0])) < 1.5 * MB
    spool.set_bound(100 * MB)
    assert peak_of(lambda: taken.append(drop_rejected(tmp_path))) < 1.5 * MB  # of 2.4
    assert taken == [600, 600]
    assert (spool.contents().backlog_points, spool.contents().rejected_points) == (600, 0)
    assert lines(leased(spool)) == texts[:600]
    account(spool.contents())


# ---- time ----------------------------------------------------------------------------------------


TOOK_S = 0.25


class BusyClock(ManualClock):
    """Whatever it times takes as long."""

    def monotonic(self) -> float:
        self.elapsed += TOOK_S
        return self.elapsed


@pytest.mark.parametrize(
    "change",
    [
        lambda spool: spool.aging.remove(0, LATER - 1, count=True),
        lambda spool: spool.aging.remove(0, LATER - 1, Age(1, "m"), count=True),
        lambda spool: spool.queue().give_up(LATER - 1),
        lambda spool: spool.set_bound(MB),
        lambda spool: served(spool, "b"),
        lambda spool: served(served(spool, "b")),
    ],
    ids=["remove", "remove lines", "give up", "set the bound", "fill", "empty"],
)
def test_others_write_between_the_parts_of_a_long_change(
    tmp_path: Path, change: Callable[[Spool], object]
) -> None:
    many(tmp_path, 600, 600, reading(0))
    clock = BusyClock()
    with Spool(tmp_path, 100 * MB, clock) as spool, ThreadPoolExecutor(1) as other:
        clock.waits.clear()

        def write(wait: int) -> None:
            other.submit(spool.append, ["m f=1i 1"], LATER + wait).result(timeout=60)
            with closing(sqlite3.connect(spool.path, timeout=0)) as beside:  # it need not wait
                beside.execute("BEGIN IMMEDIATE")

        clock.on_wait = write
        change(spool)
        assert len(clock.waits) >= 2
        assert set(clock.waits) == {TOOK_S}
        clock.on_wait = lambda _: None
        account(spool.contents())
