"""Settings read in a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.settings import Files, SettingsError
from pipeline.settings.aside import aside

ROOT = Path(__file__).parent.parent

TOML = """
retention_overrides = { cpu = 24 }
tags = { site = "lab" }
[collectors.disk]
exclude = ["/boot*"]
"""

SCRIPT = """
import sys
from pathlib import Path
from pipeline.settings import Files
from pipeline.settings.aside import aside
Files(Path(sys.argv[1]), {}, ("disk",)).load(aside)
sys.exit("dynaconf" in sys.modules)
"""


def files(folder: Path, text: str) -> Files:
    (folder / "settings.toml").write_text(text)
    return Files(folder, {"HOME": "/home/x"}, ("disk",))


def test_they_are_what_they_are_without_it(tmp_path: Path) -> None:
    read = files(tmp_path, TOML)
    assert read.load(aside) == read.load()
    assert read.loaded is not None
    assert read.loaded.settings.tags == {"site": "lab"}


def test_what_is_wrong_is_told_as_without_it(tmp_path: Path) -> None:
    read = files(tmp_path, "retention_hours = -1\nnonsense = 1")
    with pytest.raises(SettingsError) as here:
        read.load()
    with pytest.raises(SettingsError) as there:
        read.load(aside)
    assert there.value.problems == here.value.problems
    assert len(here.value.problems) == 2


def test_it_leaves_no_dynaconf_behind(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(TOML)
    subprocess.run([sys.executable, "-c", SCRIPT, tmp_path], check=True, cwd=ROOT)


def test_a_process_that_is_killed_costs_nothing() -> None:
    here = os.getpid()

    def work() -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return 1

    assert aside(work) == 1
