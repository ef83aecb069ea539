import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ages import Age, ages
from pipeline.influx.connection import InfluxError
from pipeline.influx.verdicts import Answer
from pipeline.retention import Place, Retention, Swept
from pipeline.spool import Spool
from tests.clocks import ManualClock

HOUR = 3600 * 10**9
DAY_S = 86_400
NOW = 1000 * HOUR


class Remote:
    """Points in InfluxDB: one at each of `times`."""

    def __init__(self, *hours: float) -> None:
        self.times = [round(hour * HOUR) for hour in hours]
        self.deleted: list[tuple[float, float]] = []
        self.asked: list[tuple[int, int]] = []
        self.fails_at: int | None = None

    def oldest(self, start_ns: int, stop_ns: int, _: Age) -> int | None:
        self.asked.append((start_ns, stop_ns))
        return min((time for time in self.times if start_ns <= time < stop_ns), default=None)

    def remove(self, start_ns: int, stop_ns: int, _: Age) -> int:
        if self.fails_at == len(self.deleted):
            raise InfluxError(Answer(503, message="out of order"))
        self.deleted.append((start_ns / HOUR, stop_ns / HOUR))
        before = len(self.times)
        self.times = [time for time in self.times if not start_ns <= time < stop_ns]
        return before - len(self.times)

    @property
    def left(self) -> list[float]:
        return [time / HOUR for time in self.times]


class Bench:
    def __init__(self, directory: Path) -> None:
        self.spool = Spool(directory, 2**24)
        self.clock = ManualClock(start_ns=NOW)

    def retention(self, hours: int, *, delivers: bool = True, **overrides: int) -> Retention:
        return Retention(self.spool, self.clock, ages(hours, overrides), delivers=delivers)

    def sweep(self, hours: int, remote: Remote | None, scope: str = "s", **overrides: int) -> Swept:
        places = []
        if remote is not None:
            kept = ages(hours, overrides)
            places = [Place("influxdb", remote, kept, (scope,), DAY_S, behind_s=DAY_S)]
        retention = self.retention(hours, delivers=remote is not None, **overrides)
        return retention.sweep(places)

    def fill(self, *hours: float) -> None:
        for hour in hours:
            self.spool.append(["m f=1i"] * 2, round(hour * HOUR))

    @property
    def local(self) -> int:
        return sum(block.count("\n") for block in self.spool.history(0))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path)
    yield one
    one.spool.close()


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_age_0_keeps_everything_everywhere(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.fill(1)
    remote = Remote(1)
    assert bench.sweep(0, remote) == Swept(0, 0)
    assert (bench.local, remote.left, remote.asked, caplog.messages) == (2, [1], [], [])


def test_what_is_older_than_the_age_goes_in_both_places_and_nothing_else(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fill(989.9, 990, 999)
    remote = Remote(980, 989.9, 990, 999)
    assert bench.sweep(10, remote) == Swept(remote=2, local=2)
    assert remote.left == [990, 999]
    assert bench.local == 4
    assert caplog.messages == ["Cleaned up 2 old metric records"]


def test_a_point_in_both_places_is_one_point() -> None:
    assert Swept(remote=5, local=3).points == 5
    assert Swept(remote=3, local=5).points == 5


def test_nothing_to_clean_up_is_not_told(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.fill(999)
    remote = Remote(999)
    assert bench.sweep(10, remote).points == 0
    assert (remote.deleted, caplog.messages) == ([], [])


def test_without_influxdb_the_local_copy_is_swept_alone(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fill(1, 2, 999)
    assert bench.sweep(10, None) == Swept(remote=0, local=4)
    assert caplog.messages == ["Cleaned up 4 old metric records"]
    assert bench.spool.contents().lost == {}


def test_undelivered_readings_that_grow_too_old_are_a_loss_where_there_is_a_server(
    bench: Bench,
) -> None:
    bench.fill(1)
    assert bench.retention(10).trim() == 2
    assert bench.spool.contents().lost == {"expired": 2}


def test_a_bucket_with_a_shorter_age_takes_readings_off_the_queue_but_not_from_the_copy(
    bench: Bench,
) -> None:
    bench.fill(1, 995, 999)
    assert bench.retention(10).trim(bucket_age_s=3 * 3600) == 2
    contents = bench.spool.contents()
    assert (contents.backlog_points, contents.lost) == (2, {"expired": 4})
    assert bench.local == 4


def test_a_bucket_with_a_longer_age_or_none_takes_nothing_more(bench: Bench) -> None:
    bench.fill(995, 999)
    for bucket_age_s in (0, 100 * 3600):
        assert bench.retention(10).trim(bucket_age_s) == 0
    assert bench.spool.contents().backlog_points == 4


def test_with_age_0_a_buckets_age_still_counts_for_what_is_sent(bench: Bench) -> None:
    bench.fill(1, 999)
    assert bench.retention(0).trim(bucket_age_s=3 * 3600) == 0
    assert (bench.spool.contents().backlog_points, bench.local) == (2, 4)


def test_no_delete_spans_more_than_the_window_and_empty_stretches_are_skipped(
    bench: Bench,
) -> None:
    remote = Remote(10, 11, 33.5, 34, 35, 700, 989)
    assert bench.sweep(10, remote).remote == 7
    assert remote.deleted == [(10, 34), (34, 58), (700, 724), (989, 990)]


def test_the_next_sweep_begins_a_day_before_the_last_one_ended(bench: Bench) -> None:
    remote = Remote(10)
    bench.sweep(10, remote)
    bench.clock.advance(3600)
    # Delivered late: one behind the mark, and one that only a sweep from the beginning would see.
    remote.times += [970 * HOUR, HOUR]
    assert bench.sweep(10, remote).remote == 1
    assert remote.asked[2] == (966 * HOUR, 991 * HOUR)


def test_a_clock_that_was_ahead_keeps_no_later_sweep_from_its_work(bench: Bench) -> None:
    remote = Remote()
    bench.clock.advance(365 * 86_400)
    bench.sweep(10, remote)
    bench.clock.advance(-365 * 86_400)
    remote.times.append(HOUR)
    assert bench.sweep(10, remote).remote == 1


@pytest.mark.parametrize(("hours", "scope"), [(9, "s"), (11, "s"), (10, "another host")])
def test_the_sweep_begins_at_the_oldest_again_when_the_age_or_the_scope_differs(
    bench: Bench, hours: int, scope: str
) -> None:
    remote = Remote(10)
    bench.sweep(10, remote)
    remote.times.append(HOUR)
    assert bench.sweep(hours, remote, scope).remote == 1
    assert remote.left == []


def test_a_delete_that_fails_midway_loses_nothing_of_what_was_done(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fill(1)
    remote = Remote(10, 11, 100, 101, 102, 200)
    remote.fails_at = 1
    with pytest.raises(InfluxError, match="out of order"):
        bench.sweep(10, remote)
    assert remote.left == [100, 101, 102, 200]
    assert bench.local == 0
    assert caplog.messages == ["Cleaned up 2 old metric records"]

    remote.fails_at = None
    remote.times.append(HOUR)
    assert bench.sweep(10, remote).remote == 4
    assert remote.left == [1]  # it went on from there
    assert caplog.messages[1:] == ["Cleaned up 4 old metric records"]


def test_a_server_that_fails_does_not_keep_the_local_copy_from_its_age(bench: Bench) -> None:
    bench.fill(1)
    remote = Remote(10)
    remote.fails_at = 0
    with pytest.raises(InfluxError):
        bench.sweep(10, remote)
    assert bench.local == 0
