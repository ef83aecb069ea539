"""`make release`: what it refuses, what it makes, and the agent that is installed from that."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import pipeline
from tests.agents import environment, running
from tests.deploy.conftest import ROOT, built, copied

BIN = Path(sys.executable).parent
SCRIPT = "deploy/release.sh"
VERSION = pipeline.__version__
# Whatever is unreleased today: with CUT it is all released, with UNCUT it is not.
CUT = ("## [Unreleased]", f"## [Unreleased]\n\n## [{VERSION}]\n\n- A change.")
UNCUT = ("## [Unreleased]", "## [Unreleased]\n\n- A change.")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a release of this tree."""
    tree = copied(tmp_path_factory.mktemp("release") / "tree", {"CHANGELOG.md": CUT})
    done = built(tree, SCRIPT)
    assert done.returncode == 0, done.stderr
    return tree / "dist"


@pytest.mark.parametrize(
    ("changelog", "version", "why"),
    [
        (UNCUT, VERSION, "something below '## [Unreleased]'"),
        (CUT, "9.9.9", "nothing below '## [9.9.9]'"),
        (CUT, VERSION, "commit them first"),
    ],
)
def test_a_tree_that_is_not_ready_is_refused(
    changelog: tuple[str, str], version: str, why: str, tmp_path: Path
) -> None:
    edits = {"CHANGELOG.md": changelog, "pipeline/__init__.py": (VERSION, version)}
    tree = copied(tmp_path / "tree", edits)
    git = ["git", "-C", str(tree), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "All"]):
        subprocess.run([*git, *words], check=True)
    (tree / "README.md").write_text("changed")
    done = built(tree, SCRIPT)
    assert (done.returncode, done.stdout) == (1, "")
    assert why in done.stderr


def test_it_has_all_files_with_their_sums_and_is_the_same_a_second_time(
    released: Path, tmp_path: Path
) -> None:
    sums = (released / "SHA256SUMS").read_text()
    listed = {name: told for told, name in (line.split() for line in sums.splitlines())}
    assert {path.name for path in released.iterdir()} == {*listed, "SHA256SUMS"}
    assert {"".join(Path(name).suffixes[-2:]) for name in listed} >= {".tar.gz", ".cdx.json"}
    assert {Path(name).suffix for name in listed} >= {".whl", ".deb"}
    for name, told in listed.items():
        assert VERSION in name
        assert hashlib.sha256((released / name).read_bytes()).hexdigest() == told, name
    again = copied(tmp_path / "again", {"CHANGELOG.md": CUT})
    assert built(again, SCRIPT).returncode == 0
    assert (again / "dist/SHA256SUMS").read_text() == sums


def test_the_wheel_has_every_file_of_the_package(released: Path) -> None:
    package = ROOT / "pipeline"
    files = {
        str(path.relative_to(ROOT))
        for path in package.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    with zipfile.ZipFile(next(released.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {name for name in names if ".dist-info/" not in name} == files


def test_the_bill_of_materials_has_what_the_agent_needs_to_run(released: Path) -> None:
    bill = json.loads((released / f"metrics-pipeline-{VERSION}.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    root = bill["metadata"]["component"]
    assert (root["name"], root["version"]) == ("metrics-pipeline", VERSION)
    pinned = (ROOT / "constraints/run.txt").read_text()
    needed = {
        (name, version)
        for name, version in re.findall(r"^([\w.-]+)==([^ ;]+) \\", pinned, re.MULTILINE)
        if name != "flit-core"  # which builds it
    }
    parts = bill["components"]
    found = {(part["name"].lower().replace("_", "-"), part["version"]) for part in parts}
    assert found == needed


def words(way: str) -> list[list[str]]:
    """What docs/deploy.md says to run, by pipx or by uv."""
    text = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    lines = re.findall(rf"^{way} .*$", text, re.MULTILINE)
    assert len(lines) == 3
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("way", ["pipx", "uv"])
def test_a_user_installs_the_wheel_in_a_folder_without_a_clone(
    way: str, released: Path, tmp_path: Path
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (home, here):
        folder.mkdir()
    shutil.copy(next(released.glob("*.whl")), here)
    env = environment(tmp_path / "data", collection_interval_ms=200, http_port=0)
    for name in [name for name in env if name.startswith(("XDG_", "PIPX_", "UV_"))]:
        del env[name]
    env |= {"HOME": str(home), "PATH": f"{home}/.local/bin:{BIN}:{os.environ['PATH']}"}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=here, env=env, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    install, upgrade, remove = words(way)
    run(*install)
    program = home / ".local/bin/metrics-pipeline"
    assert run(program.name, "--version").split()[-1] == VERSION
    assert "cpu" in run(program.name, "once")
    assert run(program.name, "metrics", "--markdown") == (ROOT / "docs/metrics.md").read_text()
    with running(env, here, program=[str(program)]) as agent:
        agent.until(lambda status: status["ticks"] >= 2, "readings are taken")
        assert agent.stop() == 0
    run(*upgrade)
    assert "cpu" in run(program.name, "show")
    run(*remove)
    assert not program.exists()
