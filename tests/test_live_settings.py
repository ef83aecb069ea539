"""Settings that change while the real agent runs."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.point import decode
from pipeline.spool import SpoolReader
from tests.agents import AgentProcess, eventually, running, ticks
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.influxd.http import call
from tests.influxd.process import free_port
from tests.test_end_to_end import assert_account, assert_same

pytestmark = pytest.mark.slow  # an agent each, and its looks at the files


class Live:
    """The folder of the settings, the data, and the agent that has both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config"
        self.config.mkdir()
        self.data_dir = folder / "data"

    def write(self, file: str = "settings.toml", /, **settings: object) -> None:
        """Replace a file by rename, as editors and configuration managers do."""
        aside = self.config / "new"
        aside.write_text("".join(f"{key} = {json.dumps(v)}\n" for key, v in settings.items()))
        aside.rename(self.config / file)

    @contextmanager
    def started(self, **settings: object) -> Iterator[AgentProcess]:
        """Start an agent with these settings and wait for its first reading."""
        self.write(**settings)
        env = {k: v for k, v in os.environ.items() if not k.startswith("METRICS_")}
        env |= {"STATE_DIRECTORY": str(self.data_dir)}  # as systemd does
        with running(env, self.folder, "--config-dir", str(self.config)) as agent:
            agent.until(lambda s: s["running"] and s["ticks"], "the first reading")
            yield agent
            assert agent.stop() == 0


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(tmp_path)


def influxdb(bucket: Bucket, **settings: object) -> dict[str, Any]:
    return {
        "influxdb_url": bucket.server.url,
        "influxdb_org": bucket.server.org,
        "influxdb_bucket": bucket.name,
        "influxdb_token": bucket.server.token,
        "host": "h1",
        "http_port": 0,
        "flush_interval_ms": 100,
        "flush_jitter_ms": 0,
        **settings,
    }


def test_an_age_takes_effect_at_once_there_and_here(bucket: Bucket, live: Live) -> None:
    now = time.time_ns()
    old = [
        f"cpu,host={host} n={n}i {now - n * 3600 * 10**9}" for host in ("h1", "h2") for n in (5, 30)
    ]
    assert api.write(bucket.server, bucket.name, "\n".join(old).encode())[0] == 204
    given = influxdb(bucket, collection_interval_ms=3000, bucket_retention="off")
    with live.started(**given) as agent:
        agent.until(lambda s: s["delivered_points"], "the delivery")
        given["retention_hours"] = 24
        live.write(**given)
        eventually(lambda: "Cleaned up 1 old metric records" in agent.log, "the sweep")
        assert agent.status()["retention_hours"] == 24
        assert "keeps for ever" not in agent.log
        given["bucket_retention"] = "enforce"
        live.write(**given)
        agent.until(lambda s: s["bucket_retention_hours"] == 24, "the rule")
    assert "1 point of 1 host (h2 1)" in agent.log


def test_secrets_that_are_rotated_heal_delivery_and_are_not_seen(
    bucket: Bucket, live: Live
) -> None:
    values = influxdb(bucket, collection_interval_ms=100)
    token = values.pop("influxdb_token")
    live.write(".secrets.toml", influxdb_token="an-old-token")
    with live.started(**values) as agent:
        agent.until(lambda s: "401" in (s["last_error"] or ""), "the refusal")
        live.write(".secrets.toml", influxdb_token=token)
        agent.until(lambda s: s["delivered_points"] and not s["last_error"], "the delivery")
        eventually(lambda: "Setting influxdb_token: ********" in agent.log, "the line of the log")
    assert "an-old-token" not in agent.log
    assert token not in agent.log
    assert_account(agent.status())
    assert_same(bucket, live.data_dir)


def test_server_host_tags_port_log_and_collectors_change_without_a_restart(
    bucket: Bucket, live: Live
) -> None:
    first, second, nowhere = free_port(), free_port(), f"http://127.0.0.1:{free_port()}"
    values = influxdb(bucket, collection_interval_ms=100, http_port=first)
    with live.started(**values | {"influxdb_url": nowhere}) as agent:
        agent.until(lambda s: s["last_error"] and s["backlog_points"], "a backlog")
        text = f"""http_port = {second}\nlog_format = "json"\nhost = "h2"
            tags = {{site = "lab"}}\ncollectors = {{swap = {{enabled = false}}}}\n"""
        kept = {name: value for name, value in values.items() if name not in ("http_port", "host")}
        text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in kept.items())
        (live.config / "settings.toml").write_text(text)  # in place
        agent.until(lambda s: s["delivered_points"] and not s["last_error"], "the delivery")
        url = f"http://127.0.0.1:{second}/health"
        eventually(lambda: call("GET", url).status == 200, "the port")
        with pytest.raises(OSError, match="refused"):
            call("GET", f"http://127.0.0.1:{first}/health")
        then = ticks(live.data_dir) + 2
        eventually(lambda: ticks(live.data_dir) >= then, "readings after it")
    with SpoolReader(live.data_dir) as reader:
        blocks = list(reader.history(0))
    points = [[line.point for line in decode(block)] for block in (blocks[0], blocks[-1])]
    assert {point.tags["host"] for point in points[0]} == {"h1"}
    assert {(point.tags["host"], point.tags["site"]) for point in points[1]} == {("h2", "lab")}
    assert "swap" in {point.measurement for point in points[0]}
    assert "swap" not in {point.measurement for point in points[1]}
    assert json.loads(agent.log.splitlines()[-1])["message"] == "Metrics collection stopped"
    # Nothing was lost or doubled, and the whole of it went to the new server.
    times = [block.split()[-1] for block in blocks]
    assert len(times) == len(set(times)) == agent.status()["ticks"]
    assert_account(agent.status())
    assert_same(bucket, live.data_dir)
