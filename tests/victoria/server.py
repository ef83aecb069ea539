"""VictoriaMetrics as a bare process, and what it holds."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from pipeline.cli.rehearse.lifeline import tied
from tests.influxd.http import call
from tests.influxd.process import free_port
from tests.influxd.server import wait_until_healthy

_PROGRAM = "victoria-metrics"

Key = tuple[str, tuple[tuple[str, str], ...], int]
"""The name of a metric, its labels, and a time in ms."""


class NoVictoriaError(Exception):
    """There is no VictoriaMetrics; the message says how to get one."""


@dataclass(frozen=True)
class Victoria:
    """A running VictoriaMetrics.

    Attributes:
        url: Where it answers.
    """

    url: str

    def found(self, host: str) -> list[tuple[Key, float]]:
        """Return all that it holds of a host, in order."""
        call("GET", f"{self.url}/internal/force_flush").expect(200)
        query = urlencode({"match[]": f'{{host="{host}"}}'})
        answer = call("GET", f"{self.url}/api/v1/export?{query}").expect(200)
        found: list[tuple[Key, float]] = []
        for line in answer.body.splitlines():
            series = json.loads(line)
            name = series["metric"].pop("__name__")
            labels = tuple(sorted(series["metric"].items()))
            points = zip(series["timestamps"], series["values"], strict=True)
            found += [((name, labels, time_ms), float(value)) for time_ms, value in points]
        return sorted(found)


@contextmanager
def running(folder: Path) -> Iterator[Victoria]:
    """Run one on loopback; it is gone at the end.

    Args:
        folder: An existing folder for its data and log.

    Raises:
        NoVictoriaError: There is none.
    """
    program = shutil.which(_PROGRAM)
    if program is None:
        raise NoVictoriaError(f"no {_PROGRAM} is there; on Debian: apt-get install {_PROGRAM}")
    address = f"127.0.0.1:{free_port()}"
    command = [
        program,
        f"-storageDataPath={folder / 'data'}",
        f"-httpListenAddr={address}",
        "-retentionPeriod=1d",
        "-dedup.minScrapeInterval=1ms",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            tied(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        )
    try:
        if not wait_until_healthy(f"http://{address}", lambda: process.poll() is None):
            raise RuntimeError(f"{_PROGRAM} ended at once: {(folder / 'log').read_text()[-2000:]}")
        yield Victoria(f"http://{address}")
    finally:
        process.kill()
        process.wait()
