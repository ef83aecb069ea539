"""The status of an agent: the account of each server by the store, while it runs and after."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from pipeline.health import read_status
from pipeline.settings import Mirror, Settings
from pipeline.spool import DirectoryLock, Fact, Refusal, Spool, SpoolError, SpoolReader
from tests.clocks import START_NS, ManualClock
from tests.machine import another_user, open_files
from tests.spool.stores import leased

START = "2023-11-14T22:13:20.000000000Z"
MIRROR = Mirror("http://b:8086", "o", "b", "t")


def test_before_there_is_a_store_the_status_is_that_of_the_settings(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    found = read_status(Settings(data_dir=data_dir, retention_hours=5, influxdb_url="http://x"))
    counts = ("ticks", "points", "backlog_points", "backlog_bytes", "delivered_points")
    unknown = ("pid", "last_error", "last_salvage", "last_reading", "backlog_oldest")
    assert found.as_json() == {
        "running": False,
        "data_dir": str(data_dir),
        "collection_interval_ms": 60_000,
        "retention_hours": 5,
        "influxdb_url": "http://x",
        **dict.fromkeys((*counts, "rejected_points"), 0),
        **dict.fromkeys((*unknown, "bucket_retention_hours", "bucket_drift")),
        "lost": {},
        "troubles": {},
    }
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


def test_a_running_agents_own_settings_count_and_those_of_one_that_is_down_do_not(
    tmp_path: Path,
) -> None:
    settings = Settings(data_dir=tmp_path, collection_interval_ms=1000, retention_hours=1)
    lock = DirectoryLock(tmp_path, ManualClock())
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
    with TemporaryDirectory() as folder:  # tmp_path is below one that is shut to others
        Path(folder).chmod(0o755)
        data_dir = Path(folder, "data")
        data_dir.mkdir()
        Spool(data_dir, 2**24).close()
        (data_dir / shut).chmod(0)
        with another_user(), pytest.raises(SpoolError, match=r"try as the user of the agent$"):
            read_status(Settings(data_dir=data_dir))
        (data_dir / shut).chmod(0o700)


def test_each_server_has_its_account_where_there_are_mirrors(tmp_path: Path) -> None:
    alone = Settings(influxdb_url="http://a:8086", data_dir=tmp_path)
    both = replace(alone, mirrors={"b": MIRROR})
    found = read_status(both)  # before there is a store
    assert {name: one.url for name, one in found.servers.items()} == {
        "main": "http://a:8086",
        "b": "http://b:8086",
    }
    with Spool(tmp_path, 2**24) as spool:
        for _ in spool.serve(["b"]):
            pass
        spool.append(["a f=1", "b f=1"], START_NS, {"tick_missed": 3})
        queue = spool.queue("b")
        queue.settle(leased(spool, 10, server="b"), START_NS, [Refusal("b f=1", "no")])
        queue.note({Fact.URL: "http://before:1", Fact.BUCKET_AGE_S: "5400", Fact.BUCKET_DRIFT: "x"})
        spool.note({Fact.LAST_ERROR: "no answer", Fact.BUCKET_AGE_S: "0"})
    found = read_status(both)
    main, b = found.main, found.mirrors["b"]
    assert (found.ticks, found.last_reading, found.last_error) == (1, START, "no answer")
    assert (main.points, main.backlog_points, main.delivered_points) == (2, 2, 0)
    assert (main.backlog_oldest, main.backlog_bytes > 0) == (START, True)
    assert (main.lost, main.bucket_drift) == ({"tick_missed": 3}, None)
    assert main.bucket_retention_hours == 0  # for ever, and not unknown
    assert (b.points, b.backlog_points, b.backlog_oldest, b.delivered_points) == (2, 0, None, 1)
    assert (b.lost, b.rejected_points) == ({"rejected": 1}, 1)
    assert (b.url, b.bucket_retention_hours, b.bucket_drift) == ("http://b:8086", 1.5, "x")
    own = json.loads(json.dumps(found.as_json()))
    assert own["servers"] == {"main": asdict(main), "b": asdict(b)}
    for name in own["servers"]["main"].keys() - {"url"}:
        assert own[name] == own["servers"]["main"][name]
    # Taken out of the settings while no agent runs: its queue is there until one does.
    left = read_status(alone)
    assert left.mirrors == {"b": replace(b, url="http://before:1")}
    with Spool(tmp_path, 2**24) as spool:
        for _ in spool.serve([]):
            pass
    assert read_status(alone).servers == {}
