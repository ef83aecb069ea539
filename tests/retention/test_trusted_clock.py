import gzip
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from pipeline.clock import PLAUSIBLE_NS, Schedule, Tick
from pipeline.health import Health
from pipeline.influx import LARGEST_SKEW_S
from pipeline.retention.sweep import LocalPoints, Retention
from pipeline.retention.trusted_clock import TrustedClock
from pipeline.settings import Ages
from pipeline.spool import Spool
from tests.clocks import START_NS, ManualClock

HOUR_S = 3600
DAY_S = 24 * HOUR_S
AGE_H = 168
SECOND = 10**9


class Bench:
    """A clock, and what keeps an eye on it."""

    def __init__(self, directory: Path, start_ns: int) -> None:
        self.directory = directory
        self.clock = ManualClock(start_ns)
        self.spool = Spool(directory, 2**24)
        self.restart()

    def restart(self) -> None:
        self.spool.close()
        self.spool = Spool(self.directory, 2**24)
        self.health = Health(self.clock, 60, lambda _: None)
        self.keeper = TrustedClock(self.clock, self.spool, self.health, AGE_H * HOUR_S)
        local = LocalPoints(self.spool.aging, delivers=True)
        queue, now_ns = self.spool.queue(), self.keeper.now_ns
        self.retention = Retention(queue, now_ns, Ages.from_hours(AGE_H, {}), local)

    def jump(self, seconds: float) -> None:
        """Set the wall clock, and nothing else."""
        self.clock.wall_ns += round(seconds * SECOND)

    def read(self, schedule: Schedule, number: int) -> None:
        for _ in range(number):
            tick = schedule.wait(Event())
            assert tick is not None
            self.keeper.look(tick)
            stamp = tick.timestamp_ns
            self.spool.append([f'm text="a b" {stamp}', f"m n=1i {stamp}"], stamp)

    @property
    def behind_s(self) -> float:
        """How far the believed time is behind the wall clock."""
        return (self.clock.wall_ns - self.keeper.now_ns()) / SECOND

    @property
    def times(self) -> list[int]:
        """The times of the readings in the order in which they were taken."""
        found = []
        while (batch := self.spool.queue().lease(1)) is not None:
            lines = gzip.decompress(batch.body).decode().splitlines()
            (stamp,) = {int(line.rpartition(" ")[2]) for line in lines}
            found.append(stamp)
            self.spool.queue().settle(batch, 0)
        return found


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    one = Bench(tmp_path, getattr(request, "param", START_NS))
    yield one
    one.spool.close()


in_1970 = pytest.mark.parametrize("bench", [5 * SECOND], indirect=True, ids=["1970"])


@pytest.mark.parametrize("seconds", [0, -DAY_S, -60, 60, HOUR_S])
def test_a_clock_that_goes_on_or_is_set_back_is_believed(bench: Bench, seconds: int) -> None:
    for _ in range(3):
        assert bench.behind_s == 0
        bench.jump(seconds)
        assert bench.behind_s == 0
        bench.clock.advance(DAY_S)


def test_a_clock_that_jumps_far_ahead_is_believed_after_an_hour_and_not_before(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    assert bench.behind_s == 0
    for back in (True, False):  # the first one is corrected within the hour
        bench.jump(DAY_S)
        for _ in range(6):
            assert bench.behind_s == DAY_S
            bench.clock.advance(599 if back else 600)
        bench.jump(-DAY_S if back else 0)
        assert bench.behind_s == 0
    first, _ = caplog.messages
    assert first == (
        "The clock says 2023-11-15T22:13:20.000000000Z, 1 day, 0:00:00 later than expected: "
        "nothing is deleted by that until InfluxDB's date or an hour confirms it"
    )


def test_while_influxdbs_date_contradicts_a_clock_is_never_believed_and_told_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.jump(365 * DAY_S)
    for _ in range(50):
        bench.keeper.server_says(bench.clock.wall_ns // SECOND - 365 * DAY_S)
        assert bench.behind_s == 365 * DAY_S
        bench.clock.advance(1800)
    told = "his machine's clock is 365 days, 0:00:00 ahead of InfluxDB's; set it, by NTP for one"
    assert bench.health.troubles() == {"clock": f"t{told}"}
    assert [message for message in caplog.messages if "NTP" in message] == [f"T{told}"]
    bench.keeper.server_says(bench.clock.wall_ns // SECOND + 1)  # that confirms it
    assert (bench.behind_s, bench.health.troubles()) == (0, {})


@pytest.mark.parametrize(("way", "which"), [(1, "ahead of"), (-1, "behind")])
def test_a_clock_at_the_bound_is_told_once_and_deletes_nothing_early(
    bench: Bench, caplog: pytest.LogCaptureFixture, way: int, which: str
) -> None:
    def told(skew: float) -> str:
        bench.keeper.server_says(bench.clock.wall_ns / SECOND - way * skew * LARGEST_SKEW_S)
        assert bench.behind_s == 0
        return bench.health.troubles().get("clock", "")

    assert told(1) == ""
    for skew in (1.1, 0.9, 1.1, 0.9):
        assert f"{which} InfluxDB's" in told(skew)
    assert told(0.4) == ""
    assert len(caplog.messages) == 1


def test_what_is_believed_outlives_a_restart(bench: Bench) -> None:
    bench.keeper.remember()
    bench.jump(365 * DAY_S)
    bench.keeper.remember()
    bench.restart()
    assert bench.behind_s == 365 * DAY_S
    bench.jump(-365 * DAY_S + 60)
    assert bench.behind_s == 0


def test_a_clock_that_was_far_ahead_costs_no_reading(bench: Bench) -> None:
    schedule = Schedule(bench.clock, 60_000)
    bench.read(schedule, 3)
    bench.retention.trim()
    bench.jump(365 * DAY_S)
    for _ in range(3):
        bench.read(schedule, 1)
        assert bench.retention.trim(bucket_age_s=DAY_S) == 0
        assert bench.retention.sweep().points == 0
    bench.jump(-365 * DAY_S)
    bench.read(schedule, 3)
    assert bench.retention.trim(bucket_age_s=DAY_S) == 0
    contents = bench.spool.contents()
    assert (contents.ticks, contents.backlog_points, contents.lost) == (9, 18, {})


@in_1970
def test_readings_of_1970_get_their_time_when_the_clock_is_set(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    schedule = Schedule(bench.clock, 10_000)
    bench.read(schedule, 3)
    assert "not set: it says 1970" in bench.keeper.unset()
    assert set(bench.health.troubles()) == {"clock"}
    bench.jump(365 * DAY_S)  # half set
    bench.read(schedule, 2)
    assert "1971" in bench.keeper.unset()
    bench.clock.wall_ns = START_NS
    assert bench.keeper.unset()  # until the next tick
    assert bench.retention.trim(bucket_age_s=DAY_S) == 0
    bench.read(schedule, 2)
    assert (bench.keeper.unset(), bench.health.troubles()) == ("", {})
    assert bench.retention.trim(bucket_age_s=DAY_S) == 0
    assert bench.spool.contents().lost == {}
    times = bench.times
    # At 5, 10, 20, 30 and 40 s by the first clock, which was set at 40 s; then each 10 s.
    assert [round((time - START_NS) / SECOND) for time in times] == [-35, -30, -20, -10, 0, 10, 20]
    assert len([message for message in caplog.messages if "got their time" in message]) == 2


@in_1970
@pytest.mark.slow
def test_readings_of_days_get_their_time_some_with_each_tick(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    restamp = bench.spool.restamp

    def slow(*args: Any) -> Any:
        bench.clock.advance(0.15)
        return restamp(*args)

    monkeypatch.setattr(bench.spool, "restamp", slow)
    for second in range(500):
        bench.spool.append([f"m f=1i {second * SECOND}"], second * SECOND)
    bench.clock.wall_ns = START_NS
    by_ns = START_NS - 500 * SECOND
    bench.keeper.look(Tick(bench.clock.wall_ns, 0, by_ns))
    bench.spool.append([f"m f=1i {START_NS}"], START_NS)  # by a clock that is set
    assert bench.keeper.unset() == bench.health.troubles()["clock"]
    assert "get their time" in bench.keeper.unset()
    assert bench.retention.trim(bucket_age_s=DAY_S) == 0  # of what has no time yet
    bench.keeper.look(Tick(bench.clock.wall_ns, 0, 0))
    assert (bench.keeper.unset(), bench.health.troubles()) == ("", {})
    assert bench.times == [*(second * SECOND + by_ns for second in range(500)), START_NS]


def test_a_clock_that_falls_back_to_1970_for_a_while_misdates_nothing(bench: Bench) -> None:
    schedule = Schedule(bench.clock, 10_000)
    bench.read(schedule, 2)
    first = bench.clock.wall_ns
    bench.clock.wall_ns = 0
    assert bench.keeper.unset()  # at once: nothing is sent
    bench.read(schedule, 2)
    bench.clock.wall_ns = first + 20 * SECOND
    bench.read(schedule, 2)
    steps = [round((after - before) / SECOND) for before, after in pairwise(bench.times)]
    assert steps == [10] * 5


@in_1970
def test_readings_of_an_earlier_process_are_left_as_they_are(bench: Bench) -> None:
    bench.read(Schedule(bench.clock, 10_000), 1)
    bench.restart()
    schedule = Schedule(bench.clock, 10_000)
    bench.read(schedule, 1)
    bench.clock.wall_ns = START_NS
    bench.read(schedule, 1)
    # How long the machine was off in between, nobody knows.
    assert [time < PLAUSIBLE_NS for time in bench.times] == [True, False, False]
