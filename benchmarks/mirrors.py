"""What a mirror adds to an agent: `python -m benchmarks.mirrors`."""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks import programs
from benchmarks.bench import Bench, Subject, alone
from benchmarks.programs import Agent
from benchmarks.tables import Row, Table, Target
from benchmarks.wire import Forwarder, forwarding

AGENTS = 3
RUN_S, FLUSH_MS = 60.0, 1_000
LOOKS, LOOK_S = 4, 10.0
# A flush lies at the edge of what is counted, now and then.
MOST_MIB, MOST_REQUESTS = 3.0, 1.05

TEXT = f"""\
Agents with the defaults, but for a reading and a flush each {FLUSH_MS / 1000:g} s: {AGENTS} that
deliver to one server, and {AGENTS} that have a mirror as well, another bucket of the same influxd.
All run side by side for {RUN_S:g} s; then their memory is looked at {LOOKS} times, each
{LOOK_S:g} s, while proxies count the requests. What a mirror adds is the difference between two
agents, one of each kind."""


@dataclass
class _Measured:
    """An agent, the proxies before its servers, and what came out."""

    agent: Agent
    ways: tuple[Forwarder, ...]
    memory_mib: list[float] = field(default_factory=list)
    requests: float = 0.0

    def writes(self) -> int:
        return sum(each.is_write for way in self.ways for each in way.traffic.requests())


def measure(bench: Bench) -> list[Table]:
    """Run agents with and without a mirror."""
    with ExitStack() as stack:
        alone_ = [_started(bench, stack, number, mirrors=0) for number in range(AGENTS)]
        both = [_started(bench, stack, number, mirrors=1) for number in range(AGENTS)]
        agents = [*alone_, *both]
        bench.say(f"agents with and without a mirror run for {RUN_S:g} s")
        time.sleep(RUN_S)
        before = [each.writes() for each in agents]
        began = time.monotonic()
        for _ in range(LOOKS):
            time.sleep(LOOK_S)
            for each in agents:
                each.memory_mib.append(each.agent.resident_mib())
        flushes = 1000 * (time.monotonic() - began) / FLUSH_MS
        for each, number in zip(agents, before, strict=True):
            each.requests = (each.writes() - number) / flushes
    memory = [tuple(m for each in some for m in each.memory_mib) for some in (alone_, both)]
    requests = [tuple(each.requests for each in some) for some in (alone_, both)]
    return [
        Table(
            "A mirror",
            (
                Row("resident memory, one server", "MiB", memory[0]),
                Row("resident memory, with a mirror", "MiB", memory[1]),
                Row("memory that it adds", "MiB", _added(*memory), Target(MOST_MIB)),
                Row("requests a flush, one server", "", requests[0]),
                Row("requests a flush, with a mirror", "", requests[1]),
                Row("requests a flush that it adds", "", _added(*requests), Target(MOST_REQUESTS)),
            ),
        )
    ]


def _added(before: tuple[float, ...], after: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(with_it - without for without, with_it in zip(before, after, strict=True))


def _started(bench: Bench, stack: ExitStack, number: int, *, mirrors: int) -> _Measured:
    settings: dict[str, object] = {
        "collection_interval_ms": FLUSH_MS,
        "flush_interval_ms": FLUSH_MS,
    }
    ways = []
    for name in ("main", "b")[: 1 + mirrors]:
        bucket = stack.enter_context(bench.bucket())
        way = stack.enter_context(forwarding(bench.server.url))
        given = programs.delivering(bench.server, bucket.name) | {"influxdb_url": way.url}
        if name == "main":
            settings |= given
        else:
            options = {key: value for key, value in given.items() if key.startswith("influxdb_")}
            settings |= {key.replace("influxdb_", "mirrors__b__"): v for key, v in options.items()}
        ways.append(way)
    agent = Agent(bench.place(f"mirrors-{mirrors}-{number}"), settings)
    stack.enter_context(programs.ending(agent))
    return _Measured(agent, tuple(ways))


SUBJECT = Subject("A mirror", "mirrors", TEXT, measure)

if __name__ == "__main__":
    alone(SUBJECT)
