"""`rehearse`: stages an outage on purpose."""

import os
import signal
import sys
from typing import NoReturn

import click

from pipeline.cli.main import Source, example, pass_source
from pipeline.clock import SystemClock
from pipeline.settings import MAIN

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command(epilog=example("metrics-pipeline rehearse"))
@click.option(
    "--mirror", "server", metavar="NAME", default=MAIN, help="The mirror to rehearse with."
)
@pass_source
def rehearse(source: Source, server: str) -> None:
    """Prove by an outage made on purpose that nothing is lost.

    An agent of its own takes readings in a scratch folder and delivers them to the main server or
    the mirror, through a proxy that breaks the connection in every way; it is killed and started
    again. Then each reading is looked for in InfluxDB. What it wrote is removed.
    """
    from pipeline.cli.rehearse import script  # noqa: PLC0415

    for end in _ENDS:
        signal.signal(end, _break_off)
    account = script.rehearse(source.settings(), SystemClock(), os.environ, click.echo, server)
    click.echo(str(account))
    if not account.passed:
        sys.exit(1)


def _break_off(*_: object) -> NoReturn:
    # Only once, so that the removal of the traces is not interrupted.
    for end in _ENDS:
        signal.signal(end, signal.SIG_IGN)
    raise KeyboardInterrupt
