"""Tables, readable in 80 columns and without colour.

On a terminal a table fits the width, and a long value continues on the next line. Elsewhere each
row is one line, for grep. No value is ever cut off.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.table import Table

from pipeline.cli.streams import draws, unfiltered, visible
from pipeline.clock import rfc3339
from pipeline.collectors import catalogue
from pipeline.settings import MAIN, SettingRow, hours_text
from pipeline.spool import Rejected

if TYPE_CHECKING:  # which bring all of InfluxDB along
    from pipeline.cli.doctor.server import Finding
    from pipeline.retention import Plan

_NO_BOUND = 1_000_000  # columns
_NAME = 24  # columns of a name that is not broken: the longest of the settings


def settings(rows: Iterable[SettingRow]) -> None:
    """Print the settings, each with where it came from, and whether it differs from its default."""
    cells = ((r.name, r.value or "-", r.source, "yes" if r.changed else "") for r in rows)
    table(("setting", "value", "from", "changed"), cells)


def metrics(entries: Iterable[catalogue.Entry]) -> None:
    """Print the catalogue."""
    rows = ((e.measurement, e.field, e.type, e.unit, e.meaning) for e in entries)
    table(("measurement", "field", "type", "unit", "meaning"), rows)


def rejected(lines: Iterable[Rejected], *, servers: bool) -> None:
    """Print the lines that were refused; with `servers`, by which server."""
    rows = (
        (
            str(one.id),
            rfc3339(one.time_ns)[:19] + "Z",
            *([one.server] if servers else []),
            one.reason,
            one.line,
        )
        for one in lines
    )
    table(("id", "refused", *(["server"] if servers else []), "reason", "line"), rows)


def findings(found: "Iterable[Finding]") -> None:
    """Print what `doctor` found, each fix below its failure."""
    rows: list[tuple[str, str, str]] = []
    for one in found:
        if not one.checked:
            rows.append(("not checked", one.check, one.fix))
            continue
        held = "warning" if one.fix else "ok"
        rows.append((held if one.ok else "FAILED", one.check, one.message))
        if one.fix:
            rows.append(("", "", f"-> {one.fix}"))
    table((), rows)


def plan(plans: "Mapping[str, Plan]") -> None:
    """Print what is older than its age; the buckets of a mirror have its name before theirs."""
    rows = (
        (
            row.where if server == MAIN else f"{server}: {row.where}",
            row.measurement,
            hours_text(row.retention_hours),
            str(row.older_points),
            _minute(row.oldest),
            str(row.next_sweep_points),
            _minute(row.rule_removes),
        )
        for server, one in plans.items()
        for row in one.rows
    )
    head = ("where", "measurement", "kept", "older", "oldest", "next sweep", "rule removes")
    table(head, rows)


def _minute(time: str | None) -> str:
    return f"{time[:16]}Z" if time else "-"


def table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table."""
    write(filled(head, rows))


def filled(head: Sequence[str], rows: Iterable[Iterable[RenderableType]]) -> Table:
    """Make a table in which a long value continues on the next line."""
    found = Table(*head, box=None, show_header=bool(head), pad_edge=False)
    for row in rows:
        found.add_row(*(visible(cell) if isinstance(cell, str) else cell for cell in row))
    for column in found.columns:
        column.overflow = "fold"
    # A name that is in two pieces is hard to read; a very long one has to be, to be whole.
    for column in found.columns[:1]:
        column.no_wrap = all(len(str(name)) <= _NAME for name in column.cells)
    return found


def write(what: RenderableType) -> None:
    """Print it, on a terminal within its width, elsewhere without a limit."""
    printer = console()
    with printer.capture() as capture:
        printer.print(what)
    unfiltered().write(plain(capture.get()))


def console() -> Console:
    """Return a console on standard output."""
    terminal = sys.stdout.isatty()
    return Console(
        file=unfiltered(),
        width=None if terminal else _NO_BOUND,
        color_system="auto" if terminal else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def plain(text: str) -> str:
    """Return the text without spaces at the ends of its lines, its degrees in any encoding."""
    if not draws("°"):
        text = text.replace("°C", "C")
    return "".join(f"{line.rstrip()}\n" for line in text.removesuffix("\n").split("\n"))
