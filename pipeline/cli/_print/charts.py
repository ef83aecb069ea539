"""The local history: a chart and a table, CSV, JSON."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from rich.console import Console
from rich.text import Text

from pipeline.cli._print import axes
from pipeline.cli._print.tables import plain, table, write
from pipeline.cli.streams import draws, exact, visible
from pipeline.clock import rfc3339
from pipeline.collectors import catalogue
from pipeline.health import human
from pipeline.spool import Series, share

Units = Mapping[tuple[str, str], str]

_LINES = 14
_WIDEST = 120
_TICK = 16  # columns for the text of a time, and some to the next
_MARKS = "123456"
# A step between two samples that is so many times the usual one is a gap.
_GAP = 5
# Lines and dots of a chart, and the lines for an encoding that has neither.
_DRAWN = "─│┌┐└┘├┤┬┴┼⣿"
_PLAIN = str.maketrans("─│┌┐└┘├┤┬┴┼", "-|+++++++++")


def history(series: Sequence[Series], since_ns: int, now_ns: int, *, rate: bool = False) -> None:
    """Print a table, and a chart if all series are of one field."""
    several = len({one.tags.get("host") for one in series}) > 1
    named = {id(one): _tags(one, host=several) for one in series}
    units = catalogue.units()
    numeric = [one for one in series if one.summary]
    if numeric and len({one.field for one in series}) == 1:
        drawn = _highest(numeric)
        names = [named[id(one)] for one in drawn]
        unit = units.get((drawn[0].measurement, drawn[0].field), "")
        first = max(since_ns, min(one.samples[0][0] for one in drawn))
        # The newest reading may be from this moment, or later if the clock was set back.
        last = max(now_ns, first + 10**9, *(one.samples[-1][0] for one in drawn))
        write(Text(_title(drawn, names, axes.span(first, last), rate=rate)))
        sys.stdout.write(plain(_chart(drawn, (first, last), unit, rate=rate)))
        if len(drawn) > 1:
            write(Text(_legend(names, len(numeric))))
        sys.stdout.write("\n")
    rows = ((one.field, named[id(one)], *_summary(one, units, rate=rate)) for one in series)
    table(("field", "series", "last", "min", "mean", "max", "samples"), rows)


def history_csv(series: Sequence[Series]) -> None:
    """Write one row for each sample, with a column for each tag."""
    tags = sorted({tag for one in series for tag in one.tags})
    writer = csv.writer(exact(), lineterminator="\n")
    writer.writerow(["time", "measurement", *tags, "field", "value"])
    for one in series:
        names = [one.tags.get(tag, "") for tag in tags]
        for time_ns, value in one.samples:
            writer.writerow([rfc3339(time_ns), one.measurement, *names, one.field, value])


def history_json(series: Sequence[Series]) -> None:
    """Write a list of series, each with its samples: nanoseconds since 1970-01-01 UTC, value."""
    begin = "["
    for one in series:
        whole = {
            "measurement": one.measurement,
            "field": one.field,
            "tags": one.tags,
            "samples": one.samples,
        }
        sys.stdout.write(f"{begin}{json.dumps(whole)}")
        begin = ",\n"
    sys.stdout.write("]\n")


def _summary(series: Series, units: Units, *, rate: bool) -> tuple[str, ...]:
    unit = units.get((series.measurement, series.field), "")
    values = (series.last, *(series.summary or ("", "", "")))
    return (*(human.quantity(value, unit, rate=rate) for value in values), str(series.count))


def _tags(series: Series, *, host: bool) -> str:
    pairs = (f"{key}={value}" for key, value in series.tags.items() if host or key != "host")
    return visible(" ".join(pairs))


def _highest(series: Sequence[Series]) -> Sequence[Series]:
    """Return those with the greatest means, as many as a chart can tell apart."""
    by_mean = sorted(series, key=lambda one: one.summary[1] if one.summary else 0.0, reverse=True)
    chosen = {id(one) for one in by_mean[: len(_MARKS)]}
    return [one for one in series if id(one) in chosen]


def _title(series: Sequence[Series], names: Sequence[str], span: str, *, rate: bool) -> str:
    hosts = ", ".join(dict.fromkeys(one.tags.get("host", "") for one in series))
    what = f"{series[0].measurement} {series[0].field}{' per second' if rate else ''}"
    own = f" {names[0]}" if len(series) == 1 and names[0] else ""
    title = visible(f"{hosts}: {what}{own}" if hosts else f"{what}{own}")
    line = f"{title}, {span}"
    return line if len(line) <= Console().width else f"{title}\n{span}"


def _legend(names: Sequence[str], of: int) -> str:
    marks = "\n".join(f"{mark} {name}" for mark, name in zip(_MARKS, names, strict=False))
    if of == len(names):
        return marks
    return f"{marks}\nThe {len(names)} of {of} series with the greatest mean; --tag chooses others."


def _chart(series: Sequence[Series], span_ns: tuple[int, int], unit: str, *, rate: bool) -> str:
    import plotext  # noqa: PLC0415  # no other view needs it

    first, last = span_ns
    columns = min(Console().width, _WIDEST)
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(columns, _LINES)
    low = min(one.summary[0] for one in series if one.summary)
    high = max(one.summary[2] for one in series if one.summary)
    axis = axes.values(low, high, unit, rate=rate)
    drawn = draws(_DRAWN)
    marks = _MARKS if len(series) > 1 else ("braille" if drawn else "*",)
    for mark, one in zip(marks, series, strict=False):
        for part in _unbroken(one):
            times = [(time_ns - first) / 1e9 for time_ns, _ in part]
            # Shares of the height, as plotext cannot draw every float.
            plotext.plot(times, [share(y, axis.low, axis.high) for _, y in part], marker=mark)
    shares = [share(at, axis.low, axis.high) for at, _ in axis.ticks]
    plotext.ylim(0, 1)
    plotext.yticks(shares, [text for _, text in axis.ticks])
    ticks = axes.times(first, last, columns // _TICK)
    plotext.xlim(0, (last - first) / 1e9)
    plotext.xticks([(at - first) / 1e9 for at, _ in ticks], [text for _, text in ticks])
    text = str(plotext.uncolorize(plotext.build()))
    return text if drawn else text.translate(_PLAIN)


def _unbroken(series: Series) -> Iterator[Sequence[tuple[int, float]]]:
    """Yield the samples from one gap to the next."""
    samples = [(at, value) for at, value in series.samples if not isinstance(value, str)]
    steps = sorted(later[0] - earlier[0] for earlier, later in pairwise(samples))
    usual = steps[len(steps) // 2] if steps else 0
    begin = 0
    for number, (earlier, later) in enumerate(pairwise(samples), 1):
        if later[0] - earlier[0] > _GAP * usual:
            yield samples[begin:number]
            begin = number
    yield samples[begin:]
