"""The agent beside Telegraf, collectd and Glances: `python -m benchmarks.agents`."""

from collections.abc import Iterator, Mapping

import click

from benchmarks.bench import Bench, Subject, opened
from benchmarks.contestants import AGENT, ALONE, COLLECTD, GLANCES, INSTALLED, TELEGRAF, Pace
from benchmarks.machine import described
from benchmarks.soak import PARTS, SOAK_S, TIMED, Contestant, Soak, begun
from benchmarks.tables import Part, Row, Table, Target, ratio, terminal

TEXT = f"""\
Four agents read the same subjects of this machine, each as a process of its own, and deliver to one
InfluxDB; all run side by side for {SOAK_S / 60:.0f} minutes and more.

- **metrics-pipeline** is `metrics-pipeline run` with the default collectors, which include the
  agent's own figures. It commits each reading to disk, with fsync, before it delivers it. Its
  `flush_jitter_ms` is 0, as Telegraf's is. **As installed** has a `settings.toml`, which it
  watches, and the HTTP endpoint; the others have neither. **Local only** has no `influxdb_url`.
- **Telegraf**, which [telegraf.sh](../benchmarks/peers/telegraf.sh) builds of its Go module into
  the user's cache: inputs `cpu`, `mem`, `swap`, `disk`, `diskio`, `net`, `system`, `processes`,
  `temp`, `kernel` with `psi`, `nstat`, `conntrack` and `linux_sysctl_fs`, output `influxdb_v2`. All
  options are those of its sample configuration, but `interval`, `flush_interval` and
  `report_active`; of `nstat`, `conntrack` and `linux_sysctl_fs` it has the fields that the agent
  writes, and of `nstat` no zeros, which the agent writes once an hour.
- **collectd**, Debian's `collectd-core` (with `libcurl3-gnutls` and `libyajl2`, which its plugin
  `write_http` is linked with). Plugins `cpu`, `memory`, `swap`, `df`, `disk`, `interface`, `load`,
  `processes` and `uptime`, with percentages and inodes as the others have them. It has no output
  for InfluxDB 2: `write_http` posts JSON, as in its manual's example, to a server of the benchmark
  on 127.0.0.1 that answers 204.
- **Glances**, which [glances.sh](../benchmarks/peers/glances.sh) puts into an environment of its
  own in the user's cache: `glances --export influxdb2 --quiet`, with the plugins of the same
  subjects.

**Processor time** is user and system time of the process, its threads and children, by the clock
that Linux keeps for a process, divided by the readings in a part: so it includes what they do
between readings. It is measured in {PARTS} parts, of a whole number of readings and flushes each,
of one agent after the other, towards the end; the others stand still then (SIGSTOP). Side by side
they would wake at the same seconds, which costs a peer more than the agent, and would flatter it.
**Memory** is resident at the end. A **ratio** is of two parts. **Values** are the fields of all
series that reached the server, also of mounts and interfaces that were there for a while only. **On
the wire** is all that goes to the server, its headers included, by a forwarder on 127.0.0.1 that
counts, from the start until they stand still; **a point** is a line."""


_SHARES = {TELEGRAF: Target(0.45), COLLECTD: Target(1.0)}


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
            *(cpu[name] for name in TIMED[pace]),
            *(
                ratio(f"metrics-pipeline / {peer}", cpu[AGENT], cpu[peer], _SHARES.get(peer))
                for peer in TIMED[pace][1:]
            ),
        ),
        note,
    )
    bounds = {AGENT: Target(56), INSTALLED: Target(56), ALONE: Target(36)}
    memory = {
        name: Row(name, "MiB", tuple(each.memory_mib), bounds.get(name))
        for name, each in by_name.items()
    }
    yield Table(
        f"Resident memory: {pace}",
        (
            *memory.values(),
            *(
                ratio(f"metrics-pipeline / {peer}", memory[AGENT], memory[peer])
                for peer in (TELEGRAF, COLLECTD, GLANCES)
                if peer in memory
            ),
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
        if name not in by_name:
            continue
        its = by_name[name]
        sizes = tuple(each.size / each.points for each in its.sent if each.points)
        an_hour = (len(its.sent) * 3600 / its.sent_s,) if its.sent_s else ()
        a_point[name] = Row(f"{name}, a point", "bytes", sizes)
        rows += [a_point[name], Row(f"{name}, requests", "an hour", an_hour)]
    compared = ratio("a point, metrics-pipeline / Telegraf", a_point[AGENT], a_point[TELEGRAF])
    return Table(f"On the wire: {pace}", (*rows, compared), note)


def measure(bench: Bench, soak_s: float = SOAK_S) -> list[Table]:
    """Measure all of them at once."""
    with begun(bench) as soak:
        soak.wait(soak_s)
        return measured(soak, soak_s)


def measured(soak: Soak, soak_s: float) -> list[Table]:
    """Measure those that run, and have run for so long at the end."""
    soak.measure(soak_s)
    return tables(soak)


SUBJECT = Subject("Beside Telegraf, collectd and Glances", "agents", TEXT, measure)


@click.command()
@click.option("--soak", "soak_s", default=SOAK_S, show_default=True, help="Seconds before.")
def main(soak_s: float) -> None:
    """Measure, and print tables."""
    parts: list[Part] = [described()]
    with opened() as bench:
        parts += measure(bench, soak_s)
    click.echo("\n\n".join(map(terminal, parts)))


if __name__ == "__main__":
    main()
