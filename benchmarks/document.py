"""The document with all figures: the same text each time, so that diffs show only figures."""

from collections.abc import Sequence

from benchmarks.bench import Subject
from benchmarks.tables import HEAD, RIGHT, Listing, Part, Row, Table, markdown

_HEAD = """\
# What it costs

For those who ask what the agent costs a host, and how it compares.

`make bench` measures this on your machine in half an hour, and writes this document: no figure
in it is typed. It needs a disposable InfluxDB, as the [tests](testing.md) do; peers that are not
there are named as missing, and their rows stay empty. `.venv/bin/python -m benchmarks.NAME`
measures one subject alone, by the name that stands below its title.

Each figure has its least, its median and its greatest sample; a target is met if the median keeps
to it. Only ratios can be compared with those of another machine, and not always: on a virtual
machine whose neighbours are busy, an idle processor wakes with cold caches. Every agent then takes
several times as much, and they lie closer together.

The targets are from when the agent read nine subjects by default. It reads fourteen now: Telegraf
is given the same ones, collectd has none of the five more.
"""

_END = """\
## What is not measured

- The server's work for the agents, a network, TLS, and a server that answers slowly.
- Telegraf as its own packages have it, with all its plugins, and Glances with all of its own.
- What durability costs the others: Telegraf, collectd and Glances hold in memory what is not
  delivered yet, and lose it with the process. Their processor time has no fsync in it.
- Temperatures (where a machine has no sensor, and collectd's plugin for them stays out), many cores
  and disks.
- A cold disk: what is opened and read here is in the system's memory.
- Longer than a day of readings, and memory of a process that lives for weeks.
"""


def written(machine: Listing, found: Sequence[tuple[Subject, Sequence[Part]]]) -> str:
    """Return the document.

    Args:
        machine: What it was measured on.
        found: The subjects in their order, each with its tables.
    """
    targets = [row for _, parts in found for part in parts for row in _with_targets(part)]
    sections = [_HEAD, _section("Targets", [_targets(targets)]), _section("The machine", [machine])]
    for subject, parts in found:
        title = f"{subject.title}\n\n`python -m benchmarks.{subject.module}`\n\n{subject.text}"
        sections.append(_section(title, parts))
    return "\n".join([*sections, _END])


def _section(title: str, parts: Sequence[Part]) -> str:
    return "\n\n".join([f"## {title}", *map(markdown, parts)]) + "\n"


def _with_targets(part: Part) -> list[tuple[str, Row]]:
    if not isinstance(part, Table):
        return []
    return [(part.title, row) for row in part.rows if row.target is not None]


def _targets(rows: Sequence[tuple[str, Row]]) -> Listing:
    cells = tuple((f"{title}: {row.name}", *row.cells[1:]) for title, row in rows)
    missed = sum(row.is_missed for _, row in rows)
    note = f"{missed} of {len(rows)} are missed." if missed else "None is missed."
    return Listing("", HEAD, cells, note, RIGHT)
