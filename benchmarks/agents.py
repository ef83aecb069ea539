"""The agent beside Telegraf, collectd and Glances: `python -m benchmarks.agents`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import click

from benchmarks.bench import Bench, Subject, opened
from benchmarks.contestants import (
    AGENT,
    ALONE,
    COLLECTD,
    EVERY,
    GLANCES,
    INSTALLED,
    TELEGRAF,
    Pace,
    Run,
)
from benchmarks.machine import described
from benchmarks.programs import Program
from benchmarks.tables import Part, Row, Samples, Table, Target, ratio, terminal

PACES = (Pace(1, 1), Pace(1, 10), Pace(10, 10))
SOAK_S = 600.0
# Parts of the last window, each a whole number of readings and of flushes.
PARTS, PART_S = 3, {1: 20, 10: 40}

TEXT = f"""\
Four agents read the same subjects of this machine, each as a process of its own, and deliver to one
InfluxDB. All are started first, and measured {SOAK_S / 60:.0f} minutes later, in
{PARTS} parts of {PART_S[1]} s at an interval of 1 s and of {PART_S[10]} s at 10 s, while nothing
else is measured.

- **metrics-pipeline** is `metrics-pipeline run` with the default collectors, which include the
  agent's own figures. It commits each reading to disk, with fsync, before it delivers it. **As a
  user** has it: with a `settings.toml`, which it watches, and with the HTTP endpoint; the others
  have neither. **Local only** is without an `influxdb_url`. Its `flush_jitter_ms` is 0, as
  Telegraf's is.
- **Telegraf**, which [telegraf.sh](../benchmarks/peers/telegraf.sh) builds of its Go module into
  the user's cache: inputs `cpu`, `mem`, `swap`, `disk`, `diskio`, `net`, `system`, `processes` and
  `temp`, output `influxdb_v2`. All options are those of its sample configuration, but `interval`,
  `flush_interval` and `report_active`.
- **collectd**, Debian's `collectd-core` (with `libcurl3-gnutls` and `libyajl2`, which its plugin
  `write_http` is linked with). Plugins `cpu`, `memory`, `swap`, `df`, `disk`, `interface`, `load`,
  `processes` and `uptime`, with percentages and inodes as the others have them. It has no output
  for InfluxDB 2: `write_http` posts JSON, as in its manual's example, to a server of the benchmark
  on 127.0.0.1 that answers 204.
- **Glances**, which [glances.sh](../benchmarks/peers/glances.sh) puts into an environment of its
  own in the user's cache: `glances --export influxdb2 --quiet`, with the plugins of the same
  subjects.

**Processor time** is user and system time of the process, its threads and children, by the clock
that Linux keeps for a process, divided by the readings in the part: so it includes what they do
between readings. **Memory** is resident at the end of a part. A **ratio** is one part's. **Values**
are the fields of all series that reached the server, also of mounts and interfaces that were there
for a while only. **On the wire** is all that goes to the server, its headers included, by a
forwarder on 127.0.0.1 that counts, since the start; **a point** is a line.

They run at the same time: so all see the same machine, and one soak is enough for all. The
{len(PACES) * len(EVERY)} processes wake at the same seconds, and take some of the processor's
caches from each other, which costs each of them a little, and the ratios less:
`python -m benchmarks.agents --apart` measures one after the other, which takes far longer."""


@dataclass
class Contestant:
    """One of those that are compared, at one pace.

    Attributes:
        name: Which one.
        pace: Its pace.
        run: What was started; None: it is missing.
        cpu_ms: Processor time of a reading, one sample a part.
        memory_mib: Its resident memory at the end of each part.
    """

    name: str
    pace: Pace
    run: Run | None
    cpu_ms: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)

    def values(self) -> Samples:
        """Return how many values a reading has, once; none where nothing was delivered."""
        found = self.run.values() if self.run and self.run.values else 0
        return (float(found),) if found else ()

    def fail(self) -> None:
        """It ended by itself: it has no samples, and is no longer looked at."""
        self.cpu_ms.clear()
        self.memory_mib.clear()
        self.run = None


def _said(program: Program) -> str:
    return program.log.read_text(errors="replace")[-2000:] if program.log else ""


class Soak:
    """Contestants that have been started.

    Args:
        bench: Where they run.
        stack: Ends them.
        paces: All of them run at each of these.
    """

    def __init__(self, bench: Bench, stack: ExitStack, paces: Sequence[Pace] = PACES) -> None:
        self._bench = bench
        self._began = time.monotonic()
        self.contestants = [
            Contestant(name, pace, self._start(stack, number, name, pace))
            for number, pace in enumerate(paces)
            for name in EVERY
        ]

    def _start(self, stack: ExitStack, number: int, name: str, pace: Pace) -> Run | None:
        folder = self._bench.place(f"{number}-{name}")
        return EVERY[name](self._bench, stack, folder, pace)

    def wait(self, soak_s: float) -> None:
        """Wait until they have run for so long."""
        while (rest := self._began + soak_s - time.monotonic()) > 0:
            self._bench.say(f"the agents run for another {rest:.0f} s")
            time.sleep(min(rest, 60.0))

    def measure(self) -> None:
        """Take the samples, of all of them at once."""
        lengths = sorted({PART_S[each.pace.interval_s] for each in self.contestants})
        self._bench.say(f"the last {PARTS * lengths[-1]} s of the agents, which are measured")
        # Half a second away from all readings and flushes, which are at whole seconds.
        time.sleep(10 - (time.time() - 5.5) % 10)
        moments = sorted({number * length for length in lengths for number in range(PARTS + 1)})
        began, before = time.monotonic(), dict[int, float]()
        for moment in moments:
            time.sleep(max(0.0, began + moment - time.monotonic()))
            for number, each in enumerate(self.contestants):
                part_s = PART_S[each.pace.interval_s]
                if each.run is None or moment % part_s or moment > PARTS * part_s:
                    continue
                program = each.run.program
                if program.ended:
                    self._bench.say(f"{each.name} ended; what it said: {_said(program)}")
                    each.fail()
                    continue
                now = program.cpu_s()
                if moment:
                    readings = part_s / each.pace.interval_s
                    each.cpu_ms.append(1000 * (now - before[number]) / readings)
                    each.memory_mib.append(program.resident_mib())
                before[number] = now

    def tables(self) -> list[Table]:
        """Return what was measured."""
        paces = dict.fromkeys(each.pace for each in self.contestants)
        its = {p: {c.name: c for c in self.contestants if c.pace == p} for p in paces}
        return [table for pace in paces for table in _tables(pace, its[pace])]


def _tables(pace: Pace, by_name: Mapping[str, Contestant]) -> Iterator[Table]:
    missing = [name for name, each in by_name.items() if each.run is None]
    note = f"Missing, or ended: {', '.join(missing)}." if missing else ""
    cpu = {name: Row(name, "ms", tuple(each.cpu_ms)) for name, each in by_name.items()}
    yield Table(
        f"Processor time a reading: {pace}",
        (
            *cpu.values(),
            ratio("metrics-pipeline / Telegraf", cpu[AGENT], cpu[TELEGRAF], Target(0.4)),
            ratio("metrics-pipeline / collectd", cpu[AGENT], cpu[COLLECTD], Target(1.0)),
            ratio("metrics-pipeline / Glances", cpu[AGENT], cpu[GLANCES]),
        ),
        note,
    )
    bounds = {AGENT: Target(45), INSTALLED: Target(45), ALONE: Target(28)}
    memory = {
        name: Row(name, "MiB", tuple(each.memory_mib), bounds.get(name))
        for name, each in by_name.items()
    }
    yield Table(
        f"Resident memory: {pace}",
        (
            *memory.values(),
            ratio("metrics-pipeline / Telegraf", memory[AGENT], memory[TELEGRAF]),
            ratio("metrics-pipeline / collectd", memory[AGENT], memory[COLLECTD]),
            ratio("metrics-pipeline / Glances", memory[AGENT], memory[GLANCES]),
        ),
        note,
    )
    yield Table(
        f"Values of a reading that reached the server: {pace}",
        tuple(
            Row(name, "values", each.values()) for name, each in by_name.items() if name != ALONE
        ),
        note,
    )
    yield _on_the_wire(pace, by_name, note)


def _on_the_wire(pace: Pace, by_name: Mapping[str, Contestant], note: str) -> Table:
    rows: list[Row] = []
    a_point: dict[str, Row] = {}
    for name in (AGENT, TELEGRAF, GLANCES):
        run = by_name[name].run
        sizes: Samples = ()
        an_hour: Samples = ()
        if run is not None and run.forwarder is not None:
            traffic = run.forwarder.traffic
            requests = traffic.requests()
            sizes = tuple(each.size / each.points for each in requests if each.points)
            an_hour = (len(requests) * 3600 / (time.monotonic() - traffic.first),)
        a_point[name] = Row(f"{name}, a point", "bytes", sizes)
        rows += [a_point[name], Row(f"{name}, requests", "an hour", an_hour)]
    compared = ratio("a point, metrics-pipeline / Telegraf", a_point[AGENT], a_point[TELEGRAF])
    return Table(f"On the wire: {pace}", (*rows, compared), note)


@contextmanager
def begun(bench: Bench, paces: Sequence[Pace] = PACES) -> Iterator[Soak]:
    """Start all contestants; they are gone at the end."""
    with ExitStack() as stack:
        bench.say("starting the agents")
        yield Soak(bench, stack, paces)


def measure(bench: Bench, soak_s: float = SOAK_S) -> list[Table]:
    """Measure all of them at once."""
    with begun(bench) as soak:
        soak.wait(soak_s)
        soak.measure()
        return soak.tables()


def apart(bench: Bench, soak_s: float) -> list[Table]:
    """Measure one after the other."""
    measured: list[Contestant] = []
    tables: list[Table] = []
    for pace in PACES:
        for name in EVERY:
            with ExitStack() as stack:
                bench.say(f"{name}: {pace}")
                soak = Soak(bench, stack, ())
                run = EVERY[name](bench, stack, bench.place(f"{pace}-{name}"), pace)
                soak.contestants.append(Contestant(name, pace, run))
                soak.wait(soak_s)
                if run is not None:
                    soak.measure()
                measured += soak.contestants
        # Buckets and processes are gone by now, so that only times and memory are told.
        by_name = {each.name: each for each in measured if each.pace == pace}
        tables += _of_times(pace, by_name)
    return tables


def _of_times(pace: Pace, by_name: Mapping[str, Contestant]) -> list[Table]:
    first = iter(_tables(pace, by_name))
    return [next(first), next(first)]


SUBJECT = Subject("Beside Telegraf, collectd and Glances", "agents", TEXT, measure)


@click.command()
@click.option("--soak", "soak_s", default=SOAK_S, show_default=True, help="Seconds before.")
@click.option("--apart", "is_apart", is_flag=True, help="One after the other, and not all at once.")
def main(soak_s: float, *, is_apart: bool) -> None:
    """Measure, and print tables."""
    parts: list[Part] = [described()]
    with opened() as bench:
        parts += apart(bench, soak_s) if is_apart else measure(bench, soak_s)
    click.echo("\n\n".join(map(terminal, parts)))


if __name__ == "__main__":
    main()
