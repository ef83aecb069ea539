"""What the commands print for people: tables and charts, in 80 columns and without colour too.

On a terminal a table fits, and what is too long for its column goes on below; elsewhere a row is a
line, for grep. In neither is a value cut off.
"""

import csv
import math
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from pipeline.catalogue import Entry
from pipeline.clock import rfc3339
from pipeline.finding import Finding
from pipeline.health import Status
from pipeline.history import Series
from pipeline.plan import Plan
from pipeline.point import FieldValue
from pipeline.settings import Row
from pipeline.spool import Rejected

_CHART_LINES = 14
_CHART_SERIES = 6
_NO_BOUND = 1_000_000  # columns
# Below it a number is written in full.
_FULL = 100_000
_THOUSANDS = "kMGTPE"


def status(state: Status) -> None:
    """Print the state of the agent."""
    _print((), _status_rows(state))


def settings(rows: Iterable[Row]) -> None:
    """Print the settings, each with where it came from."""
    _print(("setting", "value", "from"), ((r.name, r.value or "-", r.source) for r in rows))


def metrics(entries: Iterable[Entry]) -> None:
    """Print the catalogue."""
    rows = ((e.measurement, e.field, e.type, e.unit, e.meaning) for e in entries)
    _print(("measurement", "field", "type", "unit", "meaning"), rows)


def listing(series: Sequence[Series]) -> None:
    """Print what there is to show."""
    counts: dict[tuple[str, str], int] = {}
    for one in series:
        key = (one.measurement, one.field)
        counts[key] = counts.get(key, 0) + 1
    rows = ((measurement, field, str(n)) for (measurement, field), n in counts.items())
    _print(("measurement", "field", "series"), rows)


def rejected(lines: Iterable[Rejected]) -> None:
    """Print the lines that the server refused."""
    rows = ((str(one.id), rfc3339(one.time_ns)[:19] + "Z", one.reason, one.line) for one in lines)
    _print(("id", "refused", "reason", "line"), rows)


def findings(found: Iterable[Finding]) -> None:
    """Print what `doctor` found, each fix below its failure."""
    rows: list[tuple[str, str, str]] = []
    for one in found:
        rows.append(("ok" if one.ok else "FAILED", one.check, one.message))
        if one.fix:
            rows.append(("", "", f"-> {one.fix}"))
    _print((), rows)


def history(series: Sequence[Series], since_ns: int, now_ns: int) -> None:
    """Print a chart, where all is one field, and a table."""
    numeric = [one for one in series if one.numbers]
    if numeric and len({one.field for one in series}) == 1:
        sys.stdout.write(_plain(_chart(numeric[:_CHART_SERIES], since_ns, now_ns)))
    rows = ((one.field, _tags(one), *_summary(one)) for one in series)
    _print(("field", "series", "last", "min", "mean", "max", "samples"), rows)


def history_csv(series: Sequence[Series]) -> None:
    """Write one row a sample; every tag has a column."""
    tags = sorted({tag for one in series for tag in one.tags})
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["time", "measurement", *tags, "field", "value"])
    for one in series:
        names = [one.tags.get(tag, "") for tag in tags]
        for time_ns, value in one.samples:
            writer.writerow([rfc3339(time_ns), one.measurement, *names, one.field, value])


def plan(one: Plan) -> None:
    """Print what is older than its age."""
    rows = (
        (
            row.where,
            row.measurement,
            _age(row.retention_hours),
            str(row.older_points),
            row.oldest or "-",
            str(row.next_sweep_points),
            row.rule_removes or "-",
        )
        for row in one.rows
    )
    head = ("where", "measurement", "kept", "older", "oldest", "next sweep", "rule alone: gone by")
    _print(head, rows)


def _age(hours: float) -> str:
    return f"{hours:g} h" if hours else "for ever"


def _status_rows(state: Status) -> list[tuple[str, str]]:
    running = f"yes (process {state.pid})" if state.running else "no"
    waiting = f"{state.backlog_points} points, {_human(state.backlog_bytes)}B"
    if state.backlog_oldest:
        waiting += f", oldest {state.backlog_oldest}"
    lost = ", ".join(f"{cause} {points}" for cause, points in state.lost.items())
    more = {name: why for name, why in state.troubles.items() if why != state.last_error}
    bucket = state.bucket_retention_hours
    rows = [
        ("running", running),
        ("interval", f"{state.collection_interval_ms} ms"),
        ("kept", _age(state.retention_hours)),
        ("readings", f"{state.ticks} ({state.points} points), newest {state.last_reading or '-'}"),
        ("lost", lost or "nothing"),
        ("last error", state.last_error or "none"),
        *((f"trouble: {source}", why) for source, why in more.items()),
        ("store", state.data_dir),
    ]
    if state.last_salvage:
        rows[-1:-1] = [("last salvage", state.last_salvage)]
    if state.influxdb_url:
        rule = "not known" if bucket is None else _age(bucket)
        if state.bucket_drift:
            rule += f"; {state.bucket_drift}"
        rows[4:4] = [
            ("InfluxDB", state.influxdb_url),
            ("bucket keeps", rule),
            ("delivered", f"{state.delivered_points} points"),
            ("waiting", waiting),
            ("rejected", f"{state.rejected_points} points"),
        ]
    return rows


def _summary(series: Series) -> tuple[str, ...]:
    values = (series.last, *(series.summary() or ("", "", "")))
    return (*map(_human, values), str(len(series.samples)))


def _human(value: FieldValue) -> str:
    """Write a value in few characters: 17.3041, 25.28G."""
    if isinstance(value, bool | str):
        return str(value)
    if abs(value) < _FULL:
        return f"{value:.6g}"
    power = min(int(math.log10(abs(value))) // 3, len(_THOUSANDS))
    return f"{value / 1000**power:.4g}{_THOUSANDS[power - 1]}"


def _tags(series: Series) -> str:
    return " ".join(f"{key}={value}" for key, value in series.tags.items() if key != "host")


def _chart(series: Sequence[Series], since_ns: int, now_ns: int) -> str:
    import plotext  # noqa: PLC0415  # no other view needs it

    first = max(since_ns, min(one.samples[0][0] for one in series))
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(_width(), _CHART_LINES)
    plotext.title(f"{series[0].measurement} {series[0].field}")
    for one in series:
        times = [(time_ns - first) / 1e9 for time_ns, _ in one.samples]
        plotext.plot(times, one.numbers, marker="braille", label=_tags(one) or None)
    numbers = [number for one in series for number in one.numbers]
    low, high = min(numbers), max(numbers)
    levels = sorted({low + (high - low) * part / 4 for part in range(5)})
    plotext.yticks(levels, [_human(level) for level in levels])
    # The newest reading may be of this moment, or of a clock that has been set back.
    last = max(now_ns, first + 10**9, *(one.samples[-1][0] for one in series))
    width = (last - first) / 1e9
    plotext.xlim(0, width)
    plotext.xticks([0, width], [rfc3339(first)[11:19], rfc3339(last)[11:19]])
    return str(plotext.uncolorize(plotext.build()))


def _print(head: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    table = Table(*head, box=None, show_header=bool(head), pad_edge=False)
    for row in rows:
        table.add_row(*row)
    for column in table.columns:
        column.overflow = "fold"
    terminal = sys.stdout.isatty()
    console = Console(
        width=None if terminal else _NO_BOUND,
        color_system="auto" if terminal else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as capture:
        console.print(table)
    sys.stdout.write(_plain(capture.get()))


def _plain(text: str) -> str:
    """Return lines without the spaces that fill them up."""
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _width() -> int:
    return min(Console().width, 120)
