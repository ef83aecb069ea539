"""`retention`: shows and removes what is older than its age."""

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from pipeline.cli import logs
from pipeline.cli.main import Source, example, json_option, pass_source
from pipeline.clock import SystemClock

if TYPE_CHECKING:
    from pipeline.retention import Plan


@click.group()
def retention() -> None:
    """See or remove what is older than its age."""


@retention.command("plan", epilog=example("metrics-pipeline retention plan"))
@json_option
@pass_source
def show_plan(source: Source, *, as_json: bool) -> None:
    """Print what is older than its age. And what removes it, and when."""
    from pipeline.retention import plan  # noqa: PLC0415

    with _told():
        made = plan.make(source.settings(), SystemClock())
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(made), indent=2))
    else:
        _show(made)
        if made.rows and not made.older_points:
            click.echo("Nothing is older than its age.")


@retention.command("apply", epilog=example("metrics-pipeline retention apply"))
@pass_source
def apply_plan(source: Source) -> None:
    """Remove it now. Of this host alone; the counts before and after are printed."""
    from pipeline.health import human  # noqa: PLC0415
    from pipeline.retention import plan  # noqa: PLC0415

    def progress(where: str, measurement: str, until: str, points: int | None) -> None:
        what = measurement or ("all else" if len(settings.ages.each) > 1 else "all")
        removed = "uncounted points" if points is None else human.count(points, "point")
        click.echo(f"{where}: {what} before {until}: {removed} removed", err=True)

    settings, clock = source.settings(), SystemClock()
    with _told():
        before = plan.make(settings, clock)
        plan.apply(settings, clock, progress)
        after = plan.make(settings, clock)
    _show(after)
    older = human.count(before.older_points, "point")
    click.echo(f"Older than their age: {older} before, {after.older_points} now.")


def _show(made: "Plan") -> None:
    from pipeline.cli import _print  # noqa: PLC0415

    if made.rows:
        _print.plan(made)
    else:
        click.echo("There are no points yet.")
    if made.left_out:
        click.echo(made.left_out)
    for one in made.uncounted:
        click.echo(
            f"Bucket {one.where!r}: measurement {one.measurement!r} cannot be counted: InfluxDB "
            "cannot read all of its points, as with a tag _value or _time; metrics-pipeline doctor "
            "has the command that deletes them"
        )


@contextmanager
def _told() -> Iterator[None]:
    from pipeline.influx import InfluxError  # noqa: PLC0415

    logs.configure("warning", "text", sys.stderr, os.environ)
    try:
        yield
    except InfluxError as error:
        raise click.ClickException(str(error)) from error
