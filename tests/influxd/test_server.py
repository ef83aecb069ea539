import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.agents import eventually
from tests.influxd import ways
from tests.influxd.server import UnavailableError

NOTHING_AT_HAND = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "PATH": "", "HOME": "/nowhere"}


def is_gone(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


def test_no_process_is_left_when_its_parent_is_killed(influxd_binary: Path, tmp_path: Path) -> None:
    script = (
        "import pathlib, signal, sys; from tests.influxd.process import InfluxProcess;"
        "one = InfluxProcess(*map(pathlib.Path, sys.argv[1:]));"
        "one.start(); print(one.pid, flush=True); signal.pause()"
    )
    command = [sys.executable, "-c", script, str(influxd_binary), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        assert "influxd" in server.name()
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: is_gone(server), "its end")


def test_with_nothing_at_hand_the_message_names_the_three_ways(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as failure, ways.disposable(NOTHING_AT_HAND, tmp_path):
        pass
    for way in ("INFLUXDB_TEST_URL", "start Docker", "make influxd"):
        assert way in str(failure.value)


def test_a_named_server_that_is_gone_is_an_error_and_not_passed_over() -> None:
    gone = {"INFLUXDB_TEST_URL": "http://127.0.0.1:9"}
    with pytest.raises(TimeoutError, match="127"), ways.external(gone, within_s=0.1):
        pass


def test_a_program_that_only_has_the_name_is_passed_over(tmp_path: Path) -> None:
    impostor = tmp_path / "influxd"
    impostor.write_text("#!/bin/sh\necho InfluxDB v1.8.10\n")
    impostor.chmod(0o755)
    with (
        pytest.raises(UnavailableError, match="no influxd of version 2"),
        ways.bare_process({**NOTHING_AT_HAND, "PATH": str(tmp_path)}, tmp_path),
    ):
        pass
