"""Missing readings are reported once, where they are missing."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.point import Line, Point
from pipeline.spool import Gap, Spool
from pipeline.spool.errors import DamagedError
from tests.agent.recording import MINUTE, Recording, Stub
from tests.clocks import START_NS
from tests.spool.stores import salvaged, scribble

Made = Callable[..., Recording]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Made]:
    """Makes recorders of one store, one after the other, each of which closes the one before."""
    made: list[Recording] = []

    def one(*, resumes: bool = True, behind_ns: int = 0) -> Recording:
        for before in made:
            before.spool.close()
        made.append(Recording(tmp_path, Stub("beat", "1")))
        made[-1].behind_ns = behind_ns
        if resumes:
            made[-1].recorder.resume(60.0)
        return made[-1]

    yield one
    for each in made:
        each.spool.close()


def gap(cause: str, minute: float, readings: int, minutes: float) -> Line:
    start_ns = START_NS + round(minute * MINUTE)
    fields = {"readings": readings, "seconds": 60.0 * minutes, "start_ns": start_ns}
    return Line(Point("metrics_gap", fields, {"cause": cause, "host": "h1"}), start_ns)


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        ([(5, 3)], [(1, 3, 4)]),
        ([(5, 3), (6, 0), (7, 0)], [(1, 3, 4)]),
        ([(5, 3), (9, 3), (13, 3)], [(1, 3, 4), (5, 3, 4), (9, 3, 4)]),
    ],
)
def test_ticks_that_came_too_late_are_gaps_that_are_each_told_once(
    agent: Made, late: list[tuple[int, int]], expected: list[tuple[int, int, int]]
) -> None:
    one = agent(resumes=False)
    one.beat(1)
    for minute, missed in late:
        one.beat(minute, missed)
    one.beat(20)
    assert one.gaps == [gap("tick_missed", *each) for each in expected]


@pytest.mark.parametrize(
    ("before", "now", "readings"),
    [([], 5, 0), ([1], 2, 0), ([1], 2.4, 0), ([1], 3, 1), ([5], 1, 0), ([1, 2], 1442, 1439)],
)
@pytest.mark.parametrize("resumes", [True, False])  # a reading that a program asks for does not
def test_the_time_without_an_agent_is_a_gap(
    agent: Made, before: list[float], now: float, readings: int, *, resumes: bool
) -> None:
    first = agent()
    for minute in before:
        first.beat(minute)
    again = agent(resumes=resumes)
    again.beat(now)
    again.beat(now + 1)
    last = max(before, default=0)
    expected = [gap("agent_down", last, readings, now - last)] if readings and resumes else []
    assert again.gaps == expected


@pytest.fixture
def ended(agent: Made, tmp_path: Path) -> Path:
    """The store of an agent that took readings up to minute 9, and was stopped."""
    one = agent()
    for minute in range(10):
        one.beat(minute)
    one.spool.close()
    return tmp_path / "spool.db"


def test_the_time_without_an_agent_is_a_gap_though_its_store_was_damaged(
    agent: Made, ended: Path
) -> None:
    scribble(ended, 0, 100)
    for minute in (60, 70):  # the second one goes on with what the first one began
        agent().beat(minute)
    last = agent()
    salvaged(last.spool)
    last.beat(80)
    last.beat(81)
    assert last.gaps == [gap("agent_down", 9, 50 + 9, 61), gap("agent_down", 70, 9, 10)]


def test_what_was_lost_with_a_store_is_no_time_without_an_agent(agent: Made, ended: Path) -> None:
    def forget_the_last(db: sqlite3.Connection) -> None:
        db.execute("UPDATE tick SET lines = '' WHERE time_ns >= ?", (START_NS + 8 * MINUTE,))

    with Spool(ended.parent, 2**24) as spool:
        spool._database.write(forget_the_last)
    scribble(ended, 0, 100)
    again = agent()
    again.beat(60)
    salvaged(again.spool)
    again.beat(61)
    again.beat(62)
    assert again.gaps == [gap("agent_down", 7, 50, 53), gap("corrupt_store", 7, 2, 53)]


def test_a_store_that_is_damaged_while_its_agent_runs_leaves_no_time_without_one(
    agent: Made, ended: Path
) -> None:
    running = agent()
    running.beat(10)
    with running.spool._database.held():
        error = DamagedError(running.spool.path, "for a test")
        running.spool._store.replace(running.spool._database, error)
    running.beat(11)
    salvaged(running.spool)
    running.beat(20, missed=8)
    running.beat(21)
    assert running.gaps == [gap("tick_missed", 11, 8, 9)]


def test_during_an_outage_nothing_is_told_and_afterwards_all_at_once(agent: Made) -> None:
    one = agent()
    one.beat(1)
    one.health.trouble("delivery").begins("no answer")
    one.beat(3, missed=1)
    one.beat(9, missed=5)
    one.beat(10)
    assert one.gaps == []
    one.health.trouble("delivery").ends()
    one.beat(11)
    one.beat(12)
    assert one.gaps == [gap("tick_missed", 1, 6, 8)]


def test_what_one_server_lacks_is_told_when_that_server_works_and_the_rest_meanwhile(
    agent: Made,
) -> None:
    one = agent()
    down = one.health.server("b").trouble("delivery")
    down.begins("no answer")
    start_ns, stop_ns = START_NS + MINUTE, START_NS + 3 * MINUTE
    lacks = Gap("expired", start_ns, stop_ns, 3, server="b")
    one.spool.append(["m f=1i 1"], 1, gaps=[lacks])
    one.beat(4)
    one.beat(6, missed=1)
    one.beat(7)
    assert one.gaps == [gap("tick_missed", 4, 1, 2)]
    down.ends()
    one.beat(8)
    one.beat(9)
    (late,) = one.gaps[1:]
    assert late.point.tags == {"cause": "expired", "host": "h1", "server": "b"}
    assert (late.timestamp_ns, late.point.fields["seconds"]) == (start_ns, 120.0)
    assert one.spool.gaps() == []


def test_a_gap_that_began_before_the_age_is_told_within_it(agent: Made) -> None:
    one = agent()
    one.beat(1)
    one.beat(100, missed=98)
    one.beat(200, missed=99)
    one.oldest_ns = START_NS + 50 * MINUTE
    one.beat(201)
    first, second = one.gaps
    assert first == gap("tick_missed", 1, 98, 99)  # told before it became too old
    assert second == gap("tick_missed", 100, 99, 100)
    one.beat(300, missed=98)
    one.oldest_ns = START_NS + 250 * MINUTE
    one.beat(301)
    *_, third = one.gaps
    assert third.timestamp_ns == one.oldest_ns
    assert third.point == gap("tick_missed", 201, 98, 99).point


@pytest.mark.parametrize("delivers", [False, True])
def test_a_gap_before_the_clock_is_set_is_told_at_its_right_time(
    agent: Made, *, delivers: bool
) -> None:
    one = agent(resumes=False, behind_ns=START_NS)
    one.beat(1)
    one.beat(5, missed=3)
    if delivers:
        one.health.trouble("delivery").begins("the clock is not set")
    for minute in (6, 7):
        one.beat(minute)
    one.set_the_clock(8)
    one.health.trouble("delivery").ends()
    one.beat(9)
    assert one.gaps == [gap("tick_missed", 1, 3, 4)]
    assert one.spool.gaps() == []


def test_the_time_without_an_agent_is_told_when_the_clock_is_set(agent: Made) -> None:
    agent().beat(1)
    again = agent(behind_ns=START_NS)
    for minute in (60, 61):
        again.beat(minute)
    again.set_the_clock(62)
    again.beat(63)
    assert again.gaps == [gap("agent_down", 1, 58, 59)]


def test_how_long_no_agent_ran_is_not_told_where_nobody_knows(agent: Made) -> None:
    agent(behind_ns=START_NS).beat(1)
    again = agent()
    for minute in (60, 61):
        again.beat(minute)
    assert again.gaps == []


def test_a_gap_that_widens_while_it_is_told_is_told_again(spool: Spool) -> None:
    first, second = Gap("tick_missed", 1, 5, 2), Gap("tick_missed", 7, 9, 1)
    spool.append(["a f=1 1"], 1, gaps=[first])
    told = spool.gaps()
    spool.append(["a f=1 2"], 2, gaps=[second])
    spool.append(["a f=1 3"], 3, told=told)
    assert spool.gaps() == [Gap("tick_missed", 1, 9, 3)]
    spool.append(["a f=1 4"], 4, told=spool.gaps())
    assert spool.gaps() == []


def test_a_gap_that_an_unset_clock_widens_never_stops_before_its_start(spool: Spool) -> None:
    spool.append([], 0, gaps=[Gap("tick_missed", 100, 200, 1)])
    spool.append([], 0, gaps=[Gap("tick_missed", 5, 7, 1), Gap("disk_full", 5, 7, 1)])
    spool.restamp_gaps(50, 300)
    assert set(spool.gaps()) == {Gap("tick_missed", 200, 305, 2), Gap("disk_full", 305, 307, 1)}


def test_what_age_takes_is_no_gap(spool: Spool) -> None:
    spool.append(["a f=1 1"], 1)
    spool.aging.remove(0, 2, count=True)
    assert spool.contents().lost == {"expired": 1}
    assert spool.gaps() == []
