"""A long change of the store leaves others as much time as it takes: they write in between."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.settings import Age
from pipeline.spool import Spool
from tests.clocks import ManualClock
from tests.spool.stores import MB, NOW, account, many, reading

READINGS = 1_200
LATER = NOW + (READINGS + 1) * 10**9
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
    ],
    ids=["remove", "remove lines", "give up", "set the bound"],
)
def test_others_write_between_the_parts_of_a_long_change(
    tmp_path: Path, change: Callable[[Spool], object]
) -> None:
    many(tmp_path, READINGS // 2, READINGS // 2, reading(0))
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
