"""How fast a backlog is delivered when the server is back: `python -m benchmarks.backlog`."""

import gzip
import http.client
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from benchmarks import programs, waiting
from benchmarks.bench import Bench, Subject, alone
from benchmarks.peers import telegraf
from benchmarks.programs import Agent, Program
from benchmarks.tables import Row, Table, Target, ratio
from benchmarks.waiting import Backlog
from benchmarks.wire import Forwarder
from tests.influxd.api import Bucket

LINES = 200_000
ROUNDS = 5
FLUSH_S = 1
# Longer than from one flush to the next: then nothing follows any more.
_SILENCE_S = 1.5
_WITHIN_S = 120.0
# A reading is no part of this; the first is taken at the start, and goes first.
_NEVER_S = 86_400

TEXT = f"""\
{LINES} lines of real readings wait while the server refuses connections; then it is back, with an
empty bucket. Each contestant is a process of its own that has started, and has tried in vain,
before. **Seconds** are from the first byte of its first request to the last byte of the last
answer, by a forwarder on 127.0.0.1, so that neither the wait for its next try nor its flush
interval ({FLUSH_S} s) counts. **Processor time** is the process's meanwhile, **memory** the most
that it ever had (VmHWM). That all lines arrived is counted.

- **metrics-pipeline**: a spool with these lines, committed reading by reading; the default
  settings.
- **Telegraf, memory** and **disk**: `buffer_strategy` of that name, a `metric_batch_size` of
  {waiting.BODY_LINES} and a `metric_buffer_limit` beyond {LINES}; its input `socket_listener` was
  given the lines. The buffer on disk was filled and left by an earlier process.
- **Prepared bodies** of {waiting.BODY_LINES} lines, compressed beforehand, on one connection with
  nothing else to do: what the server itself takes from one client."""


@dataclass
class Fared:
    """How one way of delivery fared, once a round."""

    seconds: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)


Way = Callable[[Forwarder, Bucket, Path, Fared], None]
"""Delivers the backlog to a bucket, with an empty folder for its files; the server is away yet."""


def _settle(
    forwarder: Forwarder, program: Program, fared: Fared, is_done: Callable[[], bool]
) -> None:
    """Let the server be back, and measure until all is delivered."""
    program.until(lambda: _is_idle(program, 0.5), "rest before the server is back")
    before = program.cpu_s()
    forwarder.open()
    traffic = forwarder.traffic

    def is_over() -> bool:
        silent = bool(traffic.last) and time.monotonic() - traffic.last > _SILENCE_S
        return silent and is_done()

    program.until(is_over, "all is delivered", within_s=_WITHIN_S)
    fared.cpu_s.append(program.cpu_s() - before)
    fared.seconds.append(traffic.last - traffic.first)
    fared.peak_mib.append(program.peak_mib())


def _is_idle(program: Program, share: float) -> bool:
    """Look for a second whether it does no more than try again, which takes a share of a core."""
    before = program.cpu_s()
    time.sleep(1.0)
    return program.cpu_s() - before < share


def _delivered(forwarder: Forwarder) -> int:
    return sum(each.points for each in forwarder.traffic.requests())


def _agent(backlog: Backlog) -> Way:
    def deliver(forwarder: Forwarder, bucket: Bucket, folder: Path, fared: Fared) -> None:
        shutil.copytree(backlog.folder, folder / "data")
        settings = programs.delivering(bucket.server, bucket.name) | {
            "influxdb_url": forwarder.url,
            "collection_interval_ms": 1000 * _NEVER_S,
            "log_level": "info",
        }
        agent = Agent(folder, settings)
        with programs.ending(agent):
            _settle(forwarder, agent, fared, lambda: agent.waiting() == 0)

    return deliver


def _in_memory(binary: Path, backlog: Backlog) -> Way:
    def deliver(forwarder: Forwarder, bucket: Bucket, folder: Path, fared: Fared) -> None:
        output = telegraf.output(bucket.server, forwarder.url, bucket.name)
        with telegraf.buffering(binary, folder, FLUSH_S, output) as (program, port):
            _fill(program, port, backlog)
            _settle(forwarder, program, fared, lambda: True)

    return deliver


def _on_disk(bench: Bench, binary: Path, backlog: Backlog, buffer: Path) -> Way:
    """Fill the buffer on disk the first time, and deliver a copy of it each time."""

    def deliver(forwarder: Forwarder, bucket: Bucket, folder: Path, fared: Fared) -> None:
        output = telegraf.output(bucket.server, forwarder.url, bucket.name)
        if not buffer.exists():
            with (
                bench.swift("buffer") as place,
                telegraf.buffering(binary, place, _NEVER_S, output, place / "it") as (
                    program,
                    port,
                ),
            ):
                _fill(program, port, backlog)
                program.stop()
                shutil.copytree(place / "it", buffer)
        copy = folder / "buffer"
        shutil.copytree(buffer, copy)
        with telegraf.buffering(binary, folder, FLUSH_S, output, copy) as (program, _):
            _settle(forwarder, program, fared, lambda: True)

    return deliver


def _fill(program: Program, port: int, backlog: Backlog) -> None:
    def connected() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
            for body in backlog.bodies:
                connection.sendall(gzip.decompress(body))
            return True
        return False

    program.until(connected, "a socket that takes lines")
    program.until(lambda: _is_idle(program, 0.1), "its buffer is filled", within_s=_WITHIN_S)


def _prepared(backlog: Backlog) -> Way:
    def deliver(forwarder: Forwarder, bucket: Bucket, _: Path, fared: Fared) -> None:
        forwarder.open()
        query = urlencode({"org": bucket.server.org, "bucket": bucket.name, "precision": "ns"})
        headers = {"Authorization": f"Token {bucket.server.token}", "Content-Encoding": "gzip"}
        connection = http.client.HTTPConnection(urlsplit(forwarder.url).netloc, timeout=60)
        for body in backlog.bodies:
            connection.request("POST", f"/api/v2/write?{query}", body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 204:
                raise RuntimeError(f"the server answered {answer.status}")
        connection.close()
        fared.seconds.append(forwarder.traffic.last - forwarder.traffic.first)

    return deliver


def _ways(bench: Bench, backlog: Backlog) -> dict[str, Way | None]:
    binary = telegraf.find("telegraf-buffer")
    buffer = bench.place("backlog-buffer") / "it"
    return {
        "prepared bodies": _prepared(backlog),
        "metrics-pipeline": _agent(backlog),
        "Telegraf, memory": _in_memory(binary, backlog) if binary else None,
        "Telegraf, disk": _on_disk(bench, binary, backlog, buffer) if binary else None,
    }


@contextmanager
def _targets(bench: Bench, names: list[str]) -> Iterator[dict[str, Forwarder]]:
    """Give each way a forwarder of its own: the address is a part of what a buffer is named by."""
    forwarders = {name: Forwarder(bench.server.url) for name in names}
    try:
        yield forwarders
    finally:
        for forwarder in forwarders.values():
            forwarder.close()


def measure(bench: Bench) -> list[Table]:
    """Deliver the backlog in each way in turn, round after round."""
    bench.say(f"a backlog of {LINES} lines is made")
    backlog = waiting.make(bench.place("backlog"), LINES, 10)
    ways = _ways(bench, backlog)
    fared = {name: Fared() for name in ways}
    with _targets(bench, list(ways)) as forwarders:
        # The server makes its first shards in the first round, which does not count.
        for number in range(ROUNDS + 1):
            for index, (name, way) in enumerate(ways.items()):
                if way is None or (number == 0 and name != "prepared bodies"):
                    continue
                bench.say(f"a backlog is delivered: {name}")
                forwarder = forwarders[name]
                with bench.bucket(f"backlog-{index}") as bucket:
                    folder = bench.place(f"backlog-{index}-{number}")
                    way(forwarder, bucket, folder, fared[name] if number else Fared())
                    forwarder.shut()
                    if (arrived := _delivered(forwarder)) < backlog.lines:
                        raise RuntimeError(f"{name}: {arrived} of {backlog.lines} lines arrived")
    return _tables(backlog, fared, [name for name, way in ways.items() if way is None])


def _tables(backlog: Backlog, fared: dict[str, Fared], missing: list[str]) -> list[Table]:
    note = f"Missing: {', '.join(missing)}." if missing else ""
    took = {name: Row(name, "s", tuple(its.seconds)) for name, its in fared.items()}
    own, disk = took["metrics-pipeline"], took["Telegraf, disk"]
    seconds = (
        *took.values(),
        ratio(
            "rate of metrics-pipeline / prepared bodies",
            took["prepared bodies"],
            own,
            Target(0.9, least=True),
        ),
        ratio("rate of metrics-pipeline / Telegraf, disk", disk, own, Target(3, least=True)),
        ratio("rate of metrics-pipeline / Telegraf, memory", took["Telegraf, memory"], own),
    )
    agents = [name for name in fared if name != "prepared bodies"]
    cpu = tuple(Row(name, "s", tuple(fared[name].cpu_s)) for name in agents)
    bounds = {"metrics-pipeline": Target(80)}
    peak = tuple(Row(name, "MiB", tuple(fared[name].peak_mib), bounds.get(name)) for name in agents)
    return [
        Table(f"Delivery of {backlog.lines} lines", seconds, note),
        Table("Processor time of it", cpu, note),
        Table("Peak memory", peak, note),
    ]


SUBJECT = Subject("A backlog, when the server is back", "backlog", TEXT, measure)

if __name__ == "__main__":
    alone(SUBJECT)
