"""`show`: the local history."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

import click

from pipeline.cli.completion import fields, measurements
from pipeline.cli.main import Source, example, json_option, pass_source
from pipeline.clock import SystemClock
from pipeline.settings import Settings, duration_s

if TYPE_CHECKING:
    from pipeline.spool import SpoolReader, history

T = TypeVar("T")

# A few more than a chart of 80 columns can tell apart.
_POINTS = 300
# So that a chart and a table take two seconds at most. An export has every reading.
READINGS = 20_000


@click.command(
    epilog=example("metrics-pipeline show cpu usage_active --since 15m --tag cpu=cpu-total")
)
@click.argument("measurement", required=False, shell_complete=measurements)
@click.argument("field", required=False, shell_complete=fields)
@click.option("--all", "every", is_flag=True, help="Without a MEASUREMENT: list every field.")
@click.option("--since", default="1h", show_default=True, help="How far back: 90s, 15m, 1h, 7d.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Only series with it.")
@click.option("--rate", is_flag=True, help="Growth per second: for what only counts up.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one row a sample.")
@json_option
@pass_source
def show(
    source: Source,
    measurement: str | None,
    field: str | None,
    since: str,
    tags: tuple[str, ...],
    *,
    every: bool,
    rate: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print the local history as a chart and a table. Alone, it says what there is."""
    from pipeline.cli import _print  # noqa: PLC0415
    from pipeline.health import read_status, summarize  # noqa: PLC0415
    from pipeline.spool import history  # noqa: PLC0415

    if rate and measurement is None:
        raise click.UsageError("--rate needs a MEASUREMENT")
    if every and measurement is not None:
        raise click.UsageError("--all goes without a MEASUREMENT")
    now_ns = SystemClock().now_ns()
    since_ns, pairs = _since(since, now_ns), dict(map(_pair, tags))
    wanted = history.SeriesFilter(measurement, field, pairs, rate)
    if as_csv or as_json:
        with _opened(source.settings()) as reader:
            series = history.read(reader.history(since_ns), [wanted])
        (_print.history_json if as_json else _print.history_csv)(_checked(series, since, wanted))
        return
    settings = source.settings()
    with _opened(settings) as reader:
        readings, step = reader.history(since_ns, READINGS), reader.step(since_ns, READINGS)
        if measurement is None:
            held = _checked(history.fields(readings, pairs), since, wanted)
            if every:
                _print.listing(held)
            else:
                _print.overview(held, summarize(read_status(settings), now_ns))
        else:
            series = _checked(history.read(readings, [wanted], _POINTS), since, wanted)
            _print.history(series, since_ns, now_ns, rate=rate)
            if field and not rate:
                _point_to_rate(measurement, field)
    if step > 1:
        click.echo(f"1 of {step} readings was looked at; --csv and --json have all", err=True)


@contextlib.contextmanager
def _opened(settings: Settings) -> "Iterator[SpoolReader]":
    from pipeline.spool import SpoolReader  # noqa: PLC0415

    directory = settings.data_dir
    try:
        with SpoolReader(directory) as reader:
            yield reader
    except FileNotFoundError:
        message = f"no readings yet in {directory}; to take some: metrics-pipeline run"
        raise click.ClickException(message) from None


def _checked(found: list[T], since: str, wanted: "history.SeriesFilter") -> list[T]:
    """Return what was found; where that is nothing, fail with where to look."""
    if not found:
        tags = (f"{key}={value}" for key, value in (wanted.tags or {}).items())
        of = " ".join(filter(None, (wanted.measurement, wanted.field, *tags))) or "this host"
        what = f"growth of {of}" if wanted.rate else f"readings of {of}"
        why = ", which takes two readings" if wanted.rate else ""
        raise click.ClickException(
            f"no {what} in the last {since}{why}; look further back with --since, "
            "or see what there is: metrics-pipeline show --all"
        )
    return found


def _point_to_rate(measurement: str, field: str) -> None:
    """Say how to see more of a field that only counts up."""
    from pipeline.collectors import catalogue  # noqa: PLC0415

    of = (
        one.kind for one in catalogue.load() if (one.measurement, one.field) == (measurement, field)
    )
    if "counter" in of:
        click.echo(f"{field} only counts up; --rate shows its growth per second", err=True)


def _since(text: str, now_ns: int) -> int:
    seconds = duration_s(text)
    if seconds < 0:
        raise click.UsageError(
            f"{text!r} is not a duration; write one such as 90s, 15m, 1h, 7d or 2w"
        )
    return max(0, now_ns - seconds * 10**9)


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise click.UsageError(f"--tag {text!r} is no KEY=VALUE")
    return key, value
