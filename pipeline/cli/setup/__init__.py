"""`setup`: from a bare server to a working pipeline."""

import os
import sys
from collections.abc import Callable

import click

from pipeline import collectors
from pipeline.cli.main import Source, example, pass_source, warn
from pipeline.clock import SystemClock
from pipeline.settings import MAIN, SERVER, Settings, refusal


def _like_setting(name: str) -> Callable[..., str]:
    """Return a callback that holds an option to what a setting may be."""

    def check(_ctx: click.Context, _option: click.Parameter, value: str) -> str:
        if wrong := refusal(Settings, name, value):
            raise click.BadParameter(wrong)
        return value

    return check


def _server(_ctx: click.Context, _option: click.Parameter, value: str | None) -> str:
    """Return the name of the server: that of a mirror, or without one that of the main server."""
    if value is None:
        return MAIN
    if not SERVER.accepts(value):
        raise click.BadParameter(f"{value!r} must be a name {SERVER.allowed}")
    return value


@click.command(epilog=example("metrics-pipeline setup --url http://localhost:8086"))
@click.option(
    "--url", required=True, callback=_like_setting("influxdb_url"), help="Address of the server."
)
@click.option(
    "--org", default="", callback=_like_setting("influxdb_org"), help="Organisation; made if new."
)
@click.option(
    "--bucket", default="", callback=_like_setting("influxdb_bucket"), help="Bucket; made if new."
)
@click.option(
    "--user",
    default="admin",
    show_default=True,
    callback=_like_setting("influxdb_org"),
    help="User of a new server.",
)
@click.option(
    "--password-stdin", is_flag=True, help="Read the user's password; else one is made up."
)
@click.option("--token-stdin", is_flag=True, help="Read an operator's token; else INFLUX_TOKEN.")
@click.option(
    "--mirror",
    "server",
    metavar="NAME",
    callback=_server,
    help="The mirror to make ready in place of the main server.",
)
@pass_source
def setup(
    source: Source,
    url: str,
    org: str,
    bucket: str,
    user: str,
    server: str,
    *,
    password_stdin: bool,
    token_stdin: bool,
) -> None:
    """Make an InfluxDB 2 ready, and the settings for it. Safe to run again."""
    from pipeline.cli.setup.steps import Setup, SetupOptions  # noqa: PLC0415
    from pipeline.settings import SettingsFiles  # noqa: PLC0415

    if password_stdin and token_stdin:
        raise click.UsageError("give --password-stdin or --token-stdin, not both")
    given = sys.stdin.readline().strip() if password_stdin or token_stdin else ""
    if (password_stdin or token_stdin) and not given:
        raise click.UsageError("nothing was given on standard input")
    if password_stdin and refusal(Settings, "influxdb_org", given):
        raise click.UsageError("the password must hold no control characters and nothing but UTF-8")
    token = given if token_stdin else os.environ.get("INFLUX_TOKEN", "").strip()
    if why := refusal(Settings, "influxdb_token", token):
        raise click.UsageError(f"the operator's token {why}")
    ask = _ask if sys.stdin.isatty() and not given else None
    if password_stdin:
        options = SetupOptions(url, org, bucket, user, password=given, server=server)
    else:
        options = SetupOptions(url, org, bucket, user, token=token, ask=ask, server=server)
    files = SettingsFiles(source.directory, os.environ, collectors.names(), server)
    warn(files.changeable)
    Setup(files, options, SystemClock(), click.echo).run()


def _ask(text: str) -> str:
    return str(click.prompt(text, default="", hide_input=True, show_default=False)).strip()
