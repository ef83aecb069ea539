"""The status of an agent: the account of each server by the store, while it runs and after."""

from dataclasses import replace
from pathlib import Path

from pipeline.health import read_status
from pipeline.settings import Mirror, Settings
from pipeline.spool import Fact, Refusal, Spool
from tests.clocks import START_NS

MIRROR = Mirror("http://b:8086", "o", "b", "t")


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
        batch = queue.lease(10)
        assert batch is not None
        queue.settle(batch, START_NS, [Refusal("b f=1", "no")])
        queue.note({Fact.URL: "http://before:1", Fact.BUCKET_AGE_S: "7200", Fact.BUCKET_DRIFT: "x"})
    found = read_status(both)
    main, b = found.servers["main"], found.servers["b"]
    assert (main.points, main.backlog_points, main.delivered_points) == (2, 2, 0)
    assert (main.lost, main.bucket_drift) == ({"tick_missed": 3}, None)
    assert (b.points, b.backlog_points, b.backlog_oldest, b.delivered_points) == (2, 0, None, 1)
    assert (b.lost, b.rejected_points) == ({"rejected": 1}, 1)
    assert (b.url, b.bucket_retention_hours, b.bucket_drift) == ("http://b:8086", 2, "x")
    own = found.as_json()
    assert own["servers"]["b"]["delivered_points"] == 1
    for name in own["servers"]["main"].keys() - {"url"}:
        assert own[name] == own["servers"]["main"][name]
    # Taken out of the settings while no agent runs: its queue is there until one does.
    left = read_status(alone)
    assert left.servers["b"] == replace(b, url="http://before:1")
    with Spool(tmp_path, 2**24) as spool:
        for _ in spool.serve([]):
            pass
    assert read_status(alone).servers == {}
    assert "servers" not in read_status(alone).as_json()
