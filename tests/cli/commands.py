"""The commands, as processes."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pipeline.cli import main
from tests.agents import environment


def every(group: click.Group = main, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield each command by its words, such as `rejected list`."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


# A rehearsal takes ten seconds, of a machine that has the time.
_WITHIN_S = 300


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str

    def json(self) -> Any:
        assert (self.status, self.err) == (0, "")
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one sentence that a failure is told in."""
        assert self.status != 0
        assert self.out == ""
        (line,) = self.err.splitlines()
        return line.removeprefix("metrics-pipeline: ")


class Cli:
    """Runs commands with these settings and no others, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.config_dir = folder / "config"
        self.config_dir.mkdir()

    def env(self, **settings: object) -> dict[str, str]:
        fixed = {"METRICS_CONFIG_DIR": str(self.config_dir)}
        return environment(**{"data_dir": self.data_dir, **settings}) | fixed  # type: ignore[arg-type]  # data_dir is a path

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", *words],
            env=self.env() if env is None else env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str, **settings: object) -> Done:
        return finish(self.start(*words, env=self.env(**settings)))


def finish(process: subprocess.Popen[str]) -> Done:
    with process:
        try:
            out, err = process.communicate(timeout=_WITHIN_S)
        finally:
            process.kill()
    return Done(process.returncode, out, err)


def ended(*words: str) -> Any:
    """Run a command in this process; return its status."""
    try:
        main(words, prog_name="metrics-pipeline")
    except SystemExit as end:
        return end.code
    return 0


Inside = Callable[..., Done]
"""Runs a command in this process, which takes a twentieth of the time."""
