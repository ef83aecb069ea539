"""`rejected`: the lines that InfluxDB refused."""

import json
from collections.abc import Callable, Collection
from typing import TypeVar

import click

from pipeline.cli.main import Source, example, json_option, pass_source
from pipeline.clock import SystemClock, rfc3339
from pipeline.settings import MAIN, Settings

T = TypeVar("T")

_ids = click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
_all = click.option("--all", "all_lines", is_flag=True, help="All of them.")


@click.group()
def rejected() -> None:
    """List, retry or drop the lines that InfluxDB refused."""


@rejected.command("list", epilog=example("metrics-pipeline rejected list --limit 10"))
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most lines."
)
@json_option
@pass_source
def list_rejected(source: Source, *, limit: int, as_json: bool) -> None:
    """Print the refused lines, the newest first. Each with its time and reason."""
    from pipeline.health import human  # noqa: PLC0415
    from pipeline.spool import SpoolReader  # noqa: PLC0415

    settings = source.settings()
    try:
        with SpoolReader(settings.data_dir) as reader:
            lines = reader.rejected(limit)
            kept = sum(reader.contents(name).rejected_points for name in reader.servers())
    except FileNotFoundError:
        lines, kept = [], 0
    several = bool(settings.mirrors) or any(one.server != MAIN for one in lines)
    if as_json:
        rows = [
            {"id": one.id, "time": rfc3339(one.time_ns), "reason": one.reason, "line": one.line}
            | ({"server": one.server} if several else {})
            for one in lines
        ]
        click.echo(json.dumps(rows, indent=2))
    elif not lines:
        click.echo("No refused lines are kept.")
    else:
        from pipeline.cli import _print  # noqa: PLC0415

        _print.rejected(lines, servers=several)
        if left := kept - len(lines):
            click.echo(f"{human.count(left, 'older one')}; to see all: --limit {kept}")


@rejected.command(epilog=example("metrics-pipeline rejected retry --all"))
@_ids
@_all
@pass_source
def retry(source: Source, ids: tuple[int, ...], *, all_lines: bool) -> None:
    """Put lines on the queue again, each with its own time, but for those beyond their age."""
    from pipeline.health import human  # noqa: PLC0415
    from pipeline.spool import retry_rejected  # noqa: PLC0415

    def change(settings: Settings, wanted: Collection[int] | None) -> tuple[int, int]:
        now_ns = SystemClock().now_ns()
        return retry_rejected(settings.data_dir, wanted, settings.ages, now_ns)

    count, old = _change(source, ids, change, (0, 0), all_lines=all_lines)
    lines = human.count(count, "line is", "lines are")
    click.echo(f"{lines} on the queue again, to be delivered by an agent.")
    if old:
        beyond = human.count(old, "line is older than its", "lines are older than their")
        click.echo(f"{beyond} age, and left in the list.")


@rejected.command(epilog=example("metrics-pipeline rejected drop 17 18"))
@_ids
@_all
@pass_source
def drop(source: Source, ids: tuple[int, ...], *, all_lines: bool) -> None:
    """Delete lines. They stay counted as lost."""
    from pipeline.health import human  # noqa: PLC0415
    from pipeline.spool import drop_rejected  # noqa: PLC0415

    def change(settings: Settings, wanted: Collection[int] | None) -> int:
        return drop_rejected(settings.data_dir, wanted)

    count = _change(source, ids, change, 0, all_lines=all_lines)
    click.echo(f"{human.count(count, 'line is', 'lines are')} deleted.")


def _change(
    source: Source,
    ids: tuple[int, ...],
    change: Callable[[Settings, Collection[int] | None], T],
    nothing: T,
    *,
    all_lines: bool,
) -> T:
    if bool(ids) == all_lines:
        raise click.UsageError("name lines by their IDs, or all with --all")
    try:
        return change(source.settings(), None if all_lines else frozenset(ids))
    except FileNotFoundError as error:
        if all_lines:
            return nothing
        raise click.ClickException(f"no lines are kept yet: {error}") from None
