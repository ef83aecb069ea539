"""Every command, whatever its streams are, and whatever names it meets."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.streams import visible
from pipeline.clock import SystemClock
from pipeline.spool import Refusal, Spool
from tests.agents import AgentProcess, eventually, ticks
from tests.cli.commands import Cli, Inside, ended, finish

pytestmark = pytest.mark.slow

# It gives a terminal a title, clears it, and turns the direction of the text.
EVIL = "\x1b]0;pwn\x07\x9b2J\u202e\u2028x"
SHOWN = r"\x1b]0;pwn\x07\x9b2J\u202e\u2028x"
NOT_SHOWN_RE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
# All commands but `run`, each in a way that ends soon.
EVERY = [
    *("--help", "--version", "nosuch", f"show {EVIL}", "once", "once --json"),
    *("status", "status --json", "show", "show m", f"show m f{EVIL}", "show m --json"),
    *("metrics", "metrics --json", "metrics --markdown", "doctor", "doctor --json", "rehearse"),
    *("completion bash", "completion zsh", "completion fish", "setup --url http://127.0.0.1:9"),
    *("settings check", "settings show", "settings show --json", f"--config-dir {EVIL} status"),
    *("retention plan", "retention plan --json", "retention apply"),
    *("rejected list", "rejected list --json", "rejected retry 99", "rejected drop 99"),
]
# Those that have the names of the store and the collector in what they write.
NAMING = {"once", "status", "show", "show m", "rejected list"}


@pytest.fixture
def evil(tmp_path: Path) -> Cli:
    """A store of such names, and a collector that reads one."""
    one = Cli(tmp_path)
    one.data_dir.mkdir()
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.lp").write_text(f"own,name={EVIL} value=1\n", encoding="utf-8")
    (one.config_dir / "settings.toml").write_text(
        f"[collectors.file]\ndirectory = {json.dumps(str(own))}\n"
    )
    now_ns = SystemClock().now_ns()
    with Spool(one.data_dir, 2**24) as spool:
        for age in (3, 2, 1):
            lines = [f'm,host=h1,name={EVIL} f{EVIL}={age},text="{EVIL}" {now_ns - age * 10**9}']
            spool.append(lines, now_ns - age * 10**9)
        batch = spool.queue().lease(1)
        assert batch is not None
        spool.queue().settle(batch, now_ns, [Refusal(f"m,name={EVIL} f=1 1", f"because of {EVIL}")])
        spool.note({"last_error": EVIL, "troubles": json.dumps({EVIL: EVIL})})
    return one


def words(command: str) -> list[str]:
    return command.split(" ")


every_command = pytest.mark.parametrize("command", EVERY, ids=range(len(EVERY)))


@every_command
def test_every_command_writes_control_characters_so_that_they_are_seen(
    evil: Cli, inside: Inside, command: str
) -> None:
    done = inside(evil, *words(command))
    told = done.out + done.err
    assert "Traceback" not in told
    assert NOT_SHOWN_RE.search(told) is None
    if command in NAMING or EVIL in command:
        assert r"\x1b]0;pwn\x07\x9b2J" in told


def test_data_are_exact_unless_a_terminal_would_obey_them(
    evil: Cli, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EVIL in inside(evil, *words("show m text --csv")).out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert SHOWN in inside(evil, *words("show m text --csv")).out
    series = inside(evil, *words("show m text --json")).json()
    assert series[0]["samples"][0][1] == EVIL


@pytest.mark.parametrize("character", ["\x00", "\n", "\r", "\x7f", "\x85", "\u2067", "\udc80"])
def test_a_character_that_is_not_seen_is_written_as_in_a_program(character: str) -> None:
    assert visible(f"a{character}b") == f"a{ascii(character)[1:-1]}b"


@pytest.mark.parametrize("text", ["plain", "ü — 漢字 👩\u200d🔬", r"\x1b", "ab\u0301"])
def test_what_is_seen_stays(text: str) -> None:
    assert visible(text) == text


# ---- streams -------------------------------------------------------------------------------------


@pytest.fixture
def _within(evil: Cli, within: Callable[..., None]) -> None:
    within(evil)


class Latin1(io.TextIOWrapper):
    """A dumb terminal that knows no more than ISO-8859-1."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def latin_1(_within: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[object, str]]:
    """Runs a command on such a terminal; returns its status and all that it wrote."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")

    def run(command: str, encoding: str = "iso-8859-1") -> tuple[object, str]:
        got = io.BytesIO()
        stream = Latin1(got, encoding=encoding)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            status = ended(*words(command))
        return status, got.getvalue().decode("iso-8859-1")

    return run


@every_command
def test_every_command_works_on_a_dumb_terminal_of_another_encoding(
    latin_1: Callable[..., tuple[object, str]], command: str
) -> None:
    status, text = latin_1(command)
    assert status in (0, 1, 2, os.EX_CONFIG)
    assert text
    assert "Traceback" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ascii"])
def test_a_chart_is_drawn_with_what_the_encoding_has(
    latin_1: Callable[..., tuple[object, str]], encoding: str
) -> None:
    status, text = latin_1(f"show m f{EVIL}", encoding)
    assert status == 0
    assert "+----" in text
    assert "**" in text
    assert re.search(r"\\u2[58]", text) is None


@pytest.mark.usefixtures("_within")
@every_command
def test_a_pipe_that_ends_is_no_error_to_tell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        ended(*words(command))
        stream.flush()  # as at the end of the program
    assert "Broken pipe" not in capsys.readouterr().err


@pytest.mark.usefixtures("_within")
def test_standard_error_that_cannot_be_written_changes_no_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert ended("show", "nosuch") == 1
        assert ended("--nosuch") == 2


@pytest.mark.usefixtures("_within")
@pytest.mark.parametrize("command", ["metrics", "metrics --help", "--help", "--version"])
def test_output_that_finds_no_room_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert ended(*command.split()) == 1
    assert capsys.readouterr().err.endswith(": No space left on device\n")


# One of each command: a process takes a second.
CLOSED = [command for command in EVERY if "--" not in command and EVIL not in command]


@pytest.mark.usefixtures("_within")
def test_every_command_works_with_closed_streams(capsys: pytest.CaptureFixture[str]) -> None:
    processes = [
        subprocess.Popen(
            ["sh", "-c", 'exec "$@" <&- >&-', "sh", sys.executable, "-m", "pipeline", *words(one)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for one in CLOSED
    ]
    done = [finish(process) for process in processes]
    assert [one.status for one in done] == [ended(*words(one)) for one in CLOSED]
    assert not [one.err for one in done if "Traceback" in one.err]
    assert capsys.readouterr().out


@pytest.mark.parametrize("redirection", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_the_agent_runs_with_closed_streams_and_no_file_takes_their_place(
    cli: Cli, redirection: str
) -> None:
    before = ("sh", "-c", f'exec "$@" {redirection}', "sh")
    agent = AgentProcess(cli.env(collection_interval_ms=20), cli.folder, before=before)
    try:
        eventually(lambda: ticks(cli.data_dir) >= 2, "two readings")
        files = Path(f"/proc/{agent.process.pid}/fd")
        places = [(files / str(number)).readlink() for number in range(3)]
        assert not [place for place in places if place.is_relative_to(cli.data_dir)]
        assert agent.stop() == 0
    finally:
        agent.kill()
    assert "Traceback" not in agent.log
