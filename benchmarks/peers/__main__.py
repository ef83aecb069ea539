"""The agent, Telegraf and collectd in turn, measured: `python -m benchmarks.peers`."""

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path

import click

from benchmarks import measuring
from benchmarks.measuring import Program
from benchmarks.peers import collectd, telegraf
from tests.influxd import api, ways
from tests.influxd.server import InfluxServer

# By then each has started up and delivered: the agent imports its client only then.
WARM_S, WARM_INTERVALS = 5, 2


@dataclass(frozen=True)
class Run:
    """A process under way.

    Attributes:
        program: The process.
        values: Tells how many values it has delivered, each series once.
    """

    program: Program
    values: Callable[[], int]


@dataclass
class Contestant:
    """One of those that are compared.

    Attributes:
        name: Its name and version.
        run: Runs it, with its files in a folder that is not there yet, at an interval in seconds;
            None where it is missing.
        cpu_ms: Processor time of a reading, one sample a round.
        memory_mib: Its resident memory at the end of each round.
        values: How many values its reading has.
    """

    name: str
    run: Callable[[Path, int], AbstractContextManager[Run]] | None
    cpu_ms: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)
    values: int = 0


@contextmanager
def _bucket(server: InfluxServer) -> Iterator[tuple[str, Callable[[], int]]]:
    """Make a bucket; give its name and what counts the values that are in it."""
    bucket = api.create_bucket(server, f"bench-{time.time_ns()}")
    count = (
        f'from(bucket: "{bucket.name}") |> range(start: -1h) |> last() |> keep(columns: ["_field"])'
    )
    try:
        yield bucket.name, lambda: len(api.query(server, count))
    finally:
        api.delete_bucket(server, bucket.name)


@contextmanager
def _agent(server: InfluxServer, folder: Path, interval_s: int) -> Iterator[Run]:
    with _bucket(server) as (bucket, values):
        settings = measuring.delivering(server, bucket) | {
            "collection_interval_ms": 1000 * interval_s,
            "flush_interval_ms": 1000 * interval_s,
        }
        with measuring.running(folder, settings) as agent:
            yield Run(agent, values)


@contextmanager
def _telegraf(binary: Path, server: InfluxServer, folder: Path, interval_s: int) -> Iterator[Run]:
    with (
        _bucket(server) as (bucket, values),
        telegraf.delivering(binary, folder, interval_s, server, bucket) as program,
    ):
        yield Run(program, values)


@contextmanager
def _collectd(binary: Path, folder: Path, interval_s: int) -> Iterator[Run]:
    with (
        collectd.listening() as sink,
        collectd.delivering(binary, folder, interval_s, sink) as program,
    ):
        yield Run(program, lambda: len(sink.values))


def measure(contestant: Contestant, folder: Path, interval_s: int, period_s: int) -> None:
    """Take one sample of a contestant that is not missing."""
    if contestant.run is None:
        return
    with contestant.run(folder, interval_s) as run:
        time.sleep(WARM_S + WARM_INTERVALS * interval_s)
        # Half an interval away from the readings, which are taken at whole multiples of it.
        time.sleep(interval_s - (time.time() - interval_s / 2) % interval_s)
        before = run.program.cpu_s()
        time.sleep(period_s)
        spent = run.program.cpu_s() - before
        if run.program.ended:
            raise RuntimeError(f"{contestant.name} ended: {_said(folder)}")
        contestant.cpu_ms.append(1000 * spent * interval_s / period_s)
        contestant.memory_mib.append(run.program.resident_mib())
        contestant.values = run.values()
        if not contestant.values:
            raise RuntimeError(f"{contestant.name} delivered nothing: {_said(folder)}")


def _said(folder: Path) -> str:
    """Return the end of what a peer said; the agent says it where this process does."""
    log = folder / measuring.LOG
    return log.read_text(encoding="utf-8", errors="replace")[-2000:] if log.exists() else ""


_CPU: Callable[[Contestant], list[float]] = attrgetter("cpu_ms")
_MEMORY: Callable[[Contestant], list[float]] = attrgetter("memory_mib")


def report(contestants: Sequence[Contestant], when: str) -> None:
    """Print what the contestants cost, and what the first one costs beside each other.

    Args:
        contestants: The agent, then its peers.
        when: How they were measured.
    """
    own, *peers = contestants
    told = [f"{each.name} {each.values}" for each in contestants if each.values]
    click.echo(f"\n{when}; values a reading: {', '.join(told)}")
    for title, samples in (
        ("processor time a reading, ms", _CPU),
        ("resident memory, MiB", _MEMORY),
    ):
        rows = [(each.name, samples(each)) for each in contestants]
        for peer in peers:
            if samples(peer):
                pairs = zip(samples(own), samples(peer), strict=True)
                rows.append((f"  {own.name} / {peer.name}", [a / b for a, b in pairs]))
        measuring.table(title, rows)


def contestants(server: InfluxServer) -> list[Contestant]:
    """Return the agent and its peers; those that are missing cannot be run."""
    made = [Contestant("metrics-pipeline", partial(_agent, server))]
    if found := telegraf.find():
        made.append(Contestant(telegraf.version(found), partial(_telegraf, found, server)))
    else:
        made.append(Contestant(f"Telegraf {telegraf.VERSION} (missing)", None))
    if found := collectd.find():
        made.append(Contestant(collectd.version(found), partial(_collectd, found)))
    else:
        made.append(Contestant("collectd (missing)", None))
    return made


@click.command()
@click.option(
    "--interval",
    "intervals",
    type=click.IntRange(1),
    multiple=True,
    default=(1, 10),
    show_default=True,
    help="Seconds from one reading to the next, and from one flush to the next; may be repeated.",
)
@click.option(
    "--period",
    "period_s",
    type=click.IntRange(1),
    default=60,
    show_default=True,
    help="Seconds that each run is measured for, at least one interval.",
)
@click.option(
    "--rounds", type=click.IntRange(1), default=3, show_default=True, help="Runs of each."
)
@click.option("--install-collectd", is_flag=True, help="Install Debian's packages first, as root.")
def main(intervals: tuple[int, ...], period_s: int, rounds: int, install_collectd: bool) -> None:
    """Measure the agent, Telegraf and collectd in turn, and print tables."""
    if install_collectd and collectd.find() is None:
        collectd.install()
    if telegraf.find() is None:
        click.echo(f"Telegraf is missing: {telegraf.MISSING}")
    if collectd.find() is None:
        click.echo(f"collectd is missing: {collectd.MISSING}")
    if telegraf.find() is None and collectd.find() is None:
        click.echo("there is nothing to compare with")
        return
    measuring.machine()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name).resolve()
        (folder / "influxd").mkdir()
        server = stack.enter_context(ways.disposable(os.environ, folder / "influxd"))
        for interval_s in intervals:
            compared = contestants(server)
            whole_s = max(1, period_s // interval_s) * interval_s
            for number, each in itertools.product(range(rounds), compared):
                place = folder / f"{interval_s}-{number}-{compared.index(each)}"
                measure(each, place, interval_s, whole_s)
            report(compared, f"a reading and a flush each {interval_s} s, {rounds} x {whole_s} s")


if __name__ == "__main__":
    main()
