"""The status of an agent: the account of each server by the store, while it runs and after."""

from dataclasses import replace
from pathlib import Path

from pipeline.health import read_status
from pipeline.settings import Mirror, Settings
from pipeline.spool import Fact, Refusal, Spool
from tests.agents import environment, mirror, running
from tests.clocks import START_NS
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.influxd.http import call
from tests.influxd.process import free_port

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


def test_a_running_agent_tells_which_server_is_down(bucket: Bucket, tmp_path: Path) -> None:
    port, down = free_port(), f"http://127.0.0.1:{free_port()}"
    env = environment(
        tmp_path / "data",
        bucket,
        http_port=port,
        collection_interval_ms=1000,
        **mirror(bucket, url=down),
    )
    with running(env, tmp_path) as agent:
        state = agent.until(
            lambda s: (
                s["delivered_points"] and not s["backlog_points"] and "delivery:b" in s["troubles"]
            ),
            "one has everything, and one is down",
        )
        health = call("GET", f"http://127.0.0.1:{port}/health").expect(200).json()
        metrics = call("GET", f"http://127.0.0.1:{port}/metrics").expect(200).body.decode()
        assert agent.stop() == 0
    assert {name: one["url"] for name, one in state["servers"].items()} == {
        "main": bucket.server.url,
        "b": down,
    }
    assert state["servers"]["main"]["delivered_points"] == state["delivered_points"]
    b = state["servers"]["b"]
    assert b["backlog_points"] == b["points"] > 0
    assert "delivery" not in health["troubles"]
    assert health["troubles"]["delivery:b"].startswith(f"no answer from {down}: ")
    assert 'metrics_agent_trouble{source="delivery:b"} 1\n' in metrics
    assert 'metrics_agent_server_delivered_points_total{server="b"} 0\n' in metrics
    query = ' |> filter(fn: (r) => r._measurement == "metrics_delivery")'
    assert {row["server"] for row in api.rows(bucket, query)} == {"main", "b"}
