"""The Tab key, in the shells themselves."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.spool import Spool
from tests.agents import environment

# Of the three, bash is everywhere; the others are tried where they are.
SHELLS = [shell for shell in ("bash", "zsh", "fish") if shell == "bash" or shutil.which(shell)]
WITHIN_S = 60
pytestmark = pytest.mark.slow  # a shell each


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """With the command on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "metrics-pipeline"
    command.write_text(f"#!{sys.executable}\nfrom pipeline.cli import main\nmain()\n")
    command.chmod(0o755)
    base = environment(tmp_path / "data")
    own = {"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(tmp_path), "TERM": "dumb"}
    return {**base, **own, "PATH": f"{folder}:{base['PATH']}"}


def store(directory: Path, *lines: str) -> None:
    directory.mkdir()
    with Spool(directory, 2**24) as spool:
        spool.append([f"{line} 10" for line in lines], 10)


def press(shell: str, line: str, env: Mapping[str, str]) -> set[str]:
    """Return what the Tab key offers at the end of a line."""
    if shell == "zsh":
        return zsh(line, env)
    words = line.split(" ")
    script = {
        "bash": "source <(metrics-pipeline completion bash); complete -p metrics-pipeline >&2; "
        f"COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; "
        "_metrics_pipeline_completion metrics-pipeline; printf '%s\\n' \"${COMPREPLY[@]}\"",
        "fish": f"metrics-pipeline completion fish | source; complete -C '{line}'",
    }[shell]
    alone = {"bash": "--norc", "fish": "--no-config"}[shell]
    done = subprocess.run(
        [shell, alone, "-c", script], env=env, capture_output=True, text=True, timeout=WITHIN_S
    )
    assert done.returncode == 0, done.stderr
    return {offered.partition("\t")[0] for offered in done.stdout.split("\n") if offered}


def zsh(line: str, env: Mapping[str, str]) -> set[str]:
    """It completes on a terminal only, where it lists below the line what it offers."""
    script = "autoload -U compinit; compinit -D -u; source <(metrics-pipeline completion zsh)\n"
    terminal, own = pty.openpty()
    with subprocess.Popen(
        ["zsh", "-f", "-i"], env=env, stdin=own, stdout=own, stderr=own, start_new_session=True
    ) as process:
        try:
            os.write(terminal, f"PS1='READY'': '\n{script}".encode())
            read_until(terminal, r"READY: .*READY: ")
            os.write(terminal, f"{line}\t".encode())
            listed = read_until(terminal, r"\n(.*)READY: ")
        finally:
            process.kill()
            os.close(own)
            os.close(terminal)
    return set(re.sub(r"\s+-- .*", "", listed, flags=re.MULTILINE).split())


def read_until(terminal: int, pattern: str) -> str:
    text, deadline = "", time.monotonic() + WITHIN_S
    while (match := re.search(pattern, text, re.DOTALL)) is None:
        left = deadline - time.monotonic()
        assert select.select([terminal], [], [], max(0.0, left))[0], f"zsh said only: {text!r}"
        text += os.read(terminal, 65536).decode(errors="replace")
    return match[match.lastindex or 0]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("metrics-pipeline s", {"settings", "setup", "show", "status"}),
        ("metrics-pipeline settings ", {"check", "show"}),
        ("metrics-pipeline completion ", {"bash", "zsh", "fish"}),
        ("metrics-pipeline show ", {"clock", "weather"}),
        ("metrics-pipeline show weather ", {"temperature", "wind"}),
        ("metrics-pipeline show --since 1h weather ", {"temperature", "wind"}),
    ],
)
def test_the_tab_key_offers_what_can_follow(
    shell: str, line: str, offered: set[str], env: dict[str, str], tmp_path: Path
) -> None:
    store(tmp_path / "data", "weather temperature=1,wind=2", "clock drift=3")
    assert press(shell, line, env) == offered


def test_the_store_is_the_one_that_the_command_line_names(
    env: dict[str, str], tmp_path: Path
) -> None:
    del env["METRICS_DATA_DIR"]
    config = tmp_path / "etc"
    config.mkdir()
    (config / "settings.toml").write_text(f'data_dir = "{tmp_path / "other"}"\n')
    store(tmp_path / "other", "tide level=1")
    line = f"metrics-pipeline --config-dir {config} show "
    assert press("bash", line, env) == {"tide"}


@pytest.mark.parametrize("missing", ["store", "settings that can be used", "sound store"])
def test_without_a_history_the_catalogue_is_offered_and_no_error_disturbs_a_key_press(
    env: dict[str, str], tmp_path: Path, missing: str
) -> None:
    if missing == "settings that can be used":
        env["METRICS_RETENTION_HOURS"] = "soon"
    elif missing == "sound store":
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "spool.db").write_text("a letter to the editor" * 100)
    assert press("bash", "metrics-pipeline show swa", env) == {"swap"}
