"""A request within a network of its own: run by `requested`, in namespaces that end with it."""

import dataclasses
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.clock import SystemClock
from pipeline.influx.answer import Answer
from pipeline.influx.connection import Connection
from pipeline.settings import Settings
from tests.servers import answer_and_close, response, serving

NETWORKS = ("10.98.0.9/24", "2001:db8::9/64")
"""Where the silent addresses are."""


def requested(
    url: str, serves: str, silent: Sequence[str] = (), name: str = "", **settings: Any
) -> Answer:
    """Write to a server in a network of its own; return what came of it.

    Args:
        url: The server's URL, in which, as in `influxdb_proxy`, `{port}` is its port.
        serves: The IP address that it listens at; by TLS where the URL says so.
        silent: Addresses of `NETWORKS` that swallow whatever is sent to them.
        name: A name that stands for all of them, the silent ones first.
        settings: More settings; `influxdb_ca_cert` is the server's own certificate too.
    """
    told = {"url": url, "serves": serves, "silent": silent, "name": name, "settings": settings}
    done = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, "-m", __name__, json.dumps(told)],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return Answer(**json.loads(done.stdout))


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


def _make_network(serves: str, silent: list[str], name: str) -> None:
    for words in ("link set lo up", "link add d0 type bridge", "link set d0 up"):
        _ip(words)
    for address in (f"{serves}/64" if ":" in serves else f"{serves}/32", *NETWORKS):
        _ip(f"addr add {address} dev d0" + " nodad" * (":" in address))
    for address in silent:  # somebody who is known to be there, and never answers
        _ip(f"neigh add {address} lladdr 02:00:00:00:00:01 nud permanent dev d0")
    with tempfile.NamedTemporaryFile("w", suffix=".hosts") as hosts:
        hosts.writelines(f"{address} {name}\n" for address in (*silent, serves) if name)
        hosts.flush()
        subprocess.run(["mount", "--bind", hosts.name, "/etc/hosts"], check=True)
    if name and silent:
        first = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)[0][4][0]
        assert first in silent, first


def _ask(url: str, serves: str, silent: list[str], name: str, settings: dict[str, Any]) -> Answer:
    _make_network(serves, silent, name)
    certificate = Path(settings["influxdb_ca_cert"]) if url.startswith("https:") else None
    with serving(answer_and_close(response("204 No Content")), certificate, "::") as address:
        port = str(urlsplit(address).port)
        url, proxy = (
            text.replace("{port}", port) for text in (url, settings.pop("influxdb_proxy", ""))
        )
        wanted = Settings(influxdb_url=url, influxdb_proxy=proxy, **settings)
        with closing(Connection(wanted, SystemClock())) as connection:
            return connection.write(b"")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(dataclasses.asdict(_ask(**json.loads(sys.argv[1])))))
