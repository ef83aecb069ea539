"""`doctor`: is everything there that the agent needs."""

import dataclasses
import json
import os
import sys

import click

from pipeline.cli import logs
from pipeline.cli.main import Source, example, json_option, pass_source
from pipeline.clock import SystemClock


@click.command(epilog=example("metrics-pipeline doctor"))
@json_option
@pass_source
def doctor(source: Source, *, as_json: bool) -> None:
    """Check all that the agent needs. Each failure comes with its fix."""
    from pipeline.cli.doctor.local import examine  # noqa: PLC0415

    # A finding says what a log line would.
    logs.configure("critical", "text", sys.stderr, os.environ)
    findings = list(examine(source.load, source.directory, SystemClock(), os.environ))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in findings], indent=2))
    else:
        from pipeline.cli import _print  # noqa: PLC0415

        _print.findings(findings)
    if not all(finding.ok for finding in findings):
        sys.exit(1)
