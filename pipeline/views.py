"""What the commands print for people: tables and charts, in 80 columns and without colour too."""

import csv
import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.catalogue import Entry
from pipeline.clock import rfc3339
from pipeline.health import Status
from pipeline.history import Series
from pipeline.settings import Row

_CHART_LINES = 14
_CHART_SERIES = 6


def status(state: Status) -> None:
    """Print the state of the agent."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _status_rows(state):
        table.add_row(name, value)
    _print(table)


def settings(rows: Iterable[Row]) -> None:
    """Print the settings, each with where it came from."""
    _print(_table(("setting", "value", "from"), ((r.name, r.value, r.source) for r in rows)))


def metrics(entries: Iterable[Entry]) -> None:
    """Print the catalogue."""
    rows = ((e.measurement, e.field, e.type, e.unit, e.meaning) for e in entries)
    _print(_table(("measurement", "field", "type", "unit", "meaning"), rows))


def listing(series: Sequence[Series]) -> None:
    """Print what there is to show."""
    counts: dict[tuple[str, str], int] = {}
    for one in series:
        key = (one.measurement, one.field)
        counts[key] = counts.get(key, 0) + 1
    rows = ((measurement, field, str(n)) for (measurement, field), n in counts.items())
    _print(_table(("measurement", "field", "series"), rows))


def history(series: Sequence[Series], since_ns: int, now_ns: int) -> None:
    """Print a chart, where all is one field, and a table."""
    numeric = [one for one in series if one.numbers]
    if numeric and len({one.field for one in series}) == 1:
        sys.stdout.write(_chart(numeric[:_CHART_SERIES], since_ns, now_ns))
    rows = ((one.field, _tags(one), *_summary(one)) for one in series)
    _print(_table(("field", "series", "last", "min", "mean", "max", "samples"), rows))


def history_csv(series: Sequence[Series]) -> None:
    """Write one row a sample; every tag has a column."""
    tags = sorted({tag for one in series for tag in one.tags})
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["time", "measurement", *tags, "field", "value"])
    for one in series:
        names = [one.tags.get(tag, "") for tag in tags]
        for time_ns, value in one.samples:
            writer.writerow([rfc3339(time_ns), one.measurement, *names, one.field, value])


def _status_rows(state: Status) -> list[tuple[str, str]]:
    running = f"yes (process {state.pid})" if state.running else "no"
    waiting = f"{state.backlog_points} points, {state.backlog_bytes} bytes"
    if state.backlog_oldest:
        waiting += f", oldest {state.backlog_oldest}"
    lost = ", ".join(f"{cause} {points}" for cause, points in state.lost.items())
    age = f"{state.retention_hours} h" if state.retention_hours else "for ever"
    bucket = state.bucket_retention_hours
    rows = [
        ("running", running),
        ("interval", f"{state.collection_interval_ms} ms"),
        ("kept", age),
        ("readings", f"{state.ticks} ({state.points} points), newest {state.last_reading or '-'}"),
        ("lost", lost or "nothing"),
        ("last error", state.last_error or "none"),
        ("store", state.data_dir),
    ]
    if state.influxdb_url:
        rule = "not known" if bucket is None else f"{bucket:g} h" if bucket else "for ever"
        rows[4:4] = [
            ("InfluxDB", state.influxdb_url),
            ("bucket keeps", rule),
            ("delivered", f"{state.delivered_points} points"),
            ("waiting", waiting),
            ("rejected", f"{state.rejected_points} points"),
        ]
    return rows


def _summary(series: Series) -> tuple[str, ...]:
    numbers = series.summary()
    least_mean_most = ("", "", "") if numbers is None else tuple(f"{n:.6g}" for n in numbers)
    last = series.last
    return (
        f"{last:.6g}" if isinstance(last, float) else str(last),
        *least_mean_most,
        str(len(series.samples)),
    )


def _tags(series: Series) -> str:
    return ",".join(f"{key}={value}" for key, value in series.tags.items() if key != "host")


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
    last = (now_ns - first) / 1e9
    plotext.xlim(0, last)
    plotext.xticks([0, last], [rfc3339(first)[11:19], rfc3339(now_ns)[11:19]])
    return f"{plotext.uncolorize(plotext.build())}\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    table = Table(*head, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    return table


def _width() -> int:
    return min(Console().width, 120)


def _print(table: Table) -> None:
    Console(highlight=False, markup=False).print(table)
