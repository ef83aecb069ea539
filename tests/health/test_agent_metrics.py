from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline import __version__
from pipeline.collectors import NoData, catalogue
from pipeline.health.agent_metrics import AgentMetrics
from pipeline.health.health import Health, ReadingStats
from pipeline.point import Point
from pipeline.spool import Cause, Refusal, Spool
from tests.clocks import START_NS, ManualClock
from tests.spool.stores import leased

TYPES = {int: "integer", float: "float", str: "string"}


Fields = set[tuple[str, str, tuple[str, ...]]]


def fields_of(*points: Point) -> Fields:
    """What is in points: each field with its type and the tags of its point."""
    return {
        (field, TYPES[type(value)], tuple(point.tags))
        for point in points
        for field, value in point.fields.items()
    }


def listed(measurement: str) -> Fields:
    """What the catalogue has of a measurement."""
    return {
        (one.field, one.type, one.tags)
        for one in catalogue.load()
        if one.measurement == measurement
    }


class Itself:
    """An agent of which everything can be told."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.clock = ManualClock()
        self.health = Health(self.clock, 60, lambda _: None)
        self.collector = AgentMetrics(self.health, spool, self.clock)

    def told(self) -> Point:
        return next(iter(self.collector.collect()))


@pytest.fixture
def itself(tmp_path: Path) -> Iterator[Itself]:
    with closing(Spool(tmp_path, 2**24)) as spool:
        yield Itself(spool)


def test_account_is_the_stores(itself: Itself) -> None:
    itself.spool.append(["a f=1", "b f=1"], START_NS - 30 * 10**9, {"tick_missed": 3})
    itself.spool.append(["a f=2", "b f=2", "c f=2"], START_NS)
    batch = leased(itself.spool, 1)
    itself.spool.queue().settle(batch, START_NS, [Refusal("b f=1", "no")])
    itself.clock.advance(5.0)
    point = itself.told()
    assert point.tags == {}
    losses = {f"lost_{cause}": 0 for cause in Cause if cause != "mirror_removed"} | {
        "lost_tick_missed": 3,
        "lost_rejected": 1,
    }
    assert point.fields.items() >= losses.items()
    expected = {
        "ticks": 2,
        "points": 5,
        "delivered_points": 1,
        "backlog_points": 3,
        "backlog_age_s": 5.0,
        "rejected_points": 1,
    }
    assert point.fields.items() >= expected.items()
    size = point.fields["backlog_bytes"]
    assert isinstance(size, int)
    assert 0 < size < 100


def test_with_mirrors_each_server_has_a_point_of_its_own(itself: Itself) -> None:
    for name, seconds in (("main", 0.5), ("b", 0.25)):
        itself.health.server(name).wrote(seconds)
    for _ in itself.spool.serve(["b"]):
        pass
    itself.health.server("b").write_failed()
    itself.spool.append(["a f=1", "b f=1"], START_NS - 30 * 10**9, {"tick_missed": 3})
    itself.spool.append(["a f=2"], START_NS)
    batch = itself.spool.queue("b").lease(2)
    assert batch is not None
    itself.spool.queue("b").settle(batch, START_NS, [Refusal("b f=1", "no")])
    main, b = (point for point in itself.collector.collect() if point.tags)
    assert (main.measurement, main.tags) == ("metrics_delivery", {"server": "main"})
    assert (b.measurement, b.tags) == ("metrics_delivery", {"server": "b"})
    expected = {"points": 3, "delivered_points": 0, "backlog_points": 3, "backlog_age_s": 30.0}
    assert main.fields.items() >= expected.items()
    assert main.fields.items() >= {"write_ms": 500.0, "retries": 0, "lost_rejected": 0}.items()
    expected = {"points": 3, "delivered_points": 1, "backlog_points": 1, "backlog_age_s": 0.0}
    assert b.fields.items() >= expected.items()
    assert b.fields.items() >= {"write_ms": 250.0, "retries": 1, "lost_rejected": 1}.items()
    assert "lost_tick_missed" not in main.fields  # it is no server's affair
    assert fields_of(main, b) == listed("metrics_delivery")


def test_work_is_that_of_this_run(itself: Itself) -> None:
    itself.clock.advance(90.0)
    itself.health.server("main").write_failed()
    itself.health.server("main").write_failed()
    itself.health.server("main").wrote(1)  # an integer, though it should be seconds
    itself.health.reading_committed(ReadingStats(2, 17, {"cpu": 1, "mem": 0.0005}))
    point, *collectors = itself.collector.collect()
    expected = {
        "uptime_s": 90.0,
        "retries": 2,
        "write_ms": 1000.0,
        "tick_ms": 2000.0,
        "tick_points": 17,
        "version": __version__,
    }
    assert point.fields.items() >= expected.items()
    assert collectors == [
        Point("metrics_agent", {"collect_ms": 1000.0}, {"collector": "cpu"}),
        Point("metrics_agent", {"collect_ms": 0.5}, {"collector": "mem"}),
    ]
    memory, processor = point.fields["memory_rss"], point.fields["cpu_time_s"]
    assert isinstance(memory, int)
    assert 2**20 < memory < 2**33
    assert isinstance(processor, float)
    assert processor > 0
    assert fields_of(point, *collectors) == listed("metrics_agent")


def test_what_did_not_happen_yet_is_absent_and_no_age_is_below_nought(itself: Itself) -> None:
    fields = itself.told().fields
    assert (fields["backlog_points"], fields["backlog_age_s"]) == (0, 0.0)
    assert not fields.keys() & {"tick_ms", "tick_points", "write_ms"}
    itself.clock.advance(60)
    itself.spool.append(["a f=1"], START_NS + 3600 * 10**9)  # before the clock was set back
    assert itself.told().fields["backlog_age_s"] == 0.0


def test_it_is_told_each_minute_at_most_and_with_none_of_a_minutes_ticks_left_out(
    itself: Itself,
) -> None:
    for late in (0.0, 0.3, 0.0, 0.2, -0.4):
        itself.told()
        itself.clock.advance(60.0 + late)
    itself.told()
    for _ in range(58):
        itself.clock.advance(1.0)
        with pytest.raises(NoData):
            itself.told()


def test_an_account_that_cannot_be_read_is_no_failure_of_its_own(itself: Itself) -> None:
    itself.spool.close()
    with pytest.raises(NoData):
        itself.told()
