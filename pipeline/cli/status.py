"""`status`: whether all is well, at a glance."""

import dataclasses
import json

import click

from pipeline.cli.root import Source, example, json_option, pass_source
from pipeline.clock import SystemClock


@click.command(epilog=example("metrics-pipeline status --watch"))
@click.option("--watch", is_flag=True, help="Print it again every 2 s, until Ctrl-C.")
@json_option
@pass_source
def status(source: Source, *, watch: bool, as_json: bool) -> None:
    """Print whether the agent runs, what waits, and what was lost."""
    from pipeline.glance import Glance, glance  # noqa: PLC0415
    from pipeline.health import read_status  # noqa: PLC0415

    settings, clock = source.settings(), SystemClock()
    if as_json and watch:
        raise click.UsageError("--watch and --json do not go together")
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(read_status(settings)), indent=2))
        return
    from pipeline import views  # noqa: PLC0415

    def look() -> Glance:
        return glance(read_status(settings), clock.now_ns())

    if watch:
        views.watch(look, clock)
    else:
        views.status(look())
