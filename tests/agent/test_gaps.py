"""Missing readings are told of, once, where they are missing."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.agent.gaps import down
from pipeline.agent.recorder import Recorder
from pipeline.clock import Tick
from pipeline.collectors import Collector, Guard
from pipeline.health import Health
from pipeline.point import Line, Point, decode
from pipeline.retention import TrustedClock
from pipeline.settings import CollectorOptions
from pipeline.spool import Gap, Spool
from pipeline.spool.errors import DamagedError
from tests.clocks import START_NS, ManualClock
from tests.spool.stores import history, scribble

MINUTE = 60 * 10**9


class Beat(Collector):
    name = "beat"

    def __init__(self) -> None:
        pass

    def collect(self) -> list[Point]:
        return [Point("beat", {"f": 1})]


class Agent:
    """A recorder on a store, minute by minute."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.spool = Spool(directory, 2**24)
        self.health = Health(self.clock, 60, lambda _: None)
        guards = [Guard(Beat(), CollectorOptions(), self.clock)]
        self.oldest_ns = 0
        self.recorder = Recorder(
            guards, self.spool, self.clock, {"host": "h"}, self.health, lambda: self.oldest_ns
        )

    def beat(self, minute: int, missed: int = 0) -> None:
        self.recorder.record(Tick(START_NS + minute * MINUTE, missed))

    def told(self) -> list[Line]:
        lines = [line for block in history(self.spool.path.parent) for line in decode(block)]
        return [line for line in lines if line.point.measurement == "metrics_gap"]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path)
    yield made
    made.spool.close()


def gap(cause: str, minute: int, readings: int, seconds: float) -> Line:
    start_ns = START_NS + minute * MINUTE
    fields = {"readings": readings, "seconds": seconds, "start_ns": start_ns}
    return Line(Point("metrics_gap", fields, {"cause": cause, "host": "h"}), start_ns)


def test_ticks_that_came_too_late_are_a_gap(agent: Agent) -> None:
    agent.beat(1)
    agent.beat(5, missed=3)
    for minute in (6, 7):
        agent.beat(minute)
    assert agent.told() == [gap("tick_missed", 1, 3, 240.0)]


def test_ticks_that_come_too_late_one_after_the_other_are_gaps_that_are_each_told_once(
    agent: Agent,
) -> None:
    for minute in (1, 5, 9, 13):
        agent.beat(minute, missed=3 if minute > 1 else 0)
    agent.beat(14)
    assert agent.told() == [gap("tick_missed", minute, 3, 240.0) for minute in (1, 5, 9)]


def test_the_time_without_an_agent_is_a_gap(agent: Agent, tmp_path: Path) -> None:
    agent.recorder.resume(60.0)
    agent.beat(1)
    agent.beat(2)
    assert agent.told() == []
    agent.spool.close()
    again = Agent(tmp_path)
    again.recorder.resume(60.0)
    again.beat(60)
    again.beat(61)
    assert again.told() == [gap("agent_down", 2, 57, 58 * 60.0)]
    again.spool.close()


def salvaged(agent: Agent) -> None:
    for _ in agent.spool.salvage():
        pass


@pytest.fixture
def ended(agent: Agent, tmp_path: Path) -> Path:
    """The folder of an agent that took readings up to minute 9, and was stopped."""
    agent.recorder.resume(60.0)
    for minute in range(10):
        agent.beat(minute)
    agent.spool.close()
    return tmp_path


def test_the_time_without_an_agent_is_a_gap_though_its_store_was_damaged(ended: Path) -> None:
    scribble(ended / "spool.db", 0, 100)
    for minute in (60, 70):  # the second one goes on with what the first one began
        again = Agent(ended)
        again.recorder.resume(60.0)
        again.beat(minute)
        again.spool.close()
    last = Agent(ended)
    last.recorder.resume(60.0)
    salvaged(last)
    last.beat(80)
    last.beat(81)
    assert last.told() == [
        gap("agent_down", 9, 50 + 9, 61 * 60.0),
        gap("agent_down", 70, 9, 10 * 60.0),
    ]
    last.spool.close()


def test_what_was_lost_with_a_store_is_no_time_without_an_agent(ended: Path) -> None:
    def forget_the_last(db: sqlite3.Connection) -> None:
        db.execute("UPDATE tick SET lines = '' WHERE time_ns >= ?", (START_NS + 8 * MINUTE,))

    with Spool(ended, 2**24) as spool:
        spool._database.write(forget_the_last)
    scribble(ended / "spool.db", 0, 100)
    again = Agent(ended)
    again.recorder.resume(60.0)
    again.beat(60)
    salvaged(again)
    again.beat(61)
    again.beat(62)
    assert again.told() == [
        gap("agent_down", 7, 50, 53 * 60.0),
        gap("corrupt_store", 7, 2, 53 * 60.0),
    ]
    again.spool.close()


def test_a_store_that_is_damaged_while_its_agent_runs_leaves_no_time_without_one(
    ended: Path,
) -> None:
    running = Agent(ended)
    running.recorder.resume(60.0)
    running.beat(10)
    with running.spool._database.held():
        error = DamagedError(running.spool.path, "for a test")
        running.spool._store.replace(running.spool._database, error)
    running.beat(11)
    salvaged(running)
    running.beat(20, missed=8)
    running.beat(21)
    assert running.told() == [gap("tick_missed", 11, 8, 9 * 60.0)]
    running.spool.close()


def test_a_reading_that_a_program_asks_for_is_no_end_of_a_gap(agent: Agent, tmp_path: Path) -> None:
    agent.beat(1)
    agent.spool.close()
    again = Agent(tmp_path)
    again.beat(60)
    again.beat(61)
    assert again.told() == []
    again.spool.close()


@pytest.mark.parametrize(
    ("before", "now", "readings"),
    [(None, 5, 0), (1, 2, 0), (1, 2.4, 0), (1, 3, 1), (5, 1, 0), (1, 1441, 1439)],
)
def test_how_many_are_missing(before: float | None, now: float, readings: int) -> None:
    before_ns = None if before is None else round(before * MINUTE)
    found = list(down(before_ns, round(now * MINUTE), 60.0))
    assert sum(gap.readings for gap in found) == readings


def test_during_an_outage_nothing_is_told_and_afterwards_all_at_once(agent: Agent) -> None:
    agent.beat(1)
    agent.health.trouble("delivery").begins("no answer")
    agent.beat(3, missed=1)
    agent.beat(9, missed=5)
    agent.beat(10)
    assert agent.told() == []
    agent.health.trouble("delivery").ends()
    agent.beat(11)
    agent.beat(12)
    assert agent.told() == [gap("tick_missed", 1, 6, 8 * 60.0)]


def test_what_one_server_lacks_is_told_when_that_server_works_and_the_rest_meanwhile(
    agent: Agent,
) -> None:
    down = agent.health.server("b").trouble("delivery")
    down.begins("no answer")
    start_ns, stop_ns = START_NS + MINUTE, START_NS + 3 * MINUTE
    lacks = Gap("expired", start_ns, stop_ns, 3, server="b")
    agent.spool.append(["m f=1i 1"], 1, gaps=[lacks])
    agent.beat(4)
    agent.beat(6, missed=1)
    agent.beat(7)
    assert agent.told() == [gap("tick_missed", 4, 1, 120.0)]
    down.ends()
    agent.beat(8)
    agent.beat(9)
    (late,) = agent.told()[1:]
    assert late.point.tags == {"cause": "expired", "host": "h", "server": "b"}
    assert (late.timestamp_ns, late.point.fields["seconds"]) == (start_ns, 120.0)
    assert agent.spool.gaps() == []


@pytest.mark.slow
def test_readings_that_make_room_are_a_gap_and_those_delivered_are_none(tmp_path: Path) -> None:
    with Spool(tmp_path, 2**20) as spool:
        for number in range(3000):
            spool.append([f'm text="{os.urandom(500).hex()}" 1'], number * MINUTE)
            if number == 99 and (batch := spool.queue().lease(50)) is not None:
                spool.queue().settle(batch, 0)
        lost = spool.contents().lost["spool_full"]
        (told,) = spool.gaps()
    assert lost > 50
    assert told == Gap("spool_full", 50 * MINUTE, (49 + lost) * MINUTE, lost)


def test_a_gap_that_widens_while_it_is_told_is_told_again(tmp_path: Path) -> None:
    with Spool(tmp_path, 2**24) as spool:
        first, second = Gap("tick_missed", 1, 5, 2), Gap("tick_missed", 7, 9, 1)
        spool.append(["a f=1 1"], 1, gaps=[first])
        told = spool.gaps()
        spool.append(["a f=1 2"], 2, gaps=[second])
        spool.append(["a f=1 3"], 3, told=told)
        assert spool.gaps() == [Gap("tick_missed", 1, 9, 3)]
        spool.append(["a f=1 4"], 4, told=spool.gaps())
        assert spool.gaps() == []


def test_gaps_that_follow_each_other_are_told_one_by_one(agent: Agent) -> None:
    agent.beat(1)
    for minute in (3, 5, 7):
        agent.beat(minute, missed=1)
    agent.beat(8)
    assert agent.told() == [gap("tick_missed", minute, 1, 120.0) for minute in (1, 3, 5)]


def test_a_gap_that_began_before_the_age_is_told_within_it(agent: Agent) -> None:
    agent.beat(1)
    agent.beat(100, missed=98)
    agent.beat(200, missed=99)
    agent.oldest_ns = START_NS + 50 * MINUTE
    agent.beat(201)
    first, second = agent.told()
    assert first == gap("tick_missed", 1, 98, 99 * 60.0)  # told before it became too old
    assert second == gap("tick_missed", 100, 99, 100 * 60.0)
    agent.beat(300, missed=98)
    agent.oldest_ns = START_NS + 250 * MINUTE
    agent.beat(301)
    *_, third = agent.told()
    assert third.timestamp_ns == agent.oldest_ns
    assert third.point == gap("tick_missed", 201, 98, 99 * 60.0).point


class UnsetAgent(Agent):
    """An agent whose clock says 1970 until `set` puts it right."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.behind_ns = START_NS
        self.clock.wall_ns = 0
        self.trusted = TrustedClock(self.clock, self.spool, self.health, 7 * 86_400)

    def beat(self, minute: int, missed: int = 0, jumped_ns: int = 0) -> None:
        self.clock.wall_ns = START_NS + minute * MINUTE - self.behind_ns
        tick = Tick(self.clock.wall_ns, missed, jumped_ns)
        self.trusted.look(tick)
        self.recorder.record(tick)

    def set(self, minute: int) -> None:
        by_ns, self.behind_ns = self.behind_ns, 0
        self.beat(minute, jumped_ns=by_ns)


@pytest.mark.parametrize("delivers", [False, True])
def test_a_gap_before_the_clock_is_set_is_told_at_its_right_time(
    tmp_path: Path, *, delivers: bool
) -> None:
    agent = UnsetAgent(tmp_path)
    agent.beat(1)
    agent.beat(5, missed=3)
    if delivers:
        agent.health.trouble("delivery").begins("the clock is not set")
    for minute in (6, 7):
        agent.beat(minute)
    agent.set(8)
    agent.health.trouble("delivery").ends()
    agent.beat(9)
    assert agent.told() == [gap("tick_missed", 1, 3, 240.0)]
    assert agent.spool.gaps() == []
    agent.spool.close()


def test_a_gap_that_an_unset_clock_widens_never_stops_before_its_start(tmp_path: Path) -> None:
    with Spool(tmp_path, 2**24) as spool:
        spool.append([], 0, gaps=[Gap("tick_missed", 100, 200, 1)])
        spool.append([], 0, gaps=[Gap("tick_missed", 5, 7, 1), Gap("disk_full", 5, 7, 1)])
        spool.restamp_gaps(50, 300)
        assert set(spool.gaps()) == {
            Gap("tick_missed", 200, 305, 2),
            Gap("disk_full", 305, 307, 1),
        }


def test_the_time_without_an_agent_is_told_when_the_clock_is_set(
    agent: Agent, tmp_path: Path
) -> None:
    agent.beat(1)
    agent.spool.close()
    again = UnsetAgent(tmp_path)
    again.recorder.resume(60.0)
    for minute in (60, 61):
        again.beat(minute)
    again.set(62)
    again.beat(63)
    assert again.told() == [gap("agent_down", 1, 58, 59 * 60.0)]
    again.spool.close()


def test_how_long_no_agent_ran_is_not_told_where_nobody_knows(tmp_path: Path) -> None:
    before = UnsetAgent(tmp_path)
    before.beat(1)
    before.spool.close()
    again = Agent(tmp_path)
    again.recorder.resume(60.0)
    for minute in (60, 61):
        again.beat(minute)
    assert again.told() == []
    again.spool.close()


def test_what_age_takes_is_no_gap(tmp_path: Path) -> None:
    with Spool(tmp_path, 2**24) as spool:
        spool.append(["a f=1 1"], 1)
        spool.aging.remove(0, 2, count=True)
        assert spool.contents().lost == {"expired": 1}
        assert spool.gaps() == []
