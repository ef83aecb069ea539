"""`status`: the state of the agent."""

import json
import os

import click

from pipeline.cli.main import Source, complain, example, json_option, pass_source
from pipeline.clock import SystemClock
from pipeline.settings import Settings, SettingsError, find_data_dir


@click.command(epilog=example("metrics-pipeline status --watch"))
@click.option("--watch", is_flag=True, help="Print it again every 2 s, until Ctrl-C.")
@json_option
@pass_source
def status(source: Source, *, watch: bool, as_json: bool) -> None:
    """Print whether the agent runs, what waits, and what was lost."""
    from pipeline.health import Summary, read_status, summarize  # noqa: PLC0415

    if as_json and watch:
        raise click.UsageError("--watch and --json do not go together")
    settings, clock = _settings(source), SystemClock()
    if as_json:
        click.echo(json.dumps(read_status(settings).as_json(), indent=2))
        return
    from pipeline.cli import _print  # noqa: PLC0415

    def look() -> Summary:
        return summarize(read_status(settings), clock.now_ns())

    if watch:
        _print.watch(look, clock)
    else:
        _print.status(look())


def _settings(source: Source) -> Settings:
    try:
        return source.settings()
    except SettingsError as error:
        # A running agent keeps the former settings, and its state must still be shown.
        settings = Settings(data_dir=find_data_dir(source.directory, os.environ))
        if not settings.data_dir.exists():
            raise
        complain(str(error))
        return settings
