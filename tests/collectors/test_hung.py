"""What a real file system that does not answer does to the agent: it costs itself only."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.skipif(
    not Path("/dev/fuse").exists() or os.geteuid() != 0, reason="mounting takes FUSE and root"
)


def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, **env},
        timeout=60,
    )


def test_once_reads_the_others_says_so_and_ends(tmp_path: Path) -> None:
    hung = tmp_path / "hung"
    hung.mkdir()
    done = run(
        *("-m", "tests.collectors.hung", str(hung)),
        *(sys.executable, "-m", "pipeline", "once"),
        METRICS_COLLECTORS__DISK__TIMEOUT_MS="300",
        METRICS_COLLECTORS__FILE=f"{{directory = '{hung}', timeout_ms = 300}}",
        METRICS_HOST="h",
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("disk,") and ",path=/ " in line]
    assert not [line for line in lines if str(hung) in line]
    assert {line.partition(",")[0] for line in lines} >= {"disk", "mem", "net", "system_metrics"}
    disk, file = done.stderr.splitlines()
    assert f"Collector disk leaves out {hung}: no answer within 300 ms" in disk
    assert f"Collector file fails: TimeoutError: no answer within 300 ms from {hung}" in file


SCENARIO = """
import sys
from dataclasses import replace
from pathlib import Path
from pipeline.clock import SystemClock
from pipeline.collectors import Guard, Host
from pipeline.collectors.disk import Disk
from pipeline.settings import CollectorOptions
from tests.collectors.hung import Hung, enter_namespace

folder = sys.argv[1]
enter_namespace()
hung = Hung(Path(folder))
host = Host.system(SystemClock())
options = CollectorOptions(include=(folder, "/"), timeout_ms=300)
guard = Guard(Disk(host, options), options, host.clock)

def read():
    outcome = guard.run(1, {})
    where = [folder in line for line in outcome.lines]
    found = "lost", outcome.lost_points, "read", len(where), "of it", sum(where)
    return *found, *(warning for _, warning in outcome.warnings())

silent = read()
print(*silent)
print(*read())
print(*read())
hung.speak()
while read() == silent:
    pass
print(*read())
"""


def test_silence_is_told_as_long_as_it_lasts(tmp_path: Path) -> None:
    told = f"Collector disk leaves out {tmp_path}: no answer within 300 ms"
    assert run("-c", SCENARIO, str(tmp_path)).stdout.splitlines() == [
        *3 * [f"lost 1 read 1 of it 0 {told}"],
        "lost 0 read 2 of it 1",
    ]
