"""Settings that change while the real agent runs."""

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.point import decode
from pipeline.spool import SpoolReader
from tests.agents import (
    OF_THIS_TREE,
    SELDOM_MS,
    AgentProcess,
    environment,
    eventually,
    ticks,
    times,
)
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
        self.toml = self.config / "settings.toml"
        self.secrets = self.config / ".secrets.toml"

    def write(self, **settings: object) -> None:
        """Replace the file by rename, as editors and configuration managers do."""
        given = {"host": "h1", "http_port": 0, **settings}
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items())
        aside = self.config / "settings.toml.new"
        aside.write_text(text)
        aside.rename(self.toml)

    @property
    def env(self) -> dict[str, str]:
        env = {k: v for k, v in environment(self.data_dir).items() if not k.startswith("METRICS_")}
        return env | {"STATE_DIRECTORY": str(self.data_dir)}  # as systemd does

    def run(self) -> AgentProcess:
        return AgentProcess(self.env, self.folder, "--config-dir", str(self.config))


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(tmp_path)


@pytest.fixture
def start(live: Live) -> Iterator[Callable[[], AgentProcess]]:
    """Starts an agent and waits for its first reading; it is gone at the end."""
    agents: list[AgentProcess] = []

    def one() -> AgentProcess:
        agents.append(live.run())
        agents[-1].until(lambda s: s["running"] and s["ticks"], "the first reading")
        return agents[-1]

    yield one
    for agent in agents:
        if agent.process.poll() is None:
            agent.kill()


Start = Callable[[], AgentProcess]


def influxdb(bucket: Bucket) -> dict[str, Any]:
    return {
        "influxdb_url": bucket.server.url,
        "influxdb_org": bucket.server.org,
        "influxdb_bucket": bucket.name,
        "influxdb_token": bucket.server.token,
        "flush_interval_ms": 100,
        "flush_jitter_ms": 0,
    }


def test_a_shorter_interval_cuts_the_running_wait_short(live: Live, start: Start) -> None:
    live.write(collection_interval_ms=SELDOM_MS)
    agent = start()
    live.write(collection_interval_ms=50)
    agent.until(lambda s: s["ticks"] >= 5, "readings at the new interval")
    assert agent.status()["collection_interval_ms"] == 50
    path = re.escape(str(live.toml))
    assert re.search(
        rf"Setting collection_interval_ms: {SELDOM_MS} \({path}\) becomes 50 \({path}\)", agent.log
    )
    live.write(collection_interval_ms=SELDOM_MS)
    agent.until(lambda s: s["collection_interval_ms"] == SELDOM_MS, "the long interval")
    before = ticks(live.data_dir)
    live.write(collection_interval_ms=SELDOM_MS, log_level="debug")
    eventually(lambda: "Setting log_level" in agent.log, "the next change")
    assert ticks(live.data_dir) - before <= 1
    assert agent.stop() == 0
    assert times(live.data_dir) == sorted(set(times(live.data_dir)))


def test_a_signal_reads_the_settings_at_once_and_ends_nothing(live: Live, start: Start) -> None:
    live.write(collection_interval_ms=SELDOM_MS)
    agent = start()
    agent.process.send_signal(signal.SIGHUP)
    eventually(lambda: "The settings have not changed" in agent.log, "the answer")
    live.write(collection_interval_ms=20)
    agent.process.send_signal(signal.SIGHUP)
    agent.until(lambda s: s["ticks"] >= 3, "readings at the new interval")
    assert agent.stop() == 0
    assert agent.log.count("Setting collection_interval_ms") == 1


def test_an_age_takes_effect_at_once_there_and_here(
    bucket: Bucket, live: Live, start: Start
) -> None:
    now = time.time_ns()
    old = [
        f"cpu,host={host} n={n}i {now - n * 3600 * 10**9}" for host in ("h1", "h2") for n in (5, 30)
    ]
    assert api.write(bucket.server, bucket.name, "\n".join(old).encode())[0] == 204
    live.write(**influxdb(bucket), collection_interval_ms=SELDOM_MS, bucket_retention="off")
    agent = start()
    agent.until(lambda s: s["delivered_points"], "the delivery")
    live.write(
        **influxdb(bucket),
        collection_interval_ms=SELDOM_MS,
        bucket_retention="off",
        retention_hours=24,
    )
    eventually(lambda: "Cleaned up 1 old metric records" in agent.log, "the sweep")
    assert agent.status()["retention_hours"] == 24
    assert "keeps for ever" not in agent.log
    live.write(
        **influxdb(bucket),
        collection_interval_ms=SELDOM_MS,
        bucket_retention="enforce",
        retention_hours=24,
    )
    agent.until(lambda s: s["bucket_retention_hours"] == 24, "the rule")
    assert agent.stop() == 0
    assert "1 point of 1 host (h2 1)" in agent.log


def test_a_file_that_is_swapped_by_a_symbolic_link_is_seen(live: Live, start: Start) -> None:
    # As Kubernetes mounts a ConfigMap: the files are links into ..data, which is a link itself.
    def publish(version: str, interval_ms: int) -> None:
        folder = live.config / version
        folder.mkdir()
        live.write(collection_interval_ms=interval_ms)
        live.toml.rename(folder / "settings.toml")
        (live.config / "next").symlink_to(version)
        (live.config / "next").rename(live.config / "..data")
        if not live.toml.is_symlink():
            live.toml.symlink_to("..data/settings.toml")

    publish("..1", SELDOM_MS)
    agent = start()
    folder = live.config / "..2"
    folder.mkdir()
    text = (live.config / "..1/settings.toml").read_text()
    (folder / "settings.toml").write_text(text.replace(str(SELDOM_MS), "50"))
    (live.config / "next").symlink_to("..2")
    (live.config / "next").rename(live.config / "..data")
    agent.until(lambda s: s["ticks"] >= 3, "readings at the new interval")
    assert agent.stop() == 0


def test_secrets_that_are_rotated_heal_delivery_and_are_not_seen(
    bucket: Bucket, live: Live, start: Start
) -> None:
    values = influxdb(bucket)
    token = values.pop("influxdb_token")
    live.secrets.write_text('influxdb_token = "an-old-token"\n')
    live.write(**values, collection_interval_ms=100)
    agent = start()
    agent.until(lambda s: "401" in (s["last_error"] or ""), "the refusal")
    aside = live.config / "secrets.new"
    aside.write_text(f'influxdb_token = "{token}"\n')
    aside.rename(live.secrets)
    agent.until(lambda s: s["delivered_points"] and not s["last_error"], "the delivery")
    eventually(lambda: "Setting influxdb_token: ********" in agent.log, "the line of the log")
    assert agent.stop() == 0
    assert "an-old-token" not in agent.log
    assert token not in agent.log
    assert_account(agent.status())
    assert_same(bucket, live.data_dir)


def test_a_bad_edit_changes_nothing_is_told_once_and_heals_by_itself(
    live: Live, start: Start
) -> None:
    port, says = free_port(), "not valid TOML"
    live.data_dir = live.folder / "elsewhere"  # which is found by what is left of the file
    given = {"data_dir": str(live.data_dir), "http_port": port}
    live.write(**given, collection_interval_ms=100)
    agent = start()
    live.toml.write_text(live.toml.read_text() + 'tags = {site = "l')
    status = agent.until(lambda s: "settings" in s["troubles"], "the trouble")
    assert says in status["troubles"]["settings"]
    assert status["last_error"] == status["troubles"]["settings"]
    command = [*OF_THIS_TREE, "--config-dir", str(live.config), "status", "--json"]
    done = subprocess.run(command, env=live.env, capture_output=True, check=True)
    told = json.loads(done.stdout)
    assert (told["running"], told["data_dir"]) == (True, str(live.data_dir))
    assert status["collection_interval_ms"] == 100
    # The last good settings go on being used: by the readings, and by the endpoint.
    health = call("GET", f"http://127.0.0.1:{port}/health")
    assert health.status == 200
    assert says in health.json()["troubles"]["settings"]
    then = ticks(live.data_dir) + 3
    eventually(lambda: ticks(live.data_dir) >= then, "readings all the same")
    assert agent.log.count("The settings stay as they are") == 1
    live.write(**given, collection_interval_ms=50)
    agent.until(lambda s: s["collection_interval_ms"] == 50, "the good edit")
    agent.until(lambda s: s["troubles"] == {} and s["last_error"] is None, "the end of it")
    assert agent.stop() == 0
    assert agent.log.count("The settings can be used again") == 1
    assert "Traceback" not in agent.log


def test_server_host_tags_port_log_and_collectors_change_without_a_restart(
    bucket: Bucket, live: Live, start: Start
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as dead:
        nowhere = f"http://127.0.0.1:{dead.getsockname()[1]}"
    first, second = free_port(), free_port()
    values = {**influxdb(bucket), "collection_interval_ms": 100}
    live.write(**{**values, "influxdb_url": nowhere}, http_port=first)
    agent = start()
    agent.until(lambda s: s["last_error"] and s["backlog_points"], "a backlog")
    live.toml.write_text(
        "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        + f'http_port = {second}\nlog_format = "json"\nhost = "h2"\n'
        + 'tags = {site = "lab"}\ncollectors = {swap = {enabled = false}}\n'
    )
    agent.until(lambda s: s["delivered_points"] and not s["last_error"], "the delivery")
    eventually(lambda: call("GET", f"http://127.0.0.1:{second}/health").status == 200, "the port")
    with pytest.raises(OSError, match="refused"):
        call("GET", f"http://127.0.0.1:{first}/health")
    then = ticks(live.data_dir) + 2
    eventually(lambda: ticks(live.data_dir) >= then, "readings after it")
    assert agent.stop() == 0
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


def test_a_server_can_be_added_and_taken_away(bucket: Bucket, live: Live, start: Start) -> None:
    live.write(collection_interval_ms=100)
    agent = start()
    live.write(**influxdb(bucket), collection_interval_ms=100)
    agent.until(lambda s: s["delivered_points"], "the delivery")
    live.write(collection_interval_ms=100)
    then = agent.until(lambda s: not s["influxdb_url"], "the change")
    assert f"Setting influxdb_url: {bucket.server.url}" in agent.log
    without = agent.until(lambda s: s["ticks"] >= then["ticks"] + 3, "readings without it")
    assert without["backlog_points"] >= without["points"] - then["points"]
    live.write(**influxdb(bucket), collection_interval_ms=100)
    agent.until(lambda s: s["delivered_points"] >= without["points"], "the delivery")
    assert agent.stop() == 0
    assert_account(agent.status())
    assert_same(bucket, live.data_dir)
