"""How many hosts one influxd takes: `python -m benchmarks.fleet`, which writes docs/scale.md."""

import contextlib
import functools
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import psutil

from benchmarks import scale
from benchmarks.hosts import SAMPLES, Bodies, Line, Request, send
from benchmarks.machine import described
from benchmarks.scale import INTERVAL_S, Load
from benchmarks.tables import terminal
from tests.influxd import api, binary, process, ways
from tests.influxd.process import InfluxProcess

# A host has a connection of its own. Here so many are shared: where all are in use, the next
# request waits for one, and its wait counts.
CONNECTIONS = 900
# A server at rest uses less than this share of a core; it is given so many seconds to come to rest.
IDLE, SETTLE_S = 0.1, 6
# When the size of its files has been the same for so many seconds, they are compacted.
STABLE_S = 6
MINUTE_S = 60
DISK_DAYS = 3
_BULK = 200

Due = Callable[[], float]
"""Returns when a host sends, in seconds since the interval began."""


class Fleet:
    """Hosts that send to one server."""

    def __init__(self, influxd: InfluxProcess, bucket: str, bodies: Bodies) -> None:
        self._server, self._bodies = psutil.Process(influxd.pid), bodies
        self._lines = [Line(influxd.server, bucket) for _ in range(CONNECTIONS)]
        self._known = 0

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.close()

    def _know(self, hosts: int) -> None:
        """Let the server make the series of so many hosts: what is new costs more, once."""
        now = time.time_ns() - 3600 * 10**9
        for first in range(self._known, hosts, _BULK):
            some = range(first, min(first + _BULK, hosts))
            self._lines[0].post(b"".join(self._bodies.one(host, now) for host in some))
        self._known = max(self._known, hosts)

    def _settle(self) -> None:
        """Wait until the server has done what the last requests left to be done."""
        for _ in range(SETTLE_S):
            before = self._server.cpu_times()
            time.sleep(1)
            after = self._server.cpu_times()
            if after.user + after.system - before.user - before.system < IDLE:
                return

    def run(self, hosts: int, due: Due, flush_s: int = INTERVAL_S) -> Load:
        """Let so many hosts send for two intervals, or one that is too much already.

        Args:
            hosts: How many.
            due: When each sends.
            flush_s: From one sending of a host to its next; in an interval some of them send.
        """
        self._know(hosts)
        readings = flush_s // INTERVAL_S
        number = hosts // readings
        plan = sorted(due() for _ in range(number))
        now = time.time_ns()
        bodies = [
            [
                self._bodies.flush(
                    n * number % hosts + each, now + n * INTERVAL_S * 10**9, readings
                )
                for each in random.sample(range(number), number)
            ]
            for n in range(2)
        ]
        self._settle()
        took: list[float] = []
        worst, answered = 0.0, 0
        server, own, began = self._server_s(), time.process_time(), time.monotonic()
        for turn, each in enumerate(bodies):
            start = began + turn * INTERVAL_S
            requests = [Request(start + at, body) for at, body in zip(plan, each, strict=True)]
            took_now, answered_now = send(self._lines, requests)
            took += took_now
            answered += answered_now
            worst = max(worst, 1000 * scale.percentile(took[-number:], 95))
            if worst > scale.SLOW_MS:
                break
        spent = max(time.monotonic() - began, (turn + 1.0) * INTERVAL_S)
        cores = psutil.cpu_count() or 1
        return Load(
            hosts=hosts,
            requests_s=answered / spent,
            points_s=answered * self._bodies.lines * readings / spent,
            median_ms=1000 * scale.percentile(took, 50),
            p95_ms=worst,
            longest_ms=1000 * max(took),
            server_share=(self._server_s() - server) / spent / cores,
            client_share=(time.process_time() - own) / spent / cores,
            server_mib=self._server.memory_info().rss / 2**20,
        )

    def _server_s(self) -> float:
        its = self._server.cpu_times()
        return its.user + its.system


def search(run: Callable[[int], Load], first: int, *, middle: bool) -> list[Load]:
    """Double the hosts until writes slow down, or halve them until they do not.

    Args:
        run: Lets so many hosts send.
        first: How many to begin with.
        middle: Whether to try the middle between the two at last.
    """
    loads: list[Load] = []

    def hold(hosts: int) -> bool:
        loads.append(run(hosts))
        click.echo(scale.measured(loads[-1:]).splitlines()[-1])
        return loads[-1].held

    low = high = first
    if hold(first):
        while hold(high := 2 * high):
            low = high
    else:
        while not hold(low := low // 2):
            high = low
    if middle:
        hold((low + high) // 2)
    return loads


@contextmanager
def influxd(folder: Path, *flags: str) -> Iterator[InfluxProcess]:
    """Run a server of one's own, with a bucket."""
    folder.mkdir()
    with process.running(ways.influxd_to_break(os.environ), folder, *flags) as running:
        api.create_bucket(running.server, "fleet")
        yield running


def on_disk(folder: Path, bodies: Bodies) -> float:
    """Return the bytes that a point takes in InfluxDB when all is compacted."""
    at_once = ("snapshot-write-cold-duration", "compact-full-write-cold-duration")
    flags = [f"--storage-{'cache-' if x.startswith('s') else ''}{x}=1s" for x in at_once]
    readings = DISK_DAYS * 86_400 // INTERVAL_S
    with influxd(folder, *flags) as running:
        line = Line(running.server, "fleet")
        end = time.time_ns()
        for first in range(0, readings, _BULK):
            some = range(first, min(first + _BULK, readings))
            times = (end - (readings - n) * INTERVAL_S * 10**9 for n in some)
            line.post(b"".join(bodies.one(0, time_ns) for time_ns in times))
        line.close()
        sizes: list[int] = []
        while len(sizes) < STABLE_S or len(set(sizes[-STABLE_S:])) > 1:
            time.sleep(1)
            sizes.append(_size(folder / "engine" / "data"))
    return sizes[-1] / readings / bodies.lines


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.tsm"))


def main() -> None:
    """Measure, print the tables, and write them into docs/scale.md."""
    click.echo(terminal(described()))
    bodies = Bodies()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sent = [len(bodies.one(host, time.time_ns())) for host in range(SAMPLES)]
        facts = {
            scale.LINES: bodies.lines,
            scale.SERIES: bodies.series,
            scale.SENT: round(sum(sent) / SAMPLES),
            scale.STORED: round(on_disk(folder / "disk", bodies), 1),
        }
        click.echo(scale.listed(facts))
        loads = measure(folder / "fleet", bodies)
    facts |= {name: scale.most(some) for name, some in loads.items()}
    click.echo(scale.listed(facts))
    click.echo(scale.derived(facts))
    scale.write(f"{psutil.cpu_count()} cores, influxd {binary.VERSION}", facts, loads)


def measure(folder: Path, bodies: Bodies) -> dict[str, list[Load]]:
    """Return the loads of each way of sending."""
    loads = {}
    with influxd(folder) as running, contextlib.closing(Fleet(running, "fleet", bodies)) as fleet:
        spread = functools.partial(random.uniform, 0.0, INTERVAL_S)
        sendings: dict[str, tuple[int, Callable[[int], Load]]] = {
            scale.AT_ONCE: (1_000, lambda hosts: fleet.run(hosts, lambda: 0.0)),
            scale.EVEN: (8_000, lambda hosts: fleet.run(hosts, spread)),
            scale.MINUTE: (24_000, lambda hosts: fleet.run(hosts, spread, MINUTE_S)),
        }
        for name, (first, run) in sendings.items():
            click.echo(name)
            # To make series for ever more hosts takes the longest.
            loads[name] = search(run, first, middle=name != scale.MINUTE)
    return loads


if __name__ == "__main__":
    main()
