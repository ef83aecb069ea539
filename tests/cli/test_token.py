"""A token appears nowhere, whatever a server echoes of a request: in no output, and in no file."""

import contextlib
import http.client
import io
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from pipeline.agent import Agent
from pipeline.cli import logs
from pipeline.collectors import names
from pipeline.settings import Files
from tests.agents import eventually
from tests.cli.commands import Cli, ended
from tests.influxd.process import free_port
from tests.servers import read_request, response, serving

SECRET = "s3cret"
TOKEN = f"{SECRET}+agent/0123456789=="
GIVEN = f"{SECRET}+operator/0123456789=="
CODES = {400: "invalid", 422: "unprocessable entity"}  # for InfluxDB's own refusals of lines
ANSWERS = (
    *((200, style) for style in ("page", "json", "table")),
    *((status, "json") for status in (204, 400, 404, 429, 503)),
    *((status, "page") for status in (302, 401, 403, 500, 502)),
    # The bucket is found, so that the readings are sent.
    *((status, "found") for status in (200, 204, 400, 401, 413, 422, 503)),
)
BUCKETS = b'{"buckets": [{"name": "b", "id": "1", "orgID": "2", "retentionRules": []}]}'
COMMANDS = (
    *("once", "status", "status --json", "show", "show system_metrics", "doctor", "rehearse"),
    *("retention plan", "retention apply", "rejected list", "rejected retry --all"),
    *("rejected drop --all", "settings check", "settings show", "settings show --json"),
    *("metrics", "completion bash", "setup --token-stdin", "setup --password-stdin"),
)


@dataclass
class Echo:
    """A server that puts all of a request wherever it can say anything."""

    status: int
    style: str
    asked: list[str] = field(default_factory=list)

    def __call__(self, client: socket.socket, over: threading.Event) -> None:
        while (request := read_request(client)) is not None:
            said = [*request.headers.values(), request.body.decode(errors="replace")]
            echoed = " ".join(
                "".join(c if c.isprintable() else " " for c in " ".join(said)).split()
            )
            body = self._body(echoed).encode()
            lines = [f"HTTP/1.1 {self.status} {echoed}", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {echoed}" for name in ("Date", "Retry-After", "Set-Cookie")]
            lines += [f"X-Influxdb-Version: {echoed}", f"Location: http://127.0.0.1:9/{echoed}"]
            lines += ["Content-Type: application/json", f"no header {echoed}", "", ""]
            answer = "\r\n".join(lines).encode() + body * (self.status != 204)
            path = request.path.partition("?")[0]
            if self.style == "found" and (request.method, path) == ("GET", "/api/v2/buckets"):
                answer = response("200 OK", BUCKETS, "Content-Type: application/json")
            client.sendall(answer)
            self.asked.append(path)

    def is_heard(self) -> bool:
        """Whether delivery and the sweep have had an answer."""
        return len(self.asked) > 1 and (self.style != "found" or "/api/v2/write" in self.asked)

    def _body(self, echoed: str) -> str:
        if self.style == "page":
            return f"<html>{echoed}</html>"
        if self.style == "table":
            return f'error,reference\r\n"{echoed}",897\r\n'
        found = {"name": echoed, "id": echoed, "retentionRules": echoed}
        own = {"code": CODES.get(self.status, echoed), "message": echoed}
        told = {"allowed": True, "status": echoed, "version": echoed}
        return json.dumps({**own, **told, "orgs": [found], "buckets": [found], "links": found})


def got(port: int, path: str) -> str:
    """Everything that the endpoint answers."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        client.request("GET", path)
        answer = client.getresponse()
        return f"{answer.reason}{answer.headers}{answer.read().decode()}"


@pytest.mark.slow  # all commands, and an agent until both of its threads were answered
@pytest.mark.parametrize(("status", "style"), ANSWERS)
def test_no_output_and_no_file_has_the_token(
    cli: Cli,
    within: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    status: int,
    style: str,
) -> None:
    port, echo = free_port(), Echo(status, style)
    logging.getLogger().addHandler(handler := logging.StreamHandler(sys.stderr))
    secrets = cli.config_dir / ".secrets.toml"
    secrets.write_text(f'influxdb_token = "{TOKEN}"\n')
    secrets.chmod(0o600)
    try:
        with serving(echo) as url:
            own = {"http_port": port, "collection_interval_ms": 50, "log_level": "debug"}
            within(cli, influxdb_url=url, influxdb_org="o", influxdb_bucket="b", **own)
            told = []
            logs.configure("debug", "text", sys.stderr, os.environ)  # all that `run` can log
            files = Files(cli.config_dir, os.environ, names())
            with contextlib.closing(Agent(files.load().settings, files)) as agent:
                agent.start()
                eventually(echo.is_heard, "an answer to delivery, and to the sweep")
                told += [got(port, f"/{path}") for path in ("", "status", "health", "metrics")]
            for command in COMMANDS:
                words = command.split()
                if words[0] == "setup":
                    words += ["--url", url]
                    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{GIVEN}\n"))
                ended(*words)
    finally:
        logging.getLogger().removeHandler(handler)
    out, err = capfd.readouterr()
    told += [out, err, *(path.read_bytes().decode("latin-1") for path in cli.data_dir.iterdir())]
    assert SECRET not in "".join(told)
