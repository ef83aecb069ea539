"""`retention`: shows and removes what is older than its age."""

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import logs
from pipeline.cli.main import Source, example, json_option, pass_source
from pipeline.clock import Clock, SystemClock
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.influx import InfluxError
    from pipeline.retention import Plan


@click.group()
def retention() -> None:
    """See or remove what is older than its age."""


@retention.command("plan", epilog=example("metrics-pipeline retention plan"))
@json_option
@pass_source
def show_plan(source: Source, *, as_json: bool) -> None:
    """Print what is older than its age. And what removes it, and when."""
    _log_warnings()
    plans, failures = _make(source.settings(), SystemClock())
    if as_json:
        click.echo(json.dumps(_as_json(plans), indent=2))
    else:
        _show(plans)
        every = list(plans.values())
        if any(one.rows for one in every) and not any(one.older_points for one in every):
            click.echo("Nothing is older than its age.")
    _end(failures)


@retention.command("apply", epilog=example("metrics-pipeline retention apply"))
@pass_source
def apply_plan(source: Source) -> None:
    """Remove it now. Of this host alone; the counts before and after are printed."""
    from pipeline.health import human  # noqa: PLC0415
    from pipeline.influx import InfluxError  # noqa: PLC0415
    from pipeline.retention import plan  # noqa: PLC0415

    def progress(where: str, measurement: str, until: str, points: int | None) -> None:
        what = measurement or ("all else" if len(settings.ages.each) > 1 else "all")
        removed = "uncounted points" if points is None else human.count(points, "point")
        click.echo(f"{where}: {what} before {until}: {removed} removed", err=True)

    _log_warnings()
    settings, clock = source.settings(), SystemClock()
    before, _ = _make(settings, clock)
    failures = []
    try:
        plan.apply(settings, clock, progress)
    except InfluxError as error:
        if not settings.mirrors:
            raise
        failures.append(error)
    after, more = _make(settings, clock)
    _show(after)
    older, left = (sum(one.older_points for one in plans.values()) for plans in (before, after))
    click.echo(f"Older than their age: {human.count(older, 'point')} before, {left} now.")
    _end([*failures, *more])


def _make(settings: Settings, clock: Clock) -> "tuple[dict[str, Plan], list[InfluxError]]":
    """Make the plans; what fails of one of several servers is left to be told with the others."""
    from pipeline.retention import plan  # noqa: PLC0415

    plans, failures = plan.make(settings, clock)
    if failures and not settings.mirrors:
        raise failures[0]
    return plans, failures


def _end(failures: "Sequence[InfluxError]") -> None:
    """End with the failures, if there are any, each told once."""
    if failures:
        raise click.ClickException("\n".join(dict.fromkeys(map(str, failures))))


def _as_json(plans: "Mapping[str, Plan]") -> dict[str, Any]:
    main, *mirrors = plans.items()
    found = dataclasses.asdict(main[1])
    if mirrors:
        found["mirrors"] = {name: dataclasses.asdict(one) for name, one in mirrors}
    return found


def _show(plans: "Mapping[str, Plan]") -> None:
    from pipeline.cli import _print  # noqa: PLC0415
    from pipeline.health import label  # noqa: PLC0415

    if any(one.rows for one in plans.values()):
        _print.plan(plans)
    else:
        click.echo("There are no points yet.")
    for name, made in plans.items():
        if made.left_out:
            click.echo(f"{label(name)}{made.left_out}")
        for one in made.uncounted:
            click.echo(
                f"{label(name)}Bucket {one.where!r}: measurement {one.measurement!r} cannot be "
                "counted: InfluxDB cannot read all of its points, as with a tag _value or _time; "
                "metrics-pipeline doctor has the command that deletes them"
            )


def _log_warnings() -> None:
    logs.configure("warning", "text", sys.stderr, os.environ)
