"""The systemd unit as far as it needs no systemd, and the versions that are named and pinned."""

import re
import shlex
from pathlib import Path

import pytest

import pipeline
from pipeline.agent.session import STOP_S
from tests.agents import environment, running

ROOT = Path(__file__).parent.parent


def unit(name: str) -> str:
    """The setting of the unit that has this name."""
    text = (ROOT / "deploy/systemd/metrics-pipeline.service").read_text(encoding="utf-8")
    (value,) = re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)
    return str(value)


def test_a_stop_is_given_more_time_than_the_agent_takes() -> None:
    assert int(unit("TimeoutStopSec")) > 2 * STOP_S


@pytest.mark.slow
def test_the_agent_runs_as_the_unit_starts_it(tmp_path: Path) -> None:
    state, configuration = tmp_path / "state", tmp_path / "etc"
    state.mkdir()
    configuration.mkdir()
    (configuration / "settings.toml").write_text("collection_interval_ms = 200\nhttp_port = 0\n")
    env = environment(state)
    env = {name: value for name, value in env.items() if not name.startswith("METRICS_")}
    env["STATE_DIRECTORY"] = str(state)
    program, *options, command = [
        str(configuration) if word == "/etc/metrics-pipeline" else word
        for word in shlex.split(unit("ExecStart"))
    ]
    assert (Path(program).name, command) == ("metrics-pipeline", "run")
    with running(env, tmp_path, *options) as agent:
        agent.until(lambda status: status["ticks"] >= 2, "readings are taken")
        assert agent.stop() == 0
        assert agent.status()["data_dir"] == str(state)
    assert (state / "spool.db").exists()


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
