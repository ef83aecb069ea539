from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.influx import Answer, InfluxError, UnreadableError
from pipeline.retention.sweep import LocalPoints, Place, Retention, Swept
from pipeline.settings import Age, Ages
from pipeline.spool import Spool
from tests.clocks import ManualClock
from tests.spool.stores import history

HOUR = 3600 * 10**9
DAY_S = 86_400
NOW = 1000 * HOUR
Log = pytest.LogCaptureFixture


class Remote:
    """Points of one measurement in InfluxDB: one at each of `hours`."""

    def __init__(self, *hours: float, measurement: str = "m") -> None:
        self.points = [(round(hour * HOUR), measurement) for hour in hours]
        self.deleted: list[tuple[float, float]] = []
        self.asked: list[tuple[int, int]] = []
        self.says: int | InfluxError | None = None  # instead of the oldest time
        self.fails_at: int | None = None
        self.refuses: str | None = None
        self.unreadable: set[str] = set()

    def add(self, hour: float, *measurements: str) -> None:
        self.points += [(round(hour * HOUR), name) for name in measurements or ("m",)]

    def oldest(self, start_ns: int, stop_ns: int, age: Age) -> int | None:
        self.asked.append((start_ns, stop_ns))
        assert len(self.asked) < 100, "it goes round"
        if isinstance(self.says, InfluxError):
            raise self.says
        if {name for _, name in self._of(start_ns, stop_ns, age)} & self.unreadable:
            raise UnreadableError(Answer(500, message="panic"))
        return self.says or min(self._of(start_ns, stop_ns, age), default=(None, ""))[0]

    def remove(self, start_ns: int, stop_ns: int, age: Age) -> int:
        if self.fails_at == len(self.deleted):
            raise InfluxError(Answer(503, message="out of order"))
        if self.refuses is not None and age.covers(self.refuses):
            raise InfluxError(Answer(403, message=f"not {self.refuses}"))
        self.deleted.append((start_ns / HOUR, stop_ns / HOUR))
        old = self._of(start_ns, stop_ns, age)
        self.points = [point for point in self.points if point not in old]
        return len(old)

    def remove_unreadable(self, start_ns: int, stop_ns: int, age: Age) -> list[str]:
        found = sorted({name for _, name in self._of(start_ns, stop_ns, age)} & self.unreadable)
        for name in found:
            old = self._of(start_ns, stop_ns, Age(0, name))
            self.points = [point for point in self.points if point not in old]
        return found

    def _of(self, start_ns: int, stop_ns: int, age: Age) -> list[tuple[int, str]]:
        return [p for p in self.points if start_ns <= p[0] < stop_ns and age.covers(p[1])]

    @property
    def left(self) -> list[float]:
        return [time / HOUR for time, _ in self.points]


class Bench:
    def __init__(self, directory: Path) -> None:
        self.spool = Spool(directory, 2**24)
        self.clock = ManualClock(start_ns=NOW)

    def retention(self, hours: int, **overrides: int) -> Retention:
        local = LocalPoints(self.spool.aging, delivers=True)
        return self.keeping(Ages.from_hours(hours, overrides), local)

    def keeping(self, ages: Ages, local: LocalPoints | None) -> Retention:
        return Retention(self.spool.queue(), self.clock.now_ns, ages, local)

    @staticmethod
    def place(remote: Remote, hours: int, scope: str = "s", **overrides: int) -> Place:
        kept = Ages.from_hours(hours, overrides).each
        return Place("influxdb", remote, kept, (scope,), DAY_S, behind_s=DAY_S)

    def sweep(self, hours: int, remote: Remote | None, scope: str = "s", **overrides: int) -> Swept:
        places = [] if remote is None else [self.place(remote, hours, scope, **overrides)]
        local = LocalPoints(self.spool.aging, delivers=remote is not None)
        return self.keeping(Ages.from_hours(hours, overrides), local).sweep(places)

    def fill(self, *hours: float) -> None:
        for hour in hours:
            self.fill_with("m", "m", hour=hour)

    def fill_with(self, *measurements: str, hour: float) -> None:
        self.spool.append([f"{name} f=1i" for name in measurements], round(hour * HOUR))

    @property
    def lines(self) -> list[str]:
        return [line for block in history(self.spool.path.parent) for line in block.splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path)
    yield one
    one.spool.close()


@pytest.mark.parametrize(
    ("hours", "here", "there", "swept"),
    [
        (0, [1], [1], Swept(0, 0)),
        (10, [999], [999], Swept(0, 0)),
        (10, [989.9, 990, 999], [1, 980, 989.9, 990, 999], Swept(remote=3, local=2)),
        (10, [1, 2, 999], [], Swept(remote=0, local=4)),
    ],
)
def test_what_is_older_than_the_age_goes_in_both_places_and_nothing_else(
    bench: Bench, caplog: Log, hours: int, here: list[float], there: list[float], swept: Swept
) -> None:
    bench.fill(*here)
    remote = Remote(*there) if there else None
    assert bench.sweep(hours, remote) == swept
    assert len(bench.lines) == 2 * len(here) - swept.local
    assert bench.spool.contents().lost == ({"expired": 2} if there and swept.local else {})
    if remote is not None:
        assert remote.left == there[swept.remote :]
        assert (bool(remote.asked), bool(remote.deleted)) == (hours > 0, swept.remote > 0)
    # A point in both places is one.
    most = max(swept.remote, swept.local)
    assert caplog.messages == ([f"Cleaned up {most} old metric records"] if most else [])


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(
    ("hours", "bucket_hours", "left"), [(10, 0, 2), (10, 20, 2), (10, 5, 1), (0, 5, 1), (0, 0, 3)]
)
def test_a_bucket_with_a_shorter_age_takes_readings_off_the_queue_but_not_from_the_copy(
    bench: Bench, hours: int, bucket_hours: int, left: int, *, mirror: bool
) -> None:
    bench.fill(989.999, 992, 999)
    removed = 2 if hours and not mirror else 0
    its = bench.keeping(Ages.from_hours(hours, {}), None) if mirror else bench.retention(hours)
    assert its.trim(bucket_hours * 3600) == removed
    contents = bench.spool.contents()
    assert (contents.backlog_points, len(bench.lines)) == (2 * left, 6 - removed)
    assert contents.lost == ({"expired": 6 - 2 * left} if left < 3 else {})


@pytest.mark.parametrize(
    ("hours", "bucket_hours", "oldest_kept"),
    [(10, 0, 990), (10, 5, 995), (10, 20, 990), (0, 5, 995), (200, 0, 976)],
)
def test_a_reading_may_be_old_once_a_part_of_it_is_or_the_bucket_takes_it_no_more(
    bench: Bench, hours: int, bucket_hours: int, oldest_kept: int
) -> None:
    # Of 200 h, one measurement has 24.
    retention = bench.retention(hours, cpu=24 if hours == 200 else hours)
    old = [retention.is_old(oldest_kept * HOUR + at, bucket_hours * 3600) for at in (-1, 0)]
    assert old == [True, False]


@pytest.mark.parametrize(
    ("says", "deleted"),
    [
        (None, [(10, 34), (34, 58), (700, 724), (989, 990)]),
        # A server that always names the same point ends no sweep late.
        (10 * HOUR, [(start, min(start + 24, 990)) for start in range(10, 990, 24)]),
    ],
)
def test_no_delete_spans_more_than_the_window_and_empty_stretches_are_skipped(
    bench: Bench, says: int | None, deleted: list[tuple[int, int]]
) -> None:
    remote = Remote(10, 11, 33.5, 34, 35, 700, 989)
    remote.says = says
    assert bench.sweep(10, remote).remote == 7
    assert remote.deleted == deleted


def test_the_next_sweep_begins_a_day_before_the_last_one_ended(bench: Bench) -> None:
    remote = Remote(10)
    bench.sweep(10, remote)
    bench.clock.advance(3600)
    # Delivered late: one behind the mark, and one that only a sweep from the beginning would see.
    remote.add(970)
    remote.add(1)
    assert bench.sweep(10, remote).remote == 1
    assert remote.asked[2] == (966 * HOUR, 991 * HOUR)


def test_a_sweep_of_nothing_writes_how_far_it_came_once_an_hour(bench: Bench) -> None:
    noted = []
    for _ in range(4):
        bench.sweep(10, None, cpu=24)
        noted.append(bench.spool.facts())
        bench.clock.advance(1800)
    assert noted[0] == noted[1] == noted[2] != noted[3]


@pytest.mark.parametrize(
    ("hours", "scope", "overrides", "ahead_s"),
    [
        (9, "s", {}, 0),
        (11, "s", {}, 0),
        (10, "another host", {}, 0),
        (10, "s", {"cpu": 24}, 0),
        (10, "s", {}, 365 * DAY_S),
    ],
)
def test_a_sweep_begins_at_the_oldest_again_when_what_it_is_for_differs(
    bench: Bench, hours: int, scope: str, overrides: dict[str, int], ahead_s: int
) -> None:
    remote = Remote(10)
    bench.clock.advance(ahead_s)
    bench.sweep(10, remote)
    bench.clock.advance(-ahead_s)
    remote.add(1)
    assert bench.sweep(hours, remote, scope, **overrides).remote == 1
    assert remote.left == []


def test_a_delete_that_fails_midway_loses_nothing_of_what_was_done(
    bench: Bench, caplog: Log
) -> None:
    bench.fill(1)
    remote = Remote(10, 11, 100, 101, 102, 200)
    remote.fails_at = 1
    with pytest.raises(InfluxError, match="out of order"):
        bench.sweep(10, remote)
    assert remote.left == [100, 101, 102, 200]
    assert bench.lines == []  # the local copy has its age all the same
    assert caplog.messages == ["Cleaned up 2 old metric records"]

    remote.fails_at = None
    remote.add(1)
    assert bench.sweep(10, remote).remote == 4
    assert remote.left == [1]  # it went on from there
    assert caplog.messages[1:] == ["Cleaned up 4 old metric records"]


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (InfluxError(Answer(None, message="broken")), 1),  # and not for each measurement
        (UnreadableError(Answer(500, message="broken")), 3 * 2),
    ],
)
def test_a_server_that_stays_broken_ends_the_sweep_with_a_sentence(
    bench: Bench, error: InfluxError, asked: int
) -> None:
    remote = Remote()
    remote.says = error
    with pytest.raises(InfluxError, match="broken"):
        bench.sweep(24, remote, cpu=10, disk=20)
    assert len(remote.asked) == asked


# ---- Ages that differ


def test_a_measurement_with_an_age_of_its_own_goes_earlier_or_later(bench: Bench) -> None:
    remote = Remote()
    names = ("cpu", "disk", "mem", "net")
    for hour in (880, 960, 995):
        bench.fill_with(*names, hour=hour)
        remote.add(hour, *names)
    swept = bench.sweep(24, remote, cpu=10, disk=10, net=200)
    assert sorted(remote.points) == [
        (880 * HOUR, "net"),
        (960 * HOUR, "net"),
        *((995 * HOUR, name) for name in names),
    ]
    assert bench.lines == ["net f=1i"] * 2 + [f"{name} f=1i" for name in names]
    assert swept == Swept(remote=6, local=6)
    contents = bench.spool.contents()
    assert contents.lost == {"expired": 6}
    assert contents.backlog_points == 6


@pytest.mark.parametrize(("hours", "cpu_hours", "left"), [(24, 0, "cpu"), (0, 24, "mem")])
def test_a_measurement_or_the_rest_may_be_kept_for_ever(
    bench: Bench, hours: int, cpu_hours: int, left: str
) -> None:
    remote = Remote()
    bench.fill_with("cpu", "mem", hour=1)
    remote.add(1, "cpu", "mem")
    assert bench.sweep(hours, remote, cpu=cpu_hours) == Swept(1, 1)
    assert (remote.points, bench.lines) == ([(HOUR, left)], [f"{left} f=1i"])


def test_what_is_refused_for_one_measurement_keeps_no_other_from_its_age(bench: Bench) -> None:
    remote = Remote()
    remote.add(1, "cpu", "mem", "disk")
    remote.refuses = "cpu"
    with pytest.raises(InfluxError, match="not cpu"):
        bench.sweep(24, remote, cpu=10, disk=20)
    assert remote.points == [(HOUR, "cpu")]
    remote.refuses = None
    assert bench.sweep(24, remote, cpu=10, disk=20).remote == 1


def test_what_cannot_be_read_goes_uncounted_and_keeps_no_other_from_its_age(
    bench: Bench, caplog: Log
) -> None:
    remote = Remote()
    for hour in (1, 2, 999):
        remote.add(hour, "bad", "cpu", "mem")
    remote.unreadable = {"bad"}
    swept = bench.sweep(24, remote, cpu=10)
    assert (swept.remote, swept.uncounted) == (4, ("bad",))
    assert sorted(remote.points) == [(999 * HOUR, name) for name in ("bad", "cpu", "mem")]
    assert caplog.messages == ["Cleaned up 4 old metric records"]
    assert bench.sweep(24, remote, cpu=10).uncounted == ()


def test_a_sweep_that_is_to_stop_ends_after_its_window_and_goes_on_from_there(bench: Bench) -> None:
    remote = Remote(10, 100, 200)
    answers = iter([False, True, True])
    assert bench.retention(10).sweep([bench.place(remote, 10)], lambda: next(answers)).remote == 1
    assert remote.left == [100, 200]
    place = bench.place(remote, 10, cpu=1, mem=2)
    assert bench.retention(10).sweep([place], lambda: True).remote == 0  # nor with another age
    assert bench.sweep(10, remote).remote == 2


def test_the_local_copy_is_not_unpacked_again_and_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def split(block: str) -> list[str]:
        looked.append(block)
        return block.splitlines()

    monkeypatch.setattr("pipeline.spool.aging.split_lines", split)
    for hour in range(960, 980):
        bench.fill_with("cpu", "mem", hour=hour)
    retention = bench.retention(168, cpu=24)
    assert retention.trim() == 16
    looked.clear()
    for one in (retention, bench.retention(168, cpu=24)):  # the latter after a restart
        assert one.trim() == 0
    assert looked == []
    bench.clock.advance(3600)
    assert retention.trim() == 1
    assert len(looked) == 1


def test_a_clock_that_was_ahead_keeps_no_local_line_beyond_the_longest_age(bench: Bench) -> None:
    retention = bench.retention(48, cpu=24)
    bench.fill_with("cpu", "mem", hour=900)
    bench.clock.advance(365 * DAY_S)
    assert retention.trim() == 2
    bench.clock.advance(-365 * DAY_S)
    bench.fill_with("cpu", "mem", hour=960)
    bench.fill_with("cpu", "mem", hour=900)
    assert retention.trim() == 3
    assert bench.lines == ["mem f=1i"]
