"""The agent beside Telegraf, collectd and Glances: `python -m benchmarks.agents`."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import click

from benchmarks.bench import Bench, Subject, opened
from benchmarks.contestants import AGENT, ALONE, COLLECTD, EVERY, GLANCES, INSTALLED, TELEGRAF, Pace
from benchmarks.machine import described
from benchmarks.soak import PACES, PART_S, PARTS, SOAK_S, Contestant, Soak, begun
from benchmarks.tables import Part, Row, Samples, Table, Target, ratio, terminal

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


def tables(soak: Soak) -> list[Table]:
    """Return what was measured."""
    paces = dict.fromkeys(each.pace for each in soak.contestants)
    its = {p: {c.name: c for c in soak.contestants if c.pace == p} for p in paces}
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


def measure(bench: Bench, soak_s: float = SOAK_S) -> list[Table]:
    """Measure all of them at once."""
    with begun(bench) as soak:
        soak.wait(soak_s)
        soak.measure()
        return tables(soak)


def apart(bench: Bench, soak_s: float) -> list[Table]:
    """Measure one after the other."""
    measured: list[Contestant] = []
    found: list[Table] = []
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
        found += _of_times(pace, by_name)
    return found


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
