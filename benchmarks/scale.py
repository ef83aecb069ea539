"""What was measured of a fleet, and what follows of it: the tables of docs/scale.md."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tables import Listing, markdown

DOCUMENT = Path(__file__).parent.parent / "docs" / "scale.md"
BEGIN, END = "<!-- what `make fleet` measured -->", "<!-- to here -->"

INTERVAL_S = 10
"""From one reading of a host to its next."""
SLOW_MS = 1_000.0
FLEETS = (1_000, 10_000, 1_000_000)

LINES, SERIES, SENT = "points (lines) a reading", "series a host", "bytes sent a reading"
STORED = "bytes on disk a point, compacted"
EVEN = "hosts that send each 10 s, spread evenly"
AT_ONCE = "hosts that send each 10 s, all at one moment"
MINUTE = "hosts that send six readings each minute, spread evenly"

Facts = Mapping[str, float]
"""What was measured, by what it is; of each way of sending the most hosts that held."""


@dataclass(frozen=True)
class Load:
    """So many hosts, and how the server took them; shares are of all cores of the machine."""

    hosts: int
    requests_s: float
    points_s: float
    median_ms: float
    p95_ms: float
    longest_ms: float
    server_share: float
    client_share: float
    server_mib: float

    @property
    def held(self) -> bool:
        """Whether writes were as quick as they should be."""
        return self.p95_ms <= SLOW_MS


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the sample that so many percent do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def most(loads: Iterable[Load]) -> int:
    """Return the most hosts that held."""
    return max((load.hosts for load in loads if load.held), default=0)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table of Markdown, whose first column is text and whose others are figures."""
    figures = frozenset(range(1, len(head)))
    return f"{markdown(Listing('', head, tuple(rows), right=figures))}\n"


def measured(loads: Sequence[Load]) -> str:
    """Return what was measured of one way of sending."""
    head = ("hosts", "requests/s", "points/s", "median ms", "95th percentile ms", "longest ms",
            "server's processor", "client's", "server's memory MiB", "held")  # fmt: skip
    rows = (
        (
            f"{x.hosts:,}", f"{x.requests_s:.0f}", f"{x.points_s:,.0f}", f"{x.median_ms:.1f}",
            f"{x.p95_ms:.0f}", f"{x.longest_ms:.0f}", f"{x.server_share:.0%}",
            f"{x.client_share:.0%}", f"{x.server_mib:.0f}", "yes" if x.held else "no",
        )
        for x in sorted(loads, key=lambda load: load.hosts)
    )  # fmt: skip
    return table(head, rows)


def listed(facts: Facts) -> str:
    """Return the facts as a table, from which `read` gets them back."""
    return table(("measured", ""), ((name, f"{value:,.10g}") for name, value in facts.items()))


def read(text: str) -> dict[str, float]:
    """Return the facts that a document lists."""
    names = "|".join(map(re.escape, (LINES, SERIES, SENT, STORED, EVEN, AT_ONCE, MINUTE)))
    found = re.findall(rf"^\| ({names}) \| ([\d,.]+) \|$", text, re.MULTILINE)
    return {name: float(value.replace(",", "")) for name, value in found}


def derived(facts: Facts) -> str:
    """Return what the facts say of fleets: of servers so many that each has half of what held."""
    head = ("hosts", "series", "points a day", "GB on disk a day", "GB sent a day",
            "requests/s, each 10 s", "servers", "requests/s, each minute", "servers")  # fmt: skip
    rows = []
    for hosts in FLEETS:
        readings = hosts * 86_400 // INTERVAL_S
        points = readings * facts[LINES]
        gigabytes = (points * facts[STORED] / 1e9, readings * facts[SENT] / 1e9)
        ways = [
            cell
            for every_s, held in ((INTERVAL_S, facts[EVEN]), (60, facts[MINUTE]))
            for cell in (f"{hosts / every_s:,.0f}", f"{math.ceil(2 * hosts / held):,}")
        ]
        series = f"{hosts * facts[SERIES]:,.0f}"
        told = (f"{size:,.1f}" if size < 100 else f"{size:,.0f}" for size in gigabytes)
        rows.append((f"{hosts:,}", series, f"{points:,.0f}", *told, *ways))
    return table(head, rows)


def write(machine: str, facts: Facts, loads: Mapping[str, Sequence[Load]]) -> None:
    """Put what was measured into docs/scale.md, between its two marks."""
    parts = [f"{machine}.\n", listed(facts)]
    parts += [f"{name[0].upper()}{name[1:]}:\n\n{measured(some)}" for name, some in loads.items()]
    parts += [f"So for fleets:\n\n{derived(facts)}"]
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    block = "\n".join(parts)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{block}\n{END}{after}", encoding="utf-8")
