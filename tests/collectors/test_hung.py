"""What file systems and sensors that do not answer do to the agent: they cost themselves only."""

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from pipeline.clock import SystemClock
from pipeline.collectors import Guard, Host, build
from pipeline.point import decode
from pipeline.settings import CollectorOptions
from pipeline.spool import SpoolReader
from tests.agents import environment, eventually, running

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent

mounting = pytest.mark.skipif(
    not Path("/dev/fuse").exists() or os.geteuid() != 0, reason="mounting takes FUSE and root"
)


@mounting
def test_once_reads_the_others_says_so_and_ends(tmp_path: Path) -> None:
    hung = tmp_path / "hung"
    hung.mkdir()
    command = (sys.executable, "-m", "tests.collectors.hung", str(hung))
    done = subprocess.run(
        [*command, sys.executable, "-m", "pipeline", "once"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={
            **os.environ,
            "METRICS_COLLECTORS__DISK__TIMEOUT_MS": "300",
            "METRICS_COLLECTORS__FILE": f"{{directory = '{hung}', timeout_ms = 300}}",
        },
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("disk,") and ",path=/ " in line]
    assert not [line for line in lines if str(hung) in line]
    assert {line.partition(",")[0] for line in lines} >= {"disk", "mem", "net", "system_metrics"}
    disk, file = done.stderr.splitlines()
    assert f"Collector disk leaves out {hung}: no answer within 300 ms" in disk
    assert f"Collector file fails: TimeoutError: no answer within 300 ms from {hung}" in file


@pytest.fixture
def sensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A sensor on each of five chips: a FIFO, at which a look blocks until somebody writes."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")  # and put it back
    made = {}
    for number, chip in enumerate("abcde"):
        folder = tmp_path / f"class/hwmon/hwmon{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{chip}\n")
        made[chip] = folder / "temp1_input"
        os.mkfifo(made[chip])
    return made


def guards(sys: Path, timeout_ms: int) -> list[Guard]:
    host = Host.system(SystemClock(), environ={"HOST_SYS": str(sys)})
    options = {name: CollectorOptions(timeout_ms=timeout_ms) for name in ("temp", "system_metrics")}
    return [guard for guard in build(host, options) if guard.name in options]


def read(made: list[Guard], tick: int) -> tuple[list[str], dict[str, str]]:
    """The chips that are told, and what is said of those that are not."""
    outcomes = [guard.run(tick, {}) for guard in made]
    lines = [line for outcome in outcomes for line in outcome.lines if line.startswith("temp,")]
    chips = [line.point.tags["sensor"] for line in decode("\n".join(lines))]
    return chips, {what: why for outcome in outcomes for what, why in outcome.problems.items()}


def test_slow_sensors_are_asked_at_the_same_time_and_once_a_tick(
    sensors: dict[str, Path], tmp_path: Path
) -> None:
    together = threading.Barrier(len(sensors))  # one after the other, none would be answered

    def answer(path: Path) -> None:  # once: a second look would hang
        with path.open("wb") as file:
            together.wait(60)
            file.write(b"40000\n")

    for path in sensors.values():
        threading.Thread(target=answer, args=[path], daemon=True).start()
    assert read(guards(tmp_path, 60_000), 1) == ([*sensors], {})


def test_a_hung_sensor_costs_itself_only_until_it_answers_again(
    sensors: dict[str, Path], tmp_path: Path
) -> None:
    plain = {chip: tmp_path / chip for chip in sensors}
    for chip, path in plain.items():
        path.write_bytes(b"40000\n")
        if chip != "b":
            path.replace(sensors[chip])
    made = guards(tmp_path, 500)
    for tick in (1, 2, 3):
        assert read(made, tick) == ([*"acde"], {"leaves out b temp1": "no answer within 500 ms"})
    with sensors["b"].open("wb") as file:  # which one look waits for
        plain["b"].replace(sensors["b"])
        file.write(b"40000\n")
    ticks = itertools.count(4)
    eventually(lambda: read(made, next(ticks)) == ([*"abcde"], {}), "b is told")


@pytest.mark.slow
def test_an_agent_goes_on_from_its_start_though_a_sensor_hangs(
    sensors: dict[str, Path], tmp_path: Path
) -> None:
    for path in list(sensors.values())[1:]:
        path.unlink()
        path.write_bytes(b"40000\n")
    env = environment(tmp_path / "data", collection_interval_ms=200)
    with running({**env, "HOST_SYS": str(tmp_path)}, tmp_path) as agent:
        status = agent.until(lambda its: its["ticks"] >= 4, "four readings")
        assert agent.stop() == 0
    assert status["troubles"]["collector temp"].startswith("leaves out a temp1: no answer within")
    assert status["lost"]["collector_failed"] >= 4
    assert agent.log.count("Collector temp leaves out a temp1") == 1


# A file of each collector that costs its own figures alone.
TOLD_APART = {
    "kernel": "sys/kernel/random/entropy_avail",
    "linux_sysctl_fs": "sys/fs/file-nr",
    "interrupts": "softirqs",
}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc with two files that are FIFOs, at which a look blocks until somebody writes."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")  # and put it back
    proc = tmp_path / "proc"
    proc.mkdir()
    for name in ("stat", "uptime", "loadavg", "vmstat"):
        (proc / name).write_bytes(Path("/proc", name).read_bytes())
    for folder in ("pressure", "sys/fs", "sys/kernel/random"):
        (proc / folder).mkdir(parents=True)
    for name in ("meminfo", "pressure/io", *TOLD_APART.values()):
        os.mkfifo(proc / name)
    return proc


def test_where_a_container_has_nothing_in_place_of_a_file_nothing_is_asked_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")
    (tmp_path / "interrupts").symlink_to("/dev/null")
    host = Host.system(SystemClock(), environ={"HOST_PROC": str(tmp_path)})
    assert host.ps is psutil


def test_a_file_of_proc_whose_server_hangs_costs_its_own_figures_until_it_answers(
    served: Path, tmp_path: Path
) -> None:
    host = Host.system(SystemClock(), environ={"HOST_PROC": str(served)})
    host.keep_pace(0.2)
    made = [guard for guard in build(host, {}) if guard.name in ("system", "mem", "swap")]
    (pressure,) = (guard for guard in build(host, {}) if guard.name == "pressure")
    options = dict.fromkeys(TOLD_APART, CollectorOptions(enabled=True))
    others = [guard for guard in build(host, options) if guard.name in TOLD_APART]

    def read(tick: int) -> dict[str, str | None]:
        return {guard.name: guard.run(tick, {}).error for guard in made}

    for tick in (1, 2, 3):
        told = read(tick)
        silence = f"TimeoutError: no answer within 500 ms from {served}/meminfo"
        assert told == {"system": None, "mem": silence, "swap": silence}
        assert pressure.run(tick, {}).silent_points == 2
        assert all(guard.run(tick, {}).silent_points for guard in others)
    plain = tmp_path / "plain"
    plain.write_bytes(text := Path("/proc/meminfo").read_bytes())
    fifo = served / "meminfo"
    fifo.rename(old := tmp_path / "old")
    plain.rename(fifo)
    with old.open("wb") as file:  # which the looks wait for
        file.write(text)
    ticks = itertools.count(4)
    eventually(lambda: not any(read(next(ticks)).values()), "mem and swap are told")


@mounting
@pytest.mark.parametrize("hung", ["stat", "meminfo stat uptime loadavg"])
def test_an_agent_goes_on_from_its_start_though_a_server_of_files_of_proc_hangs(
    tmp_path: Path, hung: str
) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    over = f'for name in {hung}; do mount --bind "$0" /proc/$name || exit; done; exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", over, str(fifo))
    env = environment(tmp_path / "data", collection_interval_ms=200)
    with running(env, tmp_path, before=before) as agent:
        status = agent.until(lambda its: its["ticks"] >= 4, "four readings")
        assert agent.stop() == 0
    silent = {"meminfo": {"mem", "swap"}, "stat": {"cpu"}, "uptime": set(), "loadavg": set()}
    names = {"system_metrics"}.union(*(silent[name] for name in hung.split()))
    for name in names:
        assert "no answer within 500 ms" in status["troubles"][f"collector {name}"]
        assert agent.log.count(f"Collector {name} fails: TimeoutError: no answer") == 1
    assert status["lost"]["collector_failed"] >= 4 * len(names)
    with SpoolReader(tmp_path / "data") as reader:
        lines = [line for block in reader.history(0) for line in block.splitlines()]
    measured = {line.partition(",")[0] for line in lines}
    assert not measured & names
    assert measured >= {"mem", "swap", "cpu", "disk", "net", "processes"} - names
