"""`once`: prints one reading."""

import dataclasses
import json
import os
import sys

import click

from pipeline.cli import logs
from pipeline.cli.main import Source, example, json_option, pass_source
from pipeline.clock import SystemClock


@click.command(epilog=example("metrics-pipeline once | grep ^disk"))
@json_option
@pass_source
def once(source: Source, *, as_json: bool) -> None:
    """Print one reading as line protocol; write nothing anywhere."""
    from pipeline.point import decode  # noqa: PLC0415

    lines = list(_read(source))
    if as_json:
        points = [
            {**dataclasses.asdict(line.point), "timestamp_ns": line.timestamp_ns}
            for line in decode("\n".join(lines))
        ]
        click.echo(json.dumps(points, indent=2))
    else:
        click.echo("\n".join(lines))


def _read(source: Source) -> list[str]:
    from pipeline.collectors import Host, build  # noqa: PLC0415

    settings, clock = source.settings(), SystemClock()
    logs.configure("warning", "text", sys.stderr, os.environ)
    tags = {"host": settings.host, **settings.tags}
    guards = build(Host.system(clock, settings.host_root, os.environ), settings.collectors)
    now_ns = clock.now_ns()
    outcomes = [guard.run(now_ns, tags) for guard in guards]
    for outcome in outcomes:
        for _, warning in outcome.warnings():
            click.echo(warning, err=True)
    lines = [line for outcome in outcomes for line in outcome.lines]
    if not lines and (errors := [f"{o.collector}: {o.error}" for o in outcomes if o.error]):
        raise click.ClickException(f"no collector could read anything; {errors[0]}")
    return lines
