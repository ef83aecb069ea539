"""The command itself: its options, and how it ends on a failure."""

import dataclasses
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import click

from pipeline import __version__, collectors
from pipeline.cli import logs, streams
from pipeline.settings import (
    Exposure,
    Loaded,
    Settings,
    SettingsError,
    find_config_dir,
    load,
)

_PROGRAM = "metrics-pipeline"


class _Commands(click.Group):
    """Ends every known failure with a sentence on standard error, and a status other than 0."""

    def main(self, *args: Any, **options: Any) -> Any:
        with streams.prepared():
            return self._main(*args, **options)

    def _main(self, *args: Any, **options: Any) -> Any:
        if sys.platform != "linux":
            _fail("this system is not supported, run it on Linux", 1)
        try:
            return super().main(*args, **{**options, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            _fail(self._told(error), 2)
        except click.ClickException as error:
            _fail(error.format_message(), error.exit_code)
        except click.Abort:
            sys.exit(130)
        except OSError as error:  # a pipe that ends is none: click ends quietly then
            _fail(f"{error.filename or 'this command'}: {error.strerror}", 1)

    def _told(self, error: click.UsageError) -> str:
        """Say what is wrong with the command line, and whose help to see."""
        if isinstance(error, click.NoSuchOption):
            option = error.option_name
            if any(option in own.opts for own in self.params):
                return f"{option} goes before the command; see {_PROGRAM} --help"
        told = " ".join(error.format_message().split())  # click lists choices in lines
        told = f"{told} See" if told.endswith("?") else f"{told.rstrip('.')}; see"
        return f"{told} {error.ctx.command_path if error.ctx else _PROGRAM} --help"

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # here, where a closed pipe is not an error
            return result
        except SettingsError as error:
            _fail(str(error), os.EX_CONFIG)  # a restart would not help: see the systemd unit
        except _failures() as error:
            _fail(str(error), 1)


def _failures() -> tuple[type[Exception], ...]:
    # Imported only after a failure: `settings` needs no agent.
    from pipeline.agent import AgentError  # noqa: PLC0415
    from pipeline.influx import InfluxError  # noqa: PLC0415
    from pipeline.spool import SpoolError, UnknownLineError  # noqa: PLC0415

    return (AgentError, InfluxError, SpoolError, UnknownLineError)


def _fail(message: str, status: int) -> NoReturn:
    complain(message)
    sys.exit(status)


def complain(message: str) -> None:
    """Print an error on standard error."""
    mark = logs.error_mark(sys.stderr, os.environ)
    for line in message.split("\n"):
        click.echo(f"{mark}metrics-pipeline: {line}", err=True)


def warn(exposed: Iterable[Exposure]) -> None:
    """Print what others can do to the settings, and how to prevent it."""
    for exposure in exposed:
        complain(str(exposure))


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Where the settings come from."""

    option: Path | None

    @property
    def directory(self) -> Path:
        """The folder of the files."""
        return find_config_dir(self.option, os.environ, Path.cwd())

    def load(self) -> Loaded:
        """Read and validate all settings."""
        return load(self.directory, os.environ, collectors=collectors.names())

    def settings(self) -> Settings:
        """Read and validate all settings, and warn of those that others can change."""
        loaded = self.load()
        warn(loaded.changeable)
        return loaded.settings


pass_source = click.make_pass_decorator(Source)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def example(text: str) -> str:
    """Return an example, for the end of a command's help."""
    return f"\b\nExample:\n  {text}"


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "color": True})
@click.option(
    "--config-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the settings files; else METRICS_CONFIG_DIR, else the working "
    "folder if it has a settings.toml, else /etc/metrics-pipeline.",
)
@click.version_option(__version__, prog_name=_PROGRAM)
@click.pass_context
def main(ctx: click.Context, config_dir: Path | None) -> None:
    """Get this machine's metrics into InfluxDB 2 without losing one."""
    ctx.obj = Source(config_dir)
