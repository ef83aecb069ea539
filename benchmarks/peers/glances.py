"""Glances as a process: where it is, and how it is told what to do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.peers import installed
from benchmarks.programs import LOG, Program, ending
from tests.influxd.server import InfluxServer

NAME = "Glances"
MISSING = "benchmarks/peers/glances.sh installs it"

# Subjects as of the others; with all that it has, each cycle costs it far more.
_PLUGINS = "cpu,percpu,mem,memswap,fs,diskio,network,load,system,uptime,processcount,sensors"
# Its client wants a user and a password too, and uses neither.
_CONFIG = """
[outputs]
[influxdb2]
host={host}
port={port}
protocol=http
org={org}
bucket={bucket}
token={token}
user=unused
password=unused
interval={flush}
"""


def find() -> Path | None:
    """Return the one that glances.sh installed."""
    return installed.cached("glances", "bin/glances")


def version() -> str | None:
    """Return which one it is, such as `4.5.8`; None where it is missing."""
    return installed.version(find(), "--version", "")


@contextmanager
def delivering(
    binary: Path,
    folder: Path,
    interval_s: int,
    flush_s: int,
    server: InfluxServer,
    url: str,
    bucket: str,
) -> Iterator[Program]:
    """Run it; it is gone at the end, by SIGKILL: it hangs on SIGTERM while a server is down."""
    config = folder / "glances.conf"
    parts = urlsplit(url)
    text = _CONFIG.format(
        host=parts.hostname,
        port=parts.port,
        org=server.org,
        bucket=bucket,
        token=server.token,
        flush=flush_s,
    )
    config.write_text(text, encoding="utf-8")
    options = ["--export", "influxdb2", "--quiet", "--time", str(interval_s)]
    plugins = ["--disable-plugin", "all", "--enable-plugin", _PLUGINS]
    # Its log and its caches go to the home of whoever runs it.
    env = os.environ | {"HOME": str(folder), "XDG_STATE_HOME": str(folder)}
    command: list[str | Path] = [binary, "-C", config, *options, *plugins, "--disable-check-update"]
    with ending(Program(command, env, folder / LOG)) as program:
        yield program
