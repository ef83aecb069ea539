"""`rehearse` against the real server: passed, failed, impossible, broken off."""

import gzip
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from pipeline.cli.rehearse.agent import Scratch
from pipeline.cli.rehearse.proxy import Proxy
from pipeline.cli.rehearse.script import RehearsalError, Script
from tests.agents import eventually, mirror
from tests.cli.commands import Cli, Done, Inside, finish
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.servers import forward, last_response, read_request, serving


@dataclass(frozen=True)
class Ground:
    """Where a rehearsal takes place, and what must be there after it as it was before."""

    bucket: Bucket
    folder: Path

    def start(self, cli: Cli, *words: str, **settings: object) -> subprocess.Popen[str]:
        env = cli.env(bucket=self.bucket, **settings) | {"TMPDIR": str(self.folder)}
        return cli.start("rehearse", *words, env=env)

    def rehearse(self, cli: Cli, *words: str, **settings: object) -> Done:
        return finish(self.start(cli, *words, **settings))

    def rows(self) -> list[dict[str, object]]:
        return api.rows(self.bucket)

    def assert_clean(self) -> None:
        assert list(self.folder.iterdir()) == []
        assert [row["host"] for row in self.rows()] == ["other"]
        assert api.age_s(self.bucket.server, self.bucket.name) == 0


@pytest.fixture
def ground(bucket: Bucket, tmp_path: Path) -> Ground:
    folder = tmp_path / "tmp"
    folder.mkdir()
    assert (
        api.write(bucket.server, bucket.name, b"metrics_rehearsal,host=other reading=1i")[0] == 204
    )
    return Ground(bucket, folder)


def test_every_reading_arrives_once_and_no_trace_is_left(ground: Ground, cli: Cli) -> None:
    # With an age of 1 h and a rule to enforce, an agent of its own accord would shorten the bucket.
    done = ground.rehearse(cli, retention_hours=1, bucket_retention="enforce")
    assert (done.status, done.err) == (0, "")
    begun, *steps, verdict = done.out.splitlines()
    assert begun.startswith(f"Rehearsing against {ground.bucket.server.url}, bucket ")
    assert [step.strip().split(":")[0] for step in steps] == [
        "readings are delivered",
        "the answer to a request is lost",
        "a request is cut off",
        "the server refuses connections",
        "the agent is killed (SIGKILL), to be started again",
        "the server is silent",
        "the agent is killed (SIGKILL), to be started again",
        "the server is back, and the backlog begins to move",
        "the agent is killed (SIGKILL), to be started again",
        "all is delivered",
        "its points in InfluxDB and its folder are removed",
    ]
    assert verdict.startswith("Passed: ")
    assert verdict.endswith("and InfluxDB has each of them once.")
    assert not cli.data_dir.exists()
    ground.assert_clean()


def test_a_mirror_is_rehearsed_with_through_its_own_proxy(ground: Ground, cli: Cli) -> None:
    server = urlsplit(ground.bucket.server.url)
    with closing(Proxy(str(server.hostname), server.port or 0, answers_connect=True)) as proxy:
        # A name that only the proxy understands; the main server is down.
        its = mirror(ground.bucket, url="http://influxdb.invalid:8086", proxy=proxy.url)
        done = ground.rehearse(cli, "--mirror", "b", influxdb_url="http://127.0.0.1:9", **its)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("Rehearsing against http://influxdb.invalid:8086, bucket ")
    assert "Passed: " in done.out
    ground.assert_clean()


# ---- TLS -----------------------------------------------------------------------------------------


@contextmanager
def forwarding(bucket: Bucket, loses: bytes = b"", tls: Path | None = None) -> Iterator[int]:
    """Serves what the bucket's server does, by TLS or with losses; gives the port."""

    def behave(client: socket.socket, over: threading.Event) -> None:
        while request := read_request(client):
            if loses and "/api/v2/write" in request.path:
                lines = gzip.decompress(request.body).splitlines(keepends=True)
                body = gzip.compress(b"".join(line for line in lines if loses not in line))
                length = {"Content-Length": str(len(body))}
                request = replace(request, body=body, headers=request.headers | length)
            client.sendall(forward(request, bucket.server.url) or b"")

    with serving(behave, tls) as url:
        yield urlsplit(url).port or 0


def test_a_server_with_tls_proves_who_it_is_to_the_rehearsals_agent_too(
    ground: Ground, cli: Cli, certificate: Path
) -> None:
    with forwarding(ground.bucket, tls=certificate) as port:
        url = f"https://localhost:{port}"
        done = ground.rehearse(cli, influxdb_url=url, influxdb_ca_cert=certificate)
        assert (done.status, done.err) == (0, "")
        assert "Passed: " in done.out
        unknown = ground.rehearse(cli, influxdb_url=url)
    assert unknown.status == 1
    assert "certificate verify failed" in unknown.error
    ground.assert_clean()


# ---- failures ------------------------------------------------------------------------------------


def test_a_loss_is_found(ground: Ground, cli: Cli) -> None:
    with forwarding(ground.bucket, loses=b",series=3 ") as port:
        done = ground.rehearse(cli, influxdb_url=f"http://127.0.0.1:{port}")
    assert done.status == 1
    verdict = re.fullmatch(
        r"FAILED: (\d+) readings with (\d+) points were taken; "
        r"InfluxDB lacks (\d+) and has 0 too many. The agent counts as lost: .*",
        done.out.splitlines()[-1],
    )
    assert verdict, done.out
    readings, points, missing = map(int, verdict.groups())
    assert (points, missing) == (10 * readings, readings)
    ground.assert_clean()


NAMED = {"influxdb_org": "o", "influxdb_bucket": "b", "influxdb_token": "t"}


def test_what_cannot_be_rehearsed_is_told_in_a_sentence(cli: Cli, inside: Inside) -> None:
    def told(*words: str, **settings: object) -> str:
        return inside(cli, "rehearse", *words, **settings).error

    assert told() == "there is nothing to rehearse with: set influxdb_url first"
    named = {"influxdb_url": "http://127.0.0.1:9", **NAMED}
    assert told("--mirror", "b", **named) == "the settings have no mirror 'b'; there are none"
    assert told(influxdb_proxy="https://proxy:3128", **named) == (
        "no rehearsal goes through a proxy of https://; unset influxdb_proxy"
    )


@pytest.mark.slow  # the least time for an answer that can be set is a second
def test_a_server_that_never_answers_is_waited_for_as_long_as_the_settings_say(
    cli: Cli, inside: Inside
) -> None:
    def behave(client: socket.socket, over: threading.Event) -> None:
        read_request(client)
        client.settimeout(20)
        with suppress(TimeoutError):
            client.recv(1)  # until it gives up
            return
        client.sendall(last_response("200 OK"))

    with serving(behave) as url:
        done = inside(cli, "rehearse", influxdb_url=url, influxdb_timeout_s=1, **NAMED)
    assert done.error.startswith(f"no answer from {url}: ")
    assert done.error.endswith("; start it, open the way to it, or correct influxdb_url")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_stages_nothing_where_others_could_exchange_it(ground: Ground, cli: Cli) -> None:
    os.chown(ground.folder, 12345, 12345)
    assert ground.rehearse(cli).err == (
        f"metrics-pipeline: {ground.folder} belongs to 12345, and root writes to nothing that "
        "others can change; set TMPDIR to another folder\n"
    )
    ground.assert_clean()


@pytest.mark.parametrize("right", ["read", "write"])
def test_without_the_rights_it_does_not_begin(
    ground: Ground, cli: Cli, inside: Inside, right: str
) -> None:
    token = api.create_token(ground.bucket, [right])
    done = inside(cli, "rehearse", bucket=ground.bucket, influxdb_token=token)
    assert done.status == 1
    assert token not in done.error
    ground.assert_clean()


def test_a_server_that_takes_no_readings_ends_it_in_time(ground: Ground) -> None:
    clock = ManualClock()
    target = urlsplit(ground.bucket.server.url)
    folder = ground.folder / "scratch"
    folder.mkdir()
    with closing(Proxy(str(target.hostname), target.port or 0, answers_connect=True)) as proxy:
        settings = settings_for(ground.bucket, influxdb_bucket="nowhere")
        scratch = Scratch(folder, settings, "rehearsal-x", proxy.url, os.environ)

        def wait(_: int) -> None:
            time.sleep(0.02)
            clock.advance(0.0 if scratch.trouble() == "nothing" else 1_000.0)

        clock.on_wait = wait
        try:
            with pytest.raises(RehearsalError, match=r'readings are delivered; .*"nowhere" not'):
                Script(scratch, proxy, clock, lambda _: None).play()
        finally:
            scratch.kill()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_broken_off_it_cleans_up(ground: Ground, cli: Cli, end: signal.Signals) -> None:
    process = ground.start(cli)
    # Once its points are there.
    eventually(lambda: len(ground.rows()) > 1, "a delivery")
    assert process.poll() is None
    process.send_signal(end)
    with suppress(ProcessLookupError):
        process.send_signal(end)  # one more does no harm
    assert finish(process).status == 130
    ground.assert_clean()


def test_killed_it_leaves_no_agent_behind(ground: Ground, cli: Cli) -> None:
    process = ground.start(cli)
    eventually(lambda: len(ground.rows()) > 1, "a delivery")
    agents = psutil.Process(process.pid).children(recursive=True)
    assert agents
    process.kill()
    eventually(lambda: not any(map(psutil.Process.is_running, agents)), "that its agent ends")
    finish(process)
