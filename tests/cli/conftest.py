"""Ways to run a command."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import Cli, Done, Inside, ended


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture
def within(monkeypatch: pytest.MonkeyPatch, _log_restored: None) -> Callable[..., None]:
    """Gives this process the settings of a command, and the folder that it runs in."""

    def enter(cli: Cli, **settings: object) -> None:
        for name in os.environ:
            if name.startswith("METRICS_"):
                monkeypatch.delenv(name)
        for name, value in cli.env(**settings).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(cli.folder)

    return enter


@pytest.fixture
def inside(within: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> Inside:
    def run(cli: Cli, *words: str, **settings: object) -> Done:
        within(cli, **settings)
        return Done(ended(*words), *capsys.readouterr())

    return run
