"""What there is to show: a line for each measurement, or for each field."""

import sys
from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.console import Console, Group
from rich.text import Text

from pipeline.cli._print.tables import table, write
from pipeline.cli.streams import visible
from pipeline.collectors import catalogue
from pipeline.health import Summary, human
from pipeline.spool import FieldSummary

# The header, the hints and the prompts around the lines of measurements.
_AROUND = 8
_TELLING = {
    "cpu": "usage_active",
    "disk": "used_percent",
    "diskio": "io_util",
    "kernel": "context_switches",
    "linux_sysctl_fs": "file-nr",
    "mem": "used_percent",
    "metrics_agent": "backlog_points",
    "metrics_delivery": "backlog_points",
    "metrics_gap": "readings",
    "net": "bytes_recv",
    "nstat": "TcpRetransSegs",
    "process": "cpu_usage",
    "processes": "total",
    "swap": "used_percent",
    "system": "load1",
    "system_metrics": "cpu_usage",
}


def listing(held: Sequence[FieldSummary]) -> None:
    """Print the fields that `show` can show."""
    units = catalogue.units()
    rows = (
        (
            one.measurement,
            one.field,
            str(one.series),
            human.quantity(one.last, units.get((one.measurement, one.field), "")),
        )
        for one in held
    )
    table(("measurement", "field", "series", "newest"), rows)


def overview(held: Sequence[FieldSummary], state: Summary) -> None:
    """Print what is wrong, and a line for each measurement; on a terminal, within its height."""
    wrong = [] if state.well else [Text(visible(state.headline), "bold red")]
    wrong += [Text(visible(f"{row.name}: {row.text}")) for row in state.wrong]
    if wrong:
        write(Group(*wrong, Text()))
    units = catalogue.units()
    groups = [list(its) for _, its in groupby(held, lambda one: one.measurement)]
    room = Console().height - _AROUND - len(wrong) if sys.stdout.isatty() else len(groups)
    rows = [_line(group, units) for group in groups[: max(1, room)]]
    table(("measurement", "fields", "series", "newest"), rows)
    if left := len(groups) - len(rows):
        write(Text(f"and {human.count(left, 'measurement')} more"))
    example = _chosen(groups[0])
    write(Text("\nEvery field: metrics-pipeline show --all"))
    write(
        Text(visible(f"A chart:     metrics-pipeline show {example.measurement} {example.field}"))
    )


def _line(group: Sequence[FieldSummary], units: Mapping[tuple[str, str], str]) -> tuple[str, ...]:
    chosen = _chosen(group)
    unit = units.get((chosen.measurement, chosen.field), "")
    texts = [human.quantity(one, unit) for one in chosen.span or (chosen.last,)]
    newest = " to ".join(dict.fromkeys(texts))
    series = max(one.series for one in group)
    return chosen.measurement, str(len(group)), str(series), f"{chosen.field} {newest}"


def _chosen(group: Sequence[FieldSummary]) -> FieldSummary:
    """Return the field of a measurement that says the most of it."""
    return next((one for one in group if one.field == _TELLING.get(one.measurement)), group[0])
