import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest

from pipeline.health.health import Health, ReadingStats
from pipeline.health.status import read_status
from pipeline.settings import Settings
from pipeline.spool import DirectoryLock, Fact, Refusal, Spool, SpoolError, SpoolReader
from tests.agents import eventually
from tests.clocks import START_NS, ManualClock
from tests.machine import open_files
from tests.spool.stores import leased

START = "2023-11-14T22:13:20.000000000Z"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@contextmanager
def another_user() -> Iterator[None]:
    """Without the rights of root, where the tests have them."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_the_newest_trouble_is_remembered_and_when_it_is_over_the_one_before(
    clock: ManualClock,
) -> None:
    noted: list[Mapping[str, str | None]] = []
    one = Health(clock, 60, noted.append)
    delivery, sweep = one.trouble("delivery"), one.trouble("sweep")
    delivery.begins("no answer")
    sweep.begins("no right")
    assert list(one.troubles().items()) == [("delivery", "no answer"), ("sweep", "no right")]
    delivery.begins("401")
    assert list(one.troubles()) == ["sweep", "delivery"]
    delivery.ends()
    sweep.ends()
    errors = [facts[Fact.LAST_ERROR] for facts in noted]
    assert errors == ["no answer", "no right", "401", "no right", None]
    assert json.loads(noted[2][Fact.TROUBLES] or "") == {"sweep": "no right", "delivery": "401"}
    assert (noted[-1][Fact.TROUBLES], one.troubles()) == (None, {})


def test_troubles_that_are_cleared_begin_anew(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    one = Health(clock, 60, lambda _: None)
    for _ in range(2):
        one.trouble("sweep").begins("no right", "Old points stay")
        one.server("main").clear("delivery", "sweep")
        assert one.troubles() == {}
    assert caplog.messages == ["Old points stay"] * 2


def test_each_server_has_figures_and_troubles_of_its_own(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    one = Health(clock, 60, lambda _: None)
    mirror, main = one.server("b"), one.server("main")
    mirror.wrote(2.5)
    main.write_failed()
    figures = [(server.name, server.last_write_s, server.retries) for server in one.servers]
    assert figures == [("main", None, 1), ("b", 2.5, 0)]
    for server in one.servers:
        server.trouble("delivery").begins(f"no answer of {server.name}", "Delivery stopped")
    assert one.troubles() == {"delivery": "no answer of main", "delivery:b": "no answer of b"}
    assert one.trouble("delivery:b") is mirror.trouble("delivery")
    main.trouble("delivery").ends()
    one.forget("b")
    assert (one.troubles(), [server.name for server in one.servers]) == ({}, ["main"])
    assert one.server("b").last_write_s is None
    assert caplog.messages == ["Delivery stopped", "Mirror b: Delivery stopped"]


def test_a_store_that_cannot_be_written_hides_no_trouble(clock: ManualClock) -> None:
    def note(_: Mapping[str, str | None]) -> None:
        raise SpoolError("the disk is full")

    one = Health(clock, 60, note)
    one.trouble("sweep").begins("no right")
    assert one.troubles() == {"sweep": "no right"}


def test_readings_that_stop_are_a_failure_after_three_intervals(clock: ManualClock) -> None:
    one = Health(clock, 60, lambda _: None)
    clock.advance(180)
    assert one.failure() is None
    clock.advance(1)
    assert one.failure() == "no reading for 181 s"
    one.reading_committed(ReadingStats(0.01, 3, {}))
    assert one.failure() is None
    assert one.last_reading == ReadingStats(0.01, 3, {})


def test_a_short_interval_makes_nobody_nervous(clock: ManualClock) -> None:
    one = Health(clock, 0.01, lambda _: None)
    clock.advance(5)
    assert one.failure() is None
    clock.advance(1)
    assert one.failure() is not None


def test_readings_that_are_not_durable_are_a_failure_and_a_server_that_is_down_is_none(
    clock: ManualClock,
) -> None:
    one = Health(clock, 60, lambda _: None)
    one.trouble("delivery").begins("no answer")
    assert one.failure() is None
    one.trouble("spool").begins("disk full")
    assert one.failure() == "disk full"


def test_before_there_is_a_store_the_status_is_that_of_the_settings(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    status = read_status(Settings(data_dir=data_dir, retention_hours=5, influxdb_url="http://x"))
    assert (status.running, status.pid, status.data_dir) == (False, None, str(data_dir))
    assert (status.collection_interval_ms, status.retention_hours) == (60_000, 5)
    assert status.influxdb_url == "http://x"
    counts = (status.ticks, status.points, status.backlog_points, status.delivered_points)
    assert counts == (0, 0, 0, 0)
    assert (status.lost, status.rejected_points, status.backlog_bytes) == ({}, 0, 0)
    unknown = (status.last_error, status.last_reading, status.backlog_oldest)
    assert (*unknown, status.bucket_retention_hours) == (None, None, None, None)
    assert not data_dir.exists()


def test_a_store_that_is_being_made_is_none_yet_and_is_not_kept_open(tmp_path: Path) -> None:
    (tmp_path / "spool.db").touch()
    before = open_files()
    for _ in range(3):
        with pytest.raises(FileNotFoundError, match="is being made") as failure:
            SpoolReader(tmp_path)
    assert psutil.Process().num_fds() == before
    assert failure.tb is not None  # whoever keeps the failure keeps no file with it
    assert read_status(Settings(data_dir=tmp_path)).ticks == 0


def test_the_status_is_the_account_of_the_store(tmp_path: Path) -> None:
    with Spool(tmp_path, 2**24) as spool:
        spool.append(["m f=1i", "m f=2i"], START_NS, {"tick_missed": 7})
        batch = leased(spool, 10)
        spool.queue().settle(batch, START_NS, [Refusal("m f=1i", "no")])
        spool.append(["m f=3i"] * 3, START_NS)
        spool.note({Fact.LAST_ERROR: "no answer", Fact.BUCKET_AGE_S: "5400"})
    status = read_status(Settings(data_dir=tmp_path))
    assert (status.ticks, status.points, status.backlog_points) == (2, 5, 3)
    assert (status.delivered_points, status.rejected_points) == (1, 1)
    assert status.lost == {"tick_missed": 7, "rejected": 1}
    assert (status.last_reading, status.backlog_oldest) == (START, START)
    assert status.backlog_bytes > 0
    assert (status.last_error, status.bucket_retention_hours) == ("no answer", 1.5)
    assert json.loads(json.dumps(dataclasses.asdict(status)))["lost"] == status.lost


def test_a_bucket_that_keeps_all_is_not_one_of_unknown_age(tmp_path: Path) -> None:
    with Spool(tmp_path, 2**24) as spool:
        spool.note({Fact.BUCKET_AGE_S: "0"})
    assert read_status(Settings(data_dir=tmp_path)).bucket_retention_hours == 0


def test_a_running_agents_own_settings_count_and_those_of_one_that_is_down_do_not(
    tmp_path: Path, clock: ManualClock
) -> None:
    settings = Settings(data_dir=tmp_path, collection_interval_ms=1000, retention_hours=1)
    lock = DirectoryLock(tmp_path, clock)
    with Spool(tmp_path, 2**24) as spool:
        spool.note({Fact.INTERVAL_MS: "5000", Fact.RETENTION_HOURS: "48"})
        up = read_status(settings)
    lock.release()
    down = read_status(settings)
    assert (up.running, up.pid) == (True, os.getpid())
    assert (up.collection_interval_ms, up.retention_hours) == (5000, 48)
    assert (down.running, down.pid) == (False, None)
    assert (down.collection_interval_ms, down.retention_hours) == (1000, 1)


@pytest.mark.parametrize("shut", [".", "spool.db"])
def test_a_store_that_this_user_may_not_read_is_an_error_with_the_fix(shut: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is below one that is shut to others
        Path(folder).chmod(0o755)
        data_dir = Path(folder, "data")
        data_dir.mkdir()
        Spool(data_dir, 2**24).close()
        (data_dir / shut).chmod(0)
        with another_user(), pytest.raises(SpoolError, match=r"try as the user of the agent$"):
            read_status(Settings(data_dir=data_dir))
        (data_dir / shut).chmod(0o700)


def test_another_interval_begins_its_own_wait(clock: ManualClock) -> None:
    one = Health(clock, 3600, lambda _: None)
    clock.advance(7200)
    one.expect(10)
    assert one.failure() is None
    clock.advance(31)
    assert one.failure() == "no reading for 31 s"


def test_what_is_noted_last_is_what_is_true_last() -> None:
    noted: list[str | None] = []
    noting, go_on = Event(), Event()

    def note(facts: Mapping[str, str | None]) -> None:
        if not noting.is_set():
            noting.set()
            assert go_on.wait(30)
        noted.append(facts["last_error"])

    health = Health(ManualClock(), 60, note)
    slow = Thread(target=health.trouble("spool").begins, args=("first",))
    slow.start()
    assert noting.wait(30)
    fast = Thread(target=health.trouble("delivery").begins, args=("second",))
    fast.start()
    eventually(lambda: "delivery" in health.troubles(), "the second trouble")
    go_on.set()
    slow.join(30)
    fast.join(30)
    assert noted[-1] == next(reversed(health.troubles().values())) == "second"
