"""Lines are removed by age, from readings that keep the others."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.point import measurement_of, split_lines
from pipeline.settings import Age
from pipeline.spool import Aging, Spool
from tests.spool.stores import account, history, leased, sql

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


def test_only_the_lines_that_are_too_old_go(spool: Spool) -> None:
    fill(spool, 1, 2, 3)
    assert remove(spool, 0, 3) == 6
    assert [measurement_of(line) for line in held(spool)] == ["mem", "mem", *["cpu"] * 3, "mem"]
    assert held(spool)[0] == f'mem t="a b" {SECOND}'
    assert remove(spool, 0, 3) == 0


def test_a_reading_that_loses_all_its_lines_is_gone(spool: Spool) -> None:
    spool.append([f"cpu f=1i {SECOND}"], SECOND)
    assert remove(spool, 0, 10) == 1
    assert spool.contents().first_ns is None
    fill(spool, 2, 3)
    assert remove(spool, 0, 3, None) == 4
    assert spool.contents().first_ns == 3 * SECOND


def test_what_waited_for_delivery_is_counted_and_the_rest_still_waits(spool: Spool) -> None:
    fill(spool, 1, 2)
    batch = leased(spool, 4)
    spool.queue().settle(batch, 0)
    assert remove(spool, 0, 10) == 6
    contents = spool.contents()
    assert (contents.delivered_points, contents.backlog_points, waiting(spool)) == (4, 1, 1)
    assert contents.lost == {"expired": 3}
    assert contents.points == contents.delivered_points + contents.backlog_points + 3
    rest = leased(spool, 10)
    assert rest.points == 1
    size = sql(spool.path.parent, "SELECT length(lines) FROM tick JOIN pending USING (id)")
    assert [(contents.backlog_bytes,)] == size


def test_without_a_server_nothing_is_a_loss(spool: Spool) -> None:
    fill(spool, 1)
    assert remove(spool, 0, 10, count=False) == 3
    assert spool.contents().lost == {}


def test_a_batch_that_is_on_its_way_meanwhile_is_settled_for_what_is_left(spool: Spool) -> None:
    fill(spool, 1)
    batch = leased(spool, 10)
    remove(spool, 0, 10)
    spool.queue().settle(batch, 0)
    contents = spool.contents()
    assert contents.points == 4 == contents.delivered_points + sum(contents.lost.values())


def test_what_was_delivered_before_older_readings_still_makes_room_before_these(
    spool: Spool,
) -> None:
    fill(spool, 1, 2)
    spool.queue().settle(leased(spool, 1, newest=True), 9 * SECOND)
    spool.append([f"mem f=1i {3 * SECOND}"], 3 * SECOND)
    fill(spool, 4)
    remove(spool, 0, 5)
    assert sql(spool.path.parent, "SELECT id FROM ahead") == [(2,)]


def test_a_span_holds_its_start_and_not_its_stop(spool: Spool) -> None:
    fill(spool, 1, 2, 3)
    assert remove(spool, 2, 3) == 3
    with Aging.beside(spool.path.parent) as aging:
        assert aging.oldest(0, 9 * SECOND) == SECOND
        assert aging.oldest(2 * SECOND, 9 * SECOND) == 2 * SECOND
        assert aging.oldest(2 * SECOND, 2 * SECOND) is None


def test_the_space_goes_back_to_the_file_system(spool: Spool) -> None:
    for second in range(500):
        lines = [f'cpu,cpu={n} t="{n * second:x}{"%x" % (7**n)}" {second}' for n in range(60)]
        spool.append([*lines, f"mem f=1i {second}"], second * SECOND)
    ((before,),) = sql(spool.path.parent, "PRAGMA page_count")
    assert remove(spool, 0, 500) == 500 * 60
    ((after,),) = sql(spool.path.parent, "PRAGMA page_count")
    assert after < before / 4
    assert len(held(spool)) == 500


def test_more_than_is_done_at_once_is_done_as_well(spool: Spool) -> None:
    for second in range(600):
        spool.append([f"cpu f=1i {second}", f"mem f=1i {second}"], second % 7 * SECOND)
    assert remove(spool, 0, 10) == 600
    assert len(held(spool)) == 600


def test_a_reading_may_be_committed_while_another_process_removes(spool: Spool) -> None:
    fill(spool, 1)
    with Aging.beside(spool.path.parent) as aging:
        fill(spool, 2)
        assert aging.remove(0, 10 * SECOND, CPU, count=True) == 6
        fill(spool, 3)
    assert spool.contents().ticks == 3


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


@settings(max_examples=40)
@given(ticks, st.integers(0, 20), st.integers(0, 20))
def test_whatever_is_held_exactly_the_old_lines_of_the_span_go(
    readings: list[tuple[int, list[str]]], start: int, stop: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, Spool(Path(folder), 2**24) as one:
        lines = []
        for number, (second, names) in enumerate(readings):
            some = [f"{name},n={number}-{n} f=1i {second}" for n, name in enumerate(names)]
            one.append(some, second * SECOND)
            lines += [(second, line) for line in some]
        gone = {
            line
            for second, line in lines
            if start <= second < stop and measurement_of(line) == "cpu"
        }
        assert remove(one, start, stop) == len(gone)
        assert sorted(held(one)) == sorted(line for _, line in lines if line not in gone)
        contents = one.contents()
        assert contents.backlog_points == len(lines) - len(gone)
        assert contents.points == len(lines)
        account(contents)
        assert waiting(one) == contents.backlog_points
