"""How fast a backlog is delivered, and what it takes on disk: `python -m benchmarks.delivery`."""

import gzip
import http.client
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from urllib.parse import urlencode, urlsplit

import click

from benchmarks import measuring
from pipeline.clock import SystemClock
from pipeline.collectors import Host, build
from pipeline.delivery import Delivery
from pipeline.influx.target import Target
from pipeline.pacing import Pace
from pipeline.point import decode
from pipeline.settings import Settings
from pipeline.spool import Spool
from pipeline.spool.schema import NAME
from tests.influxd import api, ways
from tests.influxd.server import InfluxServer

LINES = 200_000
BODY_LINES = 5_000
ROUNDS = 3
# Real readings, taken in a row; the backlog repeats them with times of its own.
SAMPLE_READINGS = 200
SPACING_NS = 10 * 10**9


@dataclass(frozen=True)
class Backlog:
    """Readings that wait.

    Attributes:
        folder: The data directory with them.
        bodies: The same lines as prepared gzip bodies.
        lines: How many lines.
        values: How many field values.
    """

    folder: Path
    bodies: list[bytes]
    lines: int
    values: int


class _Silent:
    def broke(self, message: str) -> None:
        raise RuntimeError(message)

    def healed(self) -> None: ...

    def failed(self) -> None: ...

    def wrote(self, seconds: float) -> None: ...


def _readings() -> Iterator[tuple[list[str], int]]:
    """Yield real readings over and over: their lines without the time, and how many values."""
    clock = SystemClock()
    guards = build(Host.system(clock), {})
    sample = []
    for _ in range(SAMPLE_READINGS):
        lines = [line for guard in guards for line in guard.run(1, {"host": "bench"}).lines]
        values = sum(len(line.point.fields) for line in decode("\n".join(lines)))
        sample.append(([line.rpartition(" ")[0] for line in lines], values))
    while True:
        yield from sample


def make(folder: Path) -> Backlog:
    """Commit a backlog as the agent does, reading by reading."""
    spool = Spool(folder, 2**40)
    spent: list[float] = []
    block: list[str] = []
    bodies: list[bytes] = []
    total = values = 0
    time_ns = time.time_ns() - LINES * SPACING_NS // 10
    for reading, its_values in _readings():
        time_ns += SPACING_NS
        lines = [f"{line} {time_ns}" for line in reading]
        began = time.perf_counter()
        spool.append(lines, time_ns)
        spent.append(1000 * (time.perf_counter() - began))
        total += len(lines)
        values += its_values
        block += lines
        if len(block) >= BODY_LINES or total >= LINES:
            bodies.append(gzip.compress("\n".join(block).encode(), 6))
            block = []
        if total >= LINES:
            break
    spool.close()
    measuring.table("making the backlog", [("commit of one reading, with fsync, ms", spent)])
    return Backlog(folder, bodies, total, values)


def post(server: InfluxServer, bucket: str, bodies: list[bytes]) -> None:
    """Send prepared bodies one after the other on one connection: as fast as one client can."""
    query = urlencode({"org": server.org, "bucket": bucket, "precision": "ns"})
    headers = {"Authorization": f"Token {server.token}", "Content-Encoding": "gzip"}
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    for body in bodies:
        connection.request("POST", f"/api/v2/write?{query}", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 204:
            raise RuntimeError(f"the server answered {answer.status}")
    connection.close()


def deliver(server: InfluxServer, bucket: str, folder: Path) -> None:
    """Send a backlog with the agent's own delivery."""
    settings = Settings(
        influxdb_url=server.url,
        influxdb_org=server.org,
        influxdb_bucket=bucket,
        influxdb_token=server.token,
        bucket_retention="off",
    )
    clock = SystemClock()
    spool = Spool(folder, 2**40)
    target = Target(settings, lambda: settings, clock, lambda _rule, _drift: None)
    pace = Pace(1.0, 0.0, settings.batch_max_points)
    Delivery(spool, target, clock, pace, random.uniform, _Silent(), lambda _: False).drain(Event())
    waiting = spool.contents().backlog_points
    target.close()
    spool.close()
    if waiting:
        raise RuntimeError(f"{waiting} points were not delivered")


@contextmanager
def fresh(server: InfluxServer) -> Iterator[str]:
    """Give the name of an empty bucket."""
    bucket = api.create_bucket(server, f"bench-{time.time_ns()}")
    try:
        yield bucket.name
    finally:
        api.delete_bucket(server, bucket.name)


def rounds(server: InfluxServer, backlog: Backlog, folder: Path) -> None:
    """Send the backlog both ways in turn, each into an empty bucket."""
    posted, delivered, spent = [], [], []
    for number in range(1 + ROUNDS):
        with fresh(server) as bucket:
            began = time.perf_counter()
            post(server, bucket, backlog.bodies)
            posted.append(time.perf_counter() - began)
        copy = folder / f"round-{number}"
        shutil.copytree(backlog.folder, copy)
        with fresh(server) as bucket:
            began, busy = time.perf_counter(), time.process_time()
            deliver(server, bucket, copy)
            delivered.append(time.perf_counter() - began)
            spent.append(time.process_time() - busy)
    # The first round warms up: it imports the client, and the server makes its first shards.
    posted, delivered, spent = posted[1:], delivered[1:], spent[1:]
    pairs = zip(posted, delivered, strict=True)
    measuring.table(
        f"{backlog.lines} lines to an empty bucket ({ROUNDS} rounds)",
        (
            (f"prepared bodies of {BODY_LINES} lines, s", posted),
            ("the agent's delivery, s", delivered),
            ("  its processor time, s", spent),
            ("the agent's rate / the prepared bodies' rate", [p / d for p, d in pairs]),
        ),
    )


def main() -> None:
    """Measure, and print a table."""
    measuring.machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("backlog", "influxd"):
            (folder / part).mkdir()
        backlog = make(folder / "backlog")
        size = (folder / "backlog" / NAME).stat().st_size
        click.echo(
            f"\nspool: {size} bytes for {backlog.values} field values: "
            f"{size / backlog.values:.2f} bytes each, {size / backlog.lines:.1f} a line"
        )
        with ways.disposable(os.environ, folder / "influxd") as server:
            rounds(server, backlog, folder)


if __name__ == "__main__":
    main()
