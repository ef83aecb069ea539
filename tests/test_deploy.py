"""The systemd unit: systemd understands it, and the agent runs as it says."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import pipeline
from pipeline.agent.session import STOP_S
from pipeline.settings import SYSTEM_CONFIG_DIR, SYSTEM_DATA_DIR
from tests.agents import environment, eventually, running

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "deploy/systemd/metrics-pipeline.service"
SYSUSERS = ROOT / "deploy/systemd/metrics-pipeline.sysusers"
# What these hide, `disk` and others cannot see; what others do was tried in tests/deploy.
HIDES = re.compile(
    r"ProtectProc|ProcSubset|PrivateDevices|DynamicUser|Root\w+|InaccessiblePaths|"
    r"TemporaryFileSystem"
)


def service() -> dict[str, list[str]]:
    """The settings of the section [Service]; a name may be given several times."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    section = ""
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line
        elif line and not line.startswith("#") and section == "[Service]":
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


def arguments() -> list[str]:
    (line,) = service()["ExecStart"]
    return shlex.split(line)


def systemd_analyze(*words: object) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(
        [program, *map(str, words)], capture_output=True, text=True, check=False, timeout=60
    )


def unit_of_this_program(folder: Path) -> Path:
    """The unit, with a program that exists on this machine."""
    unit = folder / UNIT.name
    installed = arguments()[0]
    text = UNIT.read_text(encoding="utf-8").replace(installed, sys.executable)
    unit.write_text(text, encoding="utf-8")
    return unit


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    done = systemd_analyze("verify", unit_of_this_program(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_hardened(tmp_path: Path) -> None:
    done = systemd_analyze(
        "security", "--offline=true", "--no-pager", "--threshold=20", unit_of_this_program(tmp_path)
    )
    assert done.returncode == 0, done.stdout


def test_nothing_hides_the_file_systems_of_the_machine_from_the_agent() -> None:
    assert [name for name in service() if HIDES.fullmatch(name)] == []
    assert service()["ProtectHome"] == ["read-only"]


def test_a_stop_is_given_more_time_than_the_agent_takes() -> None:
    (seconds,) = service()["TimeoutStopSec"]
    assert int(seconds) > 2 * STOP_S


def test_a_reload_lets_the_agent_read_its_settings_again() -> None:
    assert service()["ExecReload"] == ['/bin/sh -c "kill -HUP $MAINPID"']


def test_the_user_and_the_folders_are_those_that_are_made() -> None:
    unit = service()
    (user,) = unit["User"]
    assert re.search(rf"^u {user} ", SYSUSERS.read_text(encoding="utf-8"), re.MULTILINE)
    (state,) = unit["StateDirectory"]
    assert Path("/var/lib", state) == SYSTEM_DATA_DIR
    assert str(SYSTEM_CONFIG_DIR) in arguments()


def test_what_no_other_try_mends_is_not_tried_again() -> None:
    (statuses,) = service()["RestartPreventExitStatus"]
    assert {int(status) for status in statuses.split()} >= {os.EX_CONFIG, 217}


def test_the_agent_runs_as_the_unit_starts_it(tmp_path: Path) -> None:
    state, configuration = tmp_path / "state", tmp_path / "etc"
    state.mkdir()
    configuration.mkdir()
    (configuration / "settings.toml").write_text("collection_interval_ms = 200\nhttp_port = 0\n")
    env = environment(state)
    env = {name: value for name, value in env.items() if not name.startswith("METRICS_")}
    env["STATE_DIRECTORY"] = str(state)
    program, *options, command = [
        str(configuration) if word == "/etc/metrics-pipeline" else word for word in arguments()
    ]
    assert (Path(program).name, command) == ("metrics-pipeline", "run")
    with running(env, tmp_path, *options) as agent:
        agent.until(lambda status: status["ticks"] >= 2, "readings are taken")
        assert agent.stop() == 0
        assert agent.status()["data_dir"] == str(state)
    assert (state / "spool.db").exists()


def test_the_journal_gets_a_severity_and_no_second_time(tmp_path: Path) -> None:
    program = (
        "import os, sys; s = os.fstat(2); os.environ['JOURNAL_STREAM'] = f'{s.st_dev}:{s.st_ino}';"
        "sys.argv[1:] = ['run']; from pipeline.cli import main; main()"
    )
    log = tmp_path / "journal"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", program], env=environment(tmp_path / "data"), stderr=stream
        )
    try:
        eventually(lambda: b"Starting" in log.read_bytes(), "the agent says that it starts")
    finally:
        process.terminate()
        process.wait(120)
    first, *_, last = log.read_text().splitlines()
    assert first.startswith("<6>Starting metrics collection")
    assert last == "<6>Metrics collection stopped"


def test_every_version_that_is_named_is_this_one() -> None:
    files = [ROOT / "docs/deploy.md", *(ROOT / "deploy").rglob("*")]
    name = re.compile(r"metrics[-_]pipeline[-_:](\d[\w.]*?)(?=_amd64|-py3|$|[\s\"])")
    named = {
        (path.name, version)
        for path in files
        if path.is_file()
        for version in name.findall(path.read_text(encoding="utf-8"))
    }
    assert len(named) > 3
    assert {version for _, version in named} == {pipeline.__version__}


def test_what_is_tested_is_what_runs() -> None:
    pinned = {
        path.stem: set(re.findall(r"^(\S+==\S+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        for path in (ROOT / "constraints").glob("*.txt")
    }
    assert {name for name, versions in pinned.items() if not versions >= pinned["run"]} == set()
