"""`settings`: checks and shows the settings."""

import dataclasses
import json

import click

from pipeline.cli.main import Source, example, json_option, pass_source, warn
from pipeline.settings import FILES, describe


@click.group()
def settings() -> None:
    """Check or show the settings."""


@settings.command(
    epilog=example("metrics-pipeline --config-dir /etc/metrics-pipeline settings check")
)
@pass_source
def check(source: Source) -> None:
    """Say all that is wrong with the settings, or that they can be used."""
    source.settings()
    if any((source.directory / name).exists() for name in FILES):
        click.echo(f"The settings in {source.directory} can be used.")
    else:
        click.echo(f"{source.directory} has no settings files, and needs none.")


@settings.command(epilog=example("metrics-pipeline settings show | grep influxdb"))
@json_option
@pass_source
def show(source: Source, *, as_json: bool) -> None:
    """Print every setting and where it came from. Secrets are masked."""
    loaded = source.load()
    warn(loaded.changeable)
    rows = describe(loaded)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
    else:
        from pipeline.cli import _print  # noqa: PLC0415

        _print.settings(rows)
