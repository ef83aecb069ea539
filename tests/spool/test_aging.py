"""Lines are removed by age, from readings that keep the others."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.point import measurement_of, split_lines
from pipeline.settings import Age
from pipeline.spool import Aging, Spool
from tests.spool.stores import NOW, account, history, leased, many, sql

SECOND = 10**9
CPU = Age(1, "cpu")


def remove(
    spool: Spool, start: int, stop: int, age: Age | None = CPU, *, count: bool = True
) -> int:
    with Aging.beside(spool.path.parent) as aging:
        return aging.remove(start * SECOND, stop * SECOND, age, count=count)


def fill(spool: Spool, *seconds: int) -> None:
    for second in seconds:
        lines = [f"cpu,cpu={n} f=1i {second * SECOND}" for n in range(3)]
        spool.append([*lines, f'mem t="a b" {second * SECOND}'], second * SECOND)


def waiting(spool: Spool) -> int:
    """How many points wait by the counter that stands beside the queue, for a salvage."""
    ((found,),) = sql(spool.path.parent, "SELECT value FROM counter WHERE name = 'waiting'")
    return int(found)


def held(spool: Spool) -> list[str]:
    return [line for block in history(spool.path.parent) for line in split_lines(block)]


def test_what_waited_for_delivery_is_counted_and_the_rest_still_waits(spool: Spool) -> None:
    fill(spool, 1, 2)
    spool.queue().settle(leased(spool, 4), 0)
    batch = leased(spool, 10)
    assert remove(spool, 0, 10) == 6
    assert remove(spool, 0, 10) == 0
    contents = spool.contents()
    assert (contents.delivered_points, contents.backlog_points, waiting(spool)) == (4, 1, 1)
    assert (contents.points, contents.lost) == (8, {"expired": 3})
    size = sql(spool.path.parent, "SELECT length(lines) FROM tick JOIN pending USING (id)")
    assert [(contents.backlog_bytes,)] == size
    spool.queue().settle(batch, 0)  # it was on its way meanwhile
    assert (spool.contents().delivered_points, spool.contents().lost) == (5, {"expired": 3})
    fill(spool, 3)
    assert remove(spool, 0, 10, count=False) == 3  # without a server nothing is a loss
    assert spool.contents().lost == {"expired": 3}


@pytest.mark.slow
@pytest.mark.parametrize("age", [CPU, None])
def test_the_space_goes_back_to_the_file_system(tmp_path: Path, age: Age | None) -> None:
    lines = [f'cpu,cpu={n} t="{os.urandom(40).hex()}" 1' for n in range(20)]
    many(tmp_path, 0, 600, [*lines, "mem f=1i 1"])  # more than is done at once
    ((before,),) = sql(tmp_path, "PRAGMA page_count")
    with Aging.beside(tmp_path) as aging:
        assert aging.remove(0, 2 * NOW, age, count=True) == 600 * (20 if age else 21)
    ((after,),) = sql(tmp_path, "PRAGMA page_count")
    assert after < before / 4
    assert len(history(tmp_path)) == (600 if age else 0)


def test_a_reading_that_is_damaged_holds_back_no_other_and_goes_with_its_last_line(
    spool: Spool,
) -> None:
    fill(spool, 1, 2)
    sql(spool.path.parent, "UPDATE tick SET lines = x'00' WHERE id = 1")
    assert remove(spool, 0, 10) == 3
    assert spool.contents().backlog_points == 4 + 1
    assert remove(spool, 0, 10, None) == 4 + 1
    contents = spool.contents()
    assert (contents.points, contents.lost) == (8, {"expired": 8})


ticks = st.lists(
    st.tuples(st.integers(0, 20), st.lists(st.sampled_from(["cpu", "mem", "c\\ pu"]), min_size=1)),
    max_size=12,
)


@pytest.mark.slow
@settings(max_examples=40)
@given(ticks, st.integers(0, 20), st.integers(0, 20), st.sampled_from([CPU, None]))
def test_whatever_is_held_exactly_the_old_lines_of_the_span_go(
    readings: list[tuple[int, list[str]]], start: int, stop: int, age: Age | None
) -> None:
    with tempfile.TemporaryDirectory() as folder, Spool(Path(folder), 2**24) as one:
        lines = []
        for number, (second, names) in enumerate(readings):
            some = [f"{name},n={number}-{n} f=1i {second}" for n, name in enumerate(names)]
            one.append(some, second * SECOND)
            lines += [(second, line) for line in some]
        within = [(second, line) for second, line in lines if start <= second < stop]
        oldest = min((second * SECOND for second, _ in within), default=None)
        assert one.aging.oldest(start * SECOND, stop * SECOND) == oldest
        gone = {line for _, line in within if age is None or measurement_of(line) == "cpu"}
        assert remove(one, start, stop, age) == len(gone)
        assert sorted(held(one)) == sorted(line for _, line in lines if line not in gone)
        contents = one.contents()
        assert contents.backlog_points == waiting(one) == len(lines) - len(gone)
        assert contents.points == len(lines)
        account(contents)
