"""Ways to run a command."""

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from tests.cli.commands import Cli, Done, Inside


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture
def inside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], _log_restored: None
) -> Inside:
    def run(cli: Cli, *words: str, **settings: object) -> Done:
        for name in os.environ:
            if name.startswith("METRICS_"):
                monkeypatch.delenv(name)
        for name, value in cli.env(**settings).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(cli.folder)
        status: Any = 0
        try:
            main(words, prog_name="metrics-pipeline")
        except SystemExit as end:
            status = end.code
        return Done(status, *capsys.readouterr())

    return run
