"""Two real servers and the real agent: whatever happens to either, its account is what it has."""

import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.agents import SELDOM_MS, AgentProcess, environment, mirror, running, ticks
from tests.chaos.proxy import PASS, REFUSE, Proxy
from tests.influxd import api, process
from tests.influxd.api import Bucket
from tests.influxd.process import InfluxProcess
from tests.machine import fill_up, tiny_disk
from tests.test_end_to_end import assert_same, lost, stored

Point = tuple[str, tuple[tuple[str, str], ...], int]
KILOBYTES = 40_000  # far more than an influxd takes for some readings


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@contextmanager
def another(binary: Path, folder: Path) -> Iterator[tuple[InfluxProcess, Bucket]]:
    """Run one more server, with a bucket."""
    with process.running(binary, folder) as server:
        yield server, api.create_bucket(server.server, "metrics")


def points(bucket: Bucket) -> set[Point]:
    return {(measurement, tags, time_ns) for measurement, tags, _, time_ns in stored(bucket)}


def of(status: dict[str, Any], *servers: str) -> list[dict[str, Any]]:
    """What the status says of some servers; nothing before the agent knows them all."""
    found = status["servers"]
    return [found[name] for name in servers] if set(servers) <= set(found) else []


def goes_on(agent: AgentProcess, *servers: str) -> None:
    """Wait until these servers get what is read from now on."""
    now = agent.status()["points"]

    def got(status: dict[str, Any]) -> bool:
        found = of(status, *servers)
        return bool(found) and all(one["delivered_points"] > now for one in found)

    agent.until(got, f"readings at {servers}")


def is_behind(status: dict[str, Any], *servers: str) -> bool:
    return all(one["backlog_points"] > 0 for one in of(status, *servers))


def settled(env: Mapping[str, str], folder: Path, *servers: str) -> dict[str, Any]:
    """Let these servers get all that waits, and one reading more; return their accounts."""
    seldom = {**env, "METRICS_COLLECTION_INTERVAL_MS": str(SELDOM_MS)}
    before = ticks(Path(env["METRICS_DATA_DIR"]))
    with running(seldom, folder) as agent:

        def has_all(status: dict[str, Any]) -> bool:
            found = of(status, *servers)
            waiting = [one["backlog_points"] for one in found]
            return status["ticks"] > before and bool(found) and not any(waiting)

        agent.until(has_all, "that nothing waits")
        assert agent.stop() == 0
        accounts: dict[str, Any] = agent.status()["servers"]
        return accounts


def test_servers_that_are_killed_in_turn_and_together_with_the_agent_miss_nothing(
    influxd_binary: Path, data_dir: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        servers, buckets = {}, {}
        for name in ("main", "b"):
            folder = tmp_path / name
            folder.mkdir()
            one = stack.enter_context(another(influxd_binary, folder))
            servers[name], buckets[name] = one
        env = environment(
            data_dir, buckets["main"], collection_interval_ms=50, **mirror(buckets["b"])
        )
        agent = stack.enter_context(running(env, tmp_path))
        goes_on(agent, "main", "b")
        for down in (["main"], ["b"], ["main", "b"]):
            for name in down:
                servers[name].kill()
            if up := [name for name in servers if name not in down]:
                goes_on(agent, *up)
            agent.until(lambda s, down=down: is_behind(s, *down), "that readings wait")  # type: ignore[misc]  # mypy cannot infer the default
            agent.kill()
            agent = stack.enter_context(running(env, tmp_path))
            for name in down:
                servers[name].start()
            goes_on(agent, "main", "b")
        agent.kill()
        accounts = settled(env, tmp_path, "main", "b")
        for name, bucket in buckets.items():
            assert lost(accounts[name]) == {}
            assert_same(bucket, data_dir)


def test_a_server_with_a_full_disk_gets_all_when_there_is_room_and_holds_up_no_other(
    bucket: Bucket, influxd_binary: Path, data_dir: Path, tmp_path: Path
) -> None:
    with (
        tiny_disk(tmp_path / "disk", KILOBYTES) as disk,
        another(influxd_binary, disk) as (server, full),
    ):
        env = environment(data_dir, bucket, collection_interval_ms=50, **mirror(full))
        with running(env, tmp_path) as agent:
            goes_on(agent, "main", "b")
            ballast = fill_up(disk)
            agent.until(lambda s: "delivery:b" in s["troubles"], "that the disk is full")
            goes_on(agent, "main")
            agent.kill()
            assert lost(agent.status()["servers"]["b"]) == {}
            ballast.unlink()
            # An influxd that could not open a shard for want of room may not try it again.
            server.kill()
            server.start()
        accounts = settled(env, tmp_path, "main", "b")
        assert [lost(accounts[name]) for name in ("main", "b")] == [{}, {}]
        for place in (bucket, full):
            assert_same(place, data_dir)


def test_a_server_that_is_away_for_too_long_lacks_what_its_account_says_and_the_other_nothing(
    bucket: Bucket, missing: str, data_dir: Path, tmp_path: Path
) -> None:
    away = api.create_bucket(bucket.server, missing)
    proxy = Proxy(bucket.server.url)
    proxy.fault = REFUSE
    own = tmp_path / "own"
    own.mkdir()
    chance = random.Random(7)  # noqa: S311  # chance that comes back is wanted
    # Much that does not compress: the bound is reached after 50 readings. Main may be late by less.
    lines = [f'noise,n={n} text="{chance.randbytes(250).hex()}"\n' for n in range(60)]
    (own / "noise.lp").write_text("".join(lines))
    settings: dict[str, object] = {
        "collection_interval_ms": 200,
        "spool_max_mb": 1,
        "collectors__file__directory": own,
        **mirror(away, url=proxy.url),
    }
    try:
        with running(environment(data_dir, bucket, **settings), tmp_path) as agent:
            agent.until(
                lambda s: any("spool_full" in one["lost"] for one in of(s, "b")), "the bound"
            )
            goes_on(agent, "main")
            agent.kill()
        proxy.fault = PASS
        # From now on nothing has to make room: no reading is lost that is on its way.
        env = environment(data_dir, bucket, **settings | {"spool_max_mb": 100})
        accounts = settled(env, tmp_path, "main", "b")
    finally:
        proxy.close()
    made, got = points(bucket), points(away)
    assert lost(accounts["main"]) == {}
    assert accounts["main"]["delivered_points"] == accounts["b"]["points"] == len(made)
    assert got < made
    assert lost(accounts["b"]) == {"spool_full": len(made - got)}
    assert accounts["b"]["delivered_points"] == len(got)
