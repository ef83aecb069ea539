"""What `run` makes of a data directory whose store is not as it should be."""

import subprocess
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.spool import DirectoryLock, Fact, Spool, SpoolReader
from tests.agents import SELDOM_MS, AgentProcess, environment, eventually, running
from tests.influxd.api import Bucket
from tests.machine import tiny_disk
from tests.spool.stores import MB, aside, scribble, sql
from tests.test_end_to_end import assert_account, assert_same

pytestmark = pytest.mark.slow


def refused(folder: Path, cwd: Path) -> str:
    """Return the one line with which the agent ends at once."""
    agent = AgentProcess(environment(folder), cwd)
    assert agent.ended() == 1
    (line,) = agent.log.splitlines()
    return line


def test_a_store_that_is_not_for_this_version_ends_it_with_a_sentence(tmp_path: Path) -> None:
    Spool(tmp_path, MB).close()
    sql(tmp_path, "PRAGMA user_version = 99")
    told = " has format 99, this version reads 7; run the version that"
    assert refused(tmp_path, tmp_path).startswith(f"metrics-pipeline: {tmp_path}/spool.db{told}")


def test_a_folder_that_cannot_be_written_ends_it_with_a_sentence(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "data", 2048) as folder:
        Spool(folder, MB).close()
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        assert refused(folder, tmp_path) == (
            f"metrics-pipeline: data directory {folder} cannot be used: Read-only file system; "
            "make it writable for this user, or set data_dir"
        )


def test_what_is_salvaged_is_delivered(bucket: Bucket, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running(environment(data_dir, collection_interval_ms=20), tmp_path) as agent:
        agent.until(lambda s: s["ticks"] >= 30, "30 readings")
        agent.kill()
        before = agent.status()
    for name in ("spool.db", "spool.db-wal"):
        scribble(data_dir / name, 0, 32)
    seldom = environment(data_dir, bucket, collection_interval_ms=SELDOM_MS)
    with running(seldom, tmp_path) as agent:
        eventually(lambda: "was damaged" in agent.log, "the salvage")
        agent.until(lambda s: s["delivered_points"] > before["points"], "the backlog")
        assert agent.stop() == 0
        after = agent.status()
        assert agent.log.count("was damaged") == 1
    assert_account(after)
    assert "corrupt_store" not in after["lost"]
    assert after["last_salvage"] in agent.log
    with SpoolReader(data_dir) as reader:
        assert reader.facts()[Fact.SALVAGE] == after["last_salvage"]
    assert aside(data_dir)
    assert_same(bucket, data_dir)


def test_an_agent_whose_folder_another_one_has_taken_ends_with_a_sentence(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running(environment(data_dir, collection_interval_ms=20), tmp_path) as agent:
        agent.until(lambda s: s["ticks"] >= 3, "readings")
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        DirectoryLock(elsewhere, SystemClock()).release()
        # In one step: between two, the agent would make it anew.
        (elsewhere / "agent.lock").replace(data_dir / "agent.lock")
        assert agent.ended() == 1
        told = (
            f"Metrics collection ends: {data_dir}/agent.lock was replaced while this agent held "
            f"it, and another one may use {data_dir}; this one ends"
        )
        assert agent.log.count(told) == 1
