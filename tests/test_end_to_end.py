"""The whole way, with the real agent, the real server and real faults."""

import random
from pathlib import Path
from typing import Any

import pytest

from pipeline.point import decode
from pipeline.spool import SpoolReader
from tests.agents import SELDOM_MS, environment, mirror, running
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.influxd.process import InfluxProcess

Key = tuple[str, tuple[tuple[str, str], ...], str, int]


def spooled(data_dir: Path) -> dict[Key, object]:
    with SpoolReader(data_dir) as reader:
        return {
            (
                line.point.measurement,
                tuple(sorted(line.point.tags.items())),
                key,
                line.timestamp_ns,
            ): v
            for block in reader.history(0)
            for line in decode(block)
            for key, v in line.point.fields.items()
        }


def stored(bucket: Bucket) -> dict[Key, object]:
    own = {"result", "table", "_start", "_stop", "_time", "_value", "_field", "_measurement"}
    rows = api.rows(bucket)
    return {
        (
            str(row["_measurement"]),
            tuple(sorted((k, str(v)) for k, v in row.items() if k not in own and v is not None)),
            str(row["_field"]),
            int(str(row["_time"])),
        ): row["_value"]
        for row in rows
    }


def assert_same(bucket: Bucket, data_dir: Path) -> None:
    """What is in InfluxDB is what was spooled: every value, its type, and nothing else."""
    expected, found = spooled(data_dir), stored(bucket)
    assert expected
    assert found.keys() == expected.keys()
    wrong = [
        key for key, v in expected.items() if type(found[key]) is not type(v) or found[key] != v
    ]
    assert wrong == []


def assert_account(status: dict[str, Any]) -> None:
    accounted = status["delivered_points"] + status["backlog_points"] + sum(lost(status).values())
    assert status["points"] == accounted


def lost(status: dict[str, Any]) -> dict[str, int]:
    """What was lost of the readings that were taken: a busy machine may miss to take some."""
    return {cause: points for cause, points in status["lost"].items() if cause != "tick_missed"}


def waits(status: dict[str, Any]) -> bool:
    """Whether a server has not got all that is meant for it, or has no queue yet."""
    servers = status["servers"].values()
    return any(one["delivered_points"] < one["points"] or not one["points"] for one in servers)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def breakable(influx_process: InfluxProcess) -> Bucket:
    """A bucket on a server that a test may stop and kill."""
    return api.create_bucket(influx_process.server, "metrics")


def test_every_value_is_in_influxdb_as_it_was_spooled_type_included(
    bucket: Bucket, missing: str, data_dir: Path, tmp_path: Path
) -> None:
    other = Bucket(bucket.server, missing, id="")
    env = environment(data_dir, bucket, collection_interval_ms=50, **mirror(other))
    with running(env, tmp_path) as agent:
        agent.until(lambda s: s["ticks"] >= 20 and s["delivered_points"], "20 readings")
        assert agent.stop() == 0
        status = agent.status()
    assert (status["backlog_points"], lost(status)) == (0, {})
    assert status["running"] is False
    assert status["delivered_points"] == status["points"]
    for place in (bucket, other):
        assert_same(place, data_dir)
    here = {"system_metrics", "cpu", "mem", "swap", "disk", "net", "system", "processes"}
    assert {measurement for measurement, *_ in stored(bucket)} >= {*here, "metrics_agent"}


def test_a_move_to_a_mirror_leaves_no_gap(
    bucket: Bucket, missing: str, data_dir: Path, tmp_path: Path
) -> None:
    other = Bucket(bucket.server, missing, id="")
    for main, further, name in ((bucket, other, "new"), (other, bucket, "old")):
        env = environment(data_dir, main, collection_interval_ms=SELDOM_MS, **mirror(further, name))
        with running(env, tmp_path) as agent:
            begun = agent.status()["points"]
            agent.until(lambda s, b=begun: s["points"] > b and not waits(s), "a reading at both")  # type: ignore[misc]  # mypy cannot infer the default
            assert agent.stop() == 0
            status = agent.status()
        assert (status["servers"].keys(), waits(status)) == ({"main", name}, False)
        assert all(lost(one) == {} for one in status["servers"].values())
    for place in (bucket, other):
        assert_same(place, data_dir)


@pytest.mark.parametrize("when", ["at the start", "in the middle"])
def test_an_outage_loses_nothing(
    influx_process: InfluxProcess, breakable: Bucket, data_dir: Path, tmp_path: Path, when: str
) -> None:
    if when == "at the start":
        influx_process.stop()
    with running(environment(data_dir, breakable, collection_interval_ms=50), tmp_path) as agent:
        if when == "in the middle":
            agent.until(lambda s: s["delivered_points"], "the first delivery")
            influx_process.stop()
        broken = agent.until(lambda s: s["last_error"] and s["backlog_points"] > 50, "a backlog")
        assert "no answer from" in broken["last_error"]
        influx_process.start()
        agent.until(lambda s: s["last_error"] is None and s["delivered_points"], "that it heals")
        assert agent.stop() == 0
        assert_account(agent.status())
        assert agent.status()["backlog_points"] == 0
        assert agent.log.count("Delivery stopped") == 1
        assert agent.log.count("Delivery works again") == 1
    assert_same(breakable, data_dir)


def test_sigkill_at_any_moment_loses_no_reading_that_was_counted(
    bucket: Bucket, data_dir: Path, tmp_path: Path
) -> None:
    env = environment(data_dir, bucket, collection_interval_ms=10)
    moments = random.Random(3)  # noqa: S311  # chance that comes back is wanted
    ticks = 0
    for _ in range(6):
        with running(env, tmp_path) as agent:
            least = ticks + moments.randint(1, 20)
            agent.until(lambda s, n=least: s["ticks"] >= n, "new readings")  # type: ignore[misc]  # mypy cannot infer the default
            agent.kill()
            status = agent.status()
            assert status["ticks"] >= ticks
            assert_account(status)
            ticks = status["ticks"]
    with running(env, tmp_path) as agent:
        agent.until(
            lambda s: s["running"] and s["delivered_points"] >= status["points"],
            "that the backlog is delivered",
        )
        assert agent.stop() == 0
        status = agent.status()
    assert (status["backlog_points"], lost(status)) == (0, {})
    assert_same(bucket, data_dir)
