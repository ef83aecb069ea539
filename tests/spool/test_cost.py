"""What an operation costs does not know how large the store is: in SQLite's steps, and in reads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.settings import Age
from pipeline.spool import Spool
from tests.spool.stores import MB, NOW, PAGE, account, leased, many, read_so_far, reading

pytestmark = pytest.mark.slow

SECOND = 10**9
FEW, MANY = 1_000, 20_000
FIRST = NOW + SECOND
LATER = NOW + (MANY + 1) * SECOND


@dataclass
class Cost:
    """What some work took.

    Attributes:
        steps: Of SQLite's virtual machine.
        read: From files, in bytes.
    """

    steps: int = 0
    read: int = 0


@contextmanager
def counted(spool: Spool) -> Iterator[Cost]:
    """Count what a store does, with nothing of it in memory."""
    cost = Cost()

    def step() -> int:
        cost.steps += 1
        return 0

    with spool._database.connection() as db:
        db.execute("PRAGMA shrink_memory")
        db.set_progress_handler(step, 1)
        before = read_so_far()
        yield cost
        cost.read = read_so_far() - before
        db.set_progress_handler(None, 1)


def compare(few: Cost, many: Cost) -> None:
    # A tree of more rows is deeper by a page, and each search reads one more.
    assert many.steps < 1.1 * few.steps + 50
    assert many.read < 1.1 * few.read + 16 * PAGE


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
        many(folder, readings // 2, readings // 2)
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
