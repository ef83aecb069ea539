"""The local history: a chart and a table, CSV, JSON."""

import csv
import json
import sys
from collections.abc import Sequence

from rich.console import Console

from pipeline.cli._print.tables import plain, table
from pipeline.cli.streams import draws, exact, visible
from pipeline.clock import rfc3339
from pipeline.health import human
from pipeline.spool import Series, between, share

_LINES = 14
_SERIES = 6
_WIDEST = 120
# Lines and dots of a chart, and the lines for an encoding that has neither.
_DRAWN = "─│┌┐└┘├┤┬┴┼⣿"
_PLAIN = str.maketrans("─│┌┐└┘├┤┬┴┼", "-|+++++++++")


def history(series: Sequence[Series], since_ns: int, now_ns: int, *, rate: bool = False) -> None:
    """Print a table, and a chart if all series are of one field."""
    numeric = [one for one in series if one.summary]
    if numeric and len({one.field for one in series}) == 1:
        sys.stdout.write(plain(_chart(numeric[:_SERIES], since_ns, now_ns, rate=rate)))
    rows = ((one.field, _tags(one), *_summary(one)) for one in series)
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


def _summary(series: Series) -> tuple[str, ...]:
    values = (series.last, *(series.summary or ("", "", "")))
    return (*map(human.number, values), str(series.count))


def _tags(series: Series) -> str:
    pairs = (f"{key}={value}" for key, value in series.tags.items() if key != "host")
    return visible(" ".join(pairs))


def _chart(series: Sequence[Series], since_ns: int, now_ns: int, *, rate: bool) -> str:
    import plotext  # noqa: PLC0415  # no other view needs it

    first = max(since_ns, min(one.samples[0][0] for one in series))
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(min(Console().width, _WIDEST), _LINES)
    title = f"{series[0].measurement} {series[0].field}{' per second' if rate else ''}"
    plotext.title(visible(title))
    marker = "braille" if draws(_DRAWN) else "*"
    low = min(one.summary[0] for one in series if one.summary)
    high = max(one.summary[2] for one in series if one.summary)
    # Shares of the height, as plotext cannot draw every float.
    for one in series:
        samples = [(t, value) for t, value in one.samples if not isinstance(value, str)]
        times = [(time_ns - first) / 1e9 for time_ns, _ in samples]
        shares = [share(value, low, high) for _, value in samples]
        plotext.plot(times, shares, marker=marker, label=_tags(one) or None)
    parts = [part / 4 for part in range(5)] if high > low else [0.5]
    plotext.yticks(parts, [human.number(between(low, high, part)) for part in parts])
    # The newest reading may be from this moment, or later if the clock was set back.
    last = max(now_ns, first + 10**9, *(one.samples[-1][0] for one in series))
    width = (last - first) / 1e9
    plotext.xlim(0, width)
    plotext.xticks([0, width], [rfc3339(first)[11:19], rfc3339(last)[11:19]])
    text = str(plotext.uncolorize(plotext.build()))
    return text if marker == "braille" else text.translate(_PLAIN)
