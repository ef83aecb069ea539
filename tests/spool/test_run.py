"""What `run` makes of a data directory whose store is not as it should be."""

import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.spool import DirectoryLock, Fact, Spool, SpoolReader
from tests.agents import SELDOM_MS, AgentProcess, environment, eventually, running
from tests.influxd.api import Bucket
from tests.machine import tiny_disk
from tests.spool.stores import MB, account, aside, many, reading, salvaged, scribble
from tests.test_end_to_end import assert_account, assert_same

pytestmark = pytest.mark.slow


def refused(folder: Path, cwd: Path) -> str:
    """Return the one line with which the agent ends at once."""
    agent = AgentProcess(environment(folder), cwd)
    assert agent.ended() == 1
    (line,) = agent.log.splitlines()
    return line


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "CREATE TABLE theirs (x)",
            " is another program's database; move it away, or set data_dir",
        ),
        ("PRAGMA user_version = 99", " has format 99, this version reads 7; run the version that"),
    ],
    ids=["foreign", "newer"],
)
def test_a_store_that_is_not_for_this_version_ends_it_with_a_sentence(
    tmp_path: Path, statement: str, told: str
) -> None:
    path = tmp_path / "spool.db"
    if "99" in statement:
        Spool(tmp_path, MB).close()
    with sqlite3.connect(path) as db:
        db.execute(statement)
    db.close()
    before = path.read_bytes()
    assert refused(tmp_path, tmp_path).startswith(f"metrics-pipeline: {path}{told}")
    assert path.read_bytes() == before


@pytest.mark.parametrize("store", [False, True])
def test_a_folder_that_cannot_be_written_ends_it_with_a_sentence(
    tmp_path: Path, store: bool
) -> None:
    with tiny_disk(tmp_path / "data", 2048) as folder:
        if store:
            Spool(folder, MB).close()
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        assert refused(folder, tmp_path) == (
            f"metrics-pipeline: data directory {folder} cannot be used: Read-only file system; "
            "make it writable for this user, or set data_dir"
        )


@pytest.mark.slow  # a store that is not read before the signal comes
def test_a_salvage_of_a_large_store_ends_at_sigterm_and_the_next_start_goes_on(
    tmp_path: Path,
) -> None:
    delivered, waiting = 400, 1600
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    many(data_dir, delivered, waiting, reading(1, points=30))  # 25 MB
    scribble(data_dir / "spool.db", 0, 100)
    env = environment(data_dir, collection_interval_ms=SELDOM_MS, retention_hours=0)
    done = 0
    for _ in range(2):
        with running(env, tmp_path) as agent:
            eventually(lambda it=agent: "Readings are kept" in it.log, "the start")  # type: ignore[misc]  # mypy cannot infer the default
            # Looked at here: a command takes as long as many a step.
            eventually(lambda so_far=done: share(data_dir) > so_far, "some steps")  # type: ignore[misc]  # the same
            assert agent.stop() == 0
            done = share(data_dir)
            assert 0 < done < 100
    with salvaged(Spool(data_dir, 100 * MB)) as spool:
        after = spool.contents()
        told = spool.facts()[Fact.SALVAGE]
    assert f"saved {delivered + waiting} readings" in told
    assert (after.delivered_points, after.lost) == (30 * delivered, {})
    account(after)


def share(data_dir: Path) -> int:
    """Return how many percent of a damaged store are read; 100 when its salvage is over."""
    with SpoolReader(data_dir) as reader:
        told = reader.facts().get(Fact.SALVAGE, "")
    found = re.search(r": (\d+) % of it is read$", told)
    return int(found[1]) if found else 100 * ("saved" in told)


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
