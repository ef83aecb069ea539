"""Those who are compared, each as a process that reads this machine and delivers what it reads."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import programs
from benchmarks.bench import Bench
from benchmarks.peers import collectd, glances, telegraf
from benchmarks.programs import Agent, Program
from benchmarks.wire import Forwarder, forwarding
from tests.influxd import api
from tests.influxd.process import free_port

AGENT, ALONE, INSTALLED = (
    "metrics-pipeline",
    "metrics-pipeline, local only",
    "metrics-pipeline, as installed",
)
TELEGRAF, COLLECTD, GLANCES = telegraf.NAME, collectd.NAME, glances.NAME


@dataclass(frozen=True)
class Pace:
    """How often a reading is taken, and how often what was read is sent, in seconds."""

    interval_s: int
    flush_s: int

    def __str__(self) -> str:
        """Return it in words."""
        return f"a reading each {self.interval_s} s, a flush each {self.flush_s} s"


@dataclass(frozen=True)
class Run:
    """A contestant under way.

    Attributes:
        program: The process.
        values: Tells how many values it has delivered, each series once; None: it does not deliver.
        forwarder: What counts its requests, if anything does.
    """

    program: Program
    values: Callable[[], int] | None = None
    forwarder: Forwarder | None = None


Start = Callable[[Bench, ExitStack, Path, Pace], Run | None]
"""Starts a contestant with its files in an empty folder, and has a stack end it; None: missing."""


def _target(bench: Bench, stack: ExitStack) -> tuple[Forwarder, str, Callable[[], int]]:
    """Make a bucket and a way to it; return what counts the values in it as well."""
    bucket = stack.enter_context(bench.bucket()).name
    forwarder = stack.enter_context(forwarding(bench.server.url))
    count = f'from(bucket: "{bucket}") |> range(start: -1h) |> last() |> keep(columns: ["_field"])'
    return forwarder, bucket, lambda: len(api.query(bench.server, count))


def _settings(pace: Pace) -> dict[str, object]:
    return {
        "collection_interval_ms": 1000 * pace.interval_s,
        "flush_interval_ms": 1000 * pace.flush_s,
    }


def _agent(bench: Bench, stack: ExitStack, folder: Path, pace: Pace) -> Run:
    forwarder, bucket, values = _target(bench, stack)
    settings = programs.delivering(bench.server, bucket) | _settings(pace)
    agent = Agent(folder, settings | {"influxdb_url": forwarder.url})
    return Run(stack.enter_context(programs.ending(agent)), values, forwarder)


def _alone(_: Bench, stack: ExitStack, folder: Path, pace: Pace) -> Run:
    return Run(stack.enter_context(programs.ending(Agent(folder, _settings(pace)))))


def _installed(bench: Bench, stack: ExitStack, folder: Path, pace: Pace) -> Run:
    forwarder, bucket, values = _target(bench, stack)
    port = free_port()
    settings = programs.delivering(bench.server, bucket) | _settings(pace)
    settings |= {"influxdb_url": forwarder.url, "http_port": port}
    secret = settings.pop("influxdb_token")
    _write(folder / "settings.toml", settings)
    _write(folder / ".secrets.toml", {"influxdb_token": secret})
    agent = Agent(folder, {"http_port": port})
    return Run(stack.enter_context(programs.ending(agent)), values, forwarder)


def _write(file: Path, settings: Mapping[str, object]) -> None:
    rows = (f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in settings.items())
    file.touch(0o600)
    file.write_text("\n".join(rows), encoding="utf-8")


def _telegraf(bench: Bench, stack: ExitStack, folder: Path, pace: Pace) -> Run | None:
    if (binary := telegraf.find()) is None:
        return None
    forwarder, bucket, values = _target(bench, stack)
    output = telegraf.output(bench.server, forwarder.url, bucket)
    running = telegraf.delivering(binary, folder, pace.interval_s, pace.flush_s, output)
    return Run(stack.enter_context(running), values, forwarder)


def _collectd(_: Bench, stack: ExitStack, folder: Path, pace: Pace) -> Run | None:
    if (binary := collectd.find()) is None:
        return None
    sink = stack.enter_context(collectd.listening())
    running = collectd.delivering(binary, folder, pace.interval_s, pace.flush_s, sink)
    return Run(stack.enter_context(running), lambda: len(sink.values))


def _glances(bench: Bench, stack: ExitStack, folder: Path, pace: Pace) -> Run | None:
    if (binary := glances.find()) is None:
        return None
    forwarder, bucket, values = _target(bench, stack)
    running = glances.delivering(
        binary, folder, pace.interval_s, pace.flush_s, bench.server, forwarder.url, bucket
    )
    return Run(stack.enter_context(running), values, forwarder)


EVERY: Mapping[str, Start] = {
    AGENT: _agent,
    INSTALLED: _installed,
    ALONE: _alone,
    TELEGRAF: _telegraf,
    COLLECTD: _collectd,
    GLANCES: _glances,
}
"""All of them, by name."""
