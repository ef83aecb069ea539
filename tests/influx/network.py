"""A request within a network of its own: namespaces of a thread, which end with it."""

import ctypes
import os
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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
_CLONE_NEWNS, _CLONE_NEWNET = 0x0002_0000, 0x4000_0000  # unshare(2)


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

    def ask() -> Answer:
        _make_network(serves, silent, name)
        certificate: Path | None = settings.get("influxdb_ca_cert")
        tls = certificate if url.startswith("https:") else None
        with serving(answer_and_close(response("204 No Content")), tls, "::") as address:
            port = str(urlsplit(address).port)
            ways = {"influxdb_url": url, "influxdb_proxy": settings.get("influxdb_proxy", "")}
            ways = {key: text.replace("{port}", port) for key, text in ways.items()}
            with closing(Connection(Settings(**{**settings, **ways}), SystemClock())) as connection:
                return connection.write(b"")

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(ask).result()


def _run(words: str) -> None:
    subprocess.run(words.split(), check=True)


def _make_network(serves: str, silent: Sequence[str], name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _run("mount --make-rprivate /")
    for words in ("set lo up", "add d0 type bridge", "set d0 up"):
        _run(f"ip link {words}")
    for address in (f"{serves}/64" if ":" in serves else f"{serves}/32", *NETWORKS):
        _run(f"ip addr add {address} dev d0" + " nodad" * (":" in address))
    for address in silent:  # somebody who is known to be there, and never answers
        _run(f"ip neigh add {address} lladdr 02:00:00:00:00:01 nud permanent dev d0")
    with tempfile.NamedTemporaryFile("w", suffix=".hosts") as hosts:
        hosts.writelines(f"{address} {name}\n" for address in (*silent, serves) if name)
        hosts.flush()
        _run(f"mount --bind {hosts.name} /etc/hosts")
    if name and silent:
        first = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)[0][4][0]
        assert first in silent, first
