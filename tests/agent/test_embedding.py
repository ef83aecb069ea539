import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

import pipeline
from pipeline import SpaceMetrics
from pipeline.agent import Agent
from pipeline.clock import SystemClock
from pipeline.health import Status, read_status
from pipeline.settings import Settings
from pipeline.spool import Spool, SpoolReader
from tests.agents import eventually
from tests.influxd.process import free_port

HOUR_NS = 3600 * 10**9
NOTHING = SpaceMetrics(total=None, used=None, percent=None)


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Settings of this test alone; collection is stopped at the end."""
    for name in os.environ:
        if name.startswith("METRICS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METRICS_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("METRICS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("METRICS_HTTP_PORT", "0")
    yield tmp_path / "data"
    pipeline.stop_metrics_collection()
    names = {"tick", "sweep", "http", "settings"}
    eventually(lambda: not names & {t.name for t in threading.enumerate()}, "their threads end")


def status(data_dir: Path) -> Status:
    return read_status(Settings(data_dir=data_dir))


def broken(failure: Exception) -> Callable[..., object]:
    """What fails whenever it is called."""

    def fail(*_: object) -> object:
        raise failure

    return fail


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def add_old(data_dir: Path, points: int, hours: int) -> None:
    old = SystemClock().now_ns() - hours * HOUR_NS
    with Spool(data_dir, 2**24) as spool:
        spool.append([f"system_metrics f=1i {old}"] * points, old)


def test_collect_system_metrics_reads_processor_memory_and_disk() -> None:
    before = datetime.now(UTC)
    found = pipeline.collect_system_metrics()
    assert before - timedelta(seconds=1) < found.timestamp <= datetime.now(UTC)
    assert found.timestamp.utcoffset() == timedelta(0)
    assert (found.collected, found.error) == (True, None)
    assert found.memory.total == psutil.virtual_memory().total
    assert found.disk.total == shutil.disk_usage("/").total
    for space in (found.memory, found.disk):
        assert space.total is not None
        assert space.used is not None
        assert 0 < space.used < space.total
    for share in (found.cpu.usage, found.memory.percent, found.disk.percent):
        assert share is not None
        assert 0 <= share <= 100
    assert found.cpu.temperature is None or -100 < found.cpu.temperature < 250


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host's /proc, as a folder of files."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")  # and put it back
    monkeypatch.setenv("HOST_PROC", str(tmp_path / "proc"))
    (tmp_path / "proc").mkdir()
    for name in ("stat", "meminfo", "vmstat"):
        shutil.copyfile(f"/proc/{name}", tmp_path / "proc" / name)
    return tmp_path / "proc"


def test_what_cannot_be_read_is_none_and_costs_nothing_else(proc: Path) -> None:
    (proc / "stat").unlink()
    found = pipeline.collect_system_metrics()
    assert found.cpu.usage is None
    assert found.memory.total == psutil.virtual_memory().total
    assert found.disk.total == shutil.disk_usage("/").total
    assert found.collected is False
    missing = f"cpu: FileNotFoundError: [Errno 2] No such file or directory: '{proc / 'stat'}'"
    assert found.error == missing
    (proc / "meminfo").unlink()
    found = pipeline.collect_system_metrics()
    assert found.memory == NOTHING
    assert found.error is not None
    assert found.error.startswith(f"{missing}; memory: FileNotFoundError: ")
    assert "\n" not in found.error


def test_a_processor_whose_counters_stand_still_has_no_usage(proc: Path) -> None:
    found = pipeline.collect_system_metrics()
    assert (found.cpu.usage, found.collected) == (None, False)
    assert found.error == "the host does not tell every figure at present"


@pytest.mark.slow
def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    document = Path(__file__).parents[2] / "docs/embedding.md"
    text = document.read_text(encoding="utf-8")
    example = re.search(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert example is not None
    (tmp_path / "example.py").write_text(example[1])
    done = subprocess.run(
        [sys.executable, "example.py"], capture_output=True, text=True, timeout=60, check=False
    )
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"At \d\d:\d\d:\d\d UTC the processor was busy for \d+ %,", first)
    assert f"of {psutil.virtual_memory().total} bytes of memory" in second


def test_save_system_metrics_returns_true_and_the_reading_is_in_the_store(data_dir: Path) -> None:
    assert pipeline.save_system_metrics() is True
    with SpoolReader(data_dir) as reader:
        (block,) = reader.history(0)
    (line,) = [line for line in block.splitlines() if line.startswith("system_metrics,host=")]
    assert "memory_total=" in line
    assert pipeline.is_metrics_collection_running() is False


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("virtual_memory", ["Failed to collect system metrics: OSError: not today"]),
        ("swap_memory", []),  # another collector's
    ],
)
def test_save_system_metrics_returns_false_and_logs_why_when_the_summary_cannot_be_read(
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    what: str,
    told: list[str],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(psutil, what, broken(OSError("not today")))
        assert pipeline.save_system_metrics() is not bool(told)
    assert errors(caplog) == told
    assert status(data_dir).main.lost["collector_failed"] >= 1


@pytest.mark.slow
def test_collection_goes_on_from_a_start_to_a_stop_and_can_be_started_again(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.stop_metrics_collection()  # nothing to stop, and nothing to say
    assert pipeline.is_metrics_collection_running() is False
    pipeline.register()
    assert pipeline.is_metrics_collection_running() is True
    pipeline.start_metrics_collection()
    eventually(lambda: status(data_dir).ticks >= 1, "the first reading")
    assert pipeline.save_system_metrics() is True
    running = status(data_dir)
    assert (running.running, running.pid, running.ticks >= 2) == (True, os.getpid(), True)
    assert [t.name for t in threading.enumerate()].count("tick") == 1
    pipeline.stop_metrics_collection()
    assert pipeline.is_metrics_collection_running() is False
    assert status(data_dir).running is False
    pipeline.start_metrics_collection()
    eventually(lambda: status(data_dir).ticks > running.ticks, "a reading")
    lines = [text for text in caplog.messages if "etrics collection" in text]
    begun = "Starting metrics collection (interval: 60000ms)"
    already, stopped = "Metrics collection already running", "Metrics collection stopped"
    assert lines == [begun, already, stopped, begun]


@pytest.mark.slow
def test_cleanup_old_metrics_returns_the_number_deleted(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.save_system_metrics()
    kept = status(data_dir).main.points
    add_old(data_dir, points=3, hours=169)
    add_old(data_dir, points=2, hours=167)
    assert pipeline.cleanup_old_metrics() == 3
    assert pipeline.cleanup_old_metrics() == 0
    with SpoolReader(data_dir) as reader:
        assert sum(block.count("\n") for block in reader.history(0)) == kept + 2
    assert [m for m in caplog.messages if "Cleaned" in m] == ["Cleaned up 3 old metric records"]


@pytest.mark.slow
def test_the_interval_and_the_age_are_those_of_the_environment_at_each_start(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("METRICS_COLLECTION_INTERVAL_MS", "20")
    monkeypatch.setenv("METRICS_RETENTION_HOURS", "2")
    data_dir.mkdir()
    add_old(data_dir, points=3, hours=3)
    pipeline.start_metrics_collection()
    eventually(lambda: "Cleaned up 3 old metric records" in caplog.messages, "the first sweep")
    assert "Starting metrics collection (interval: 20ms)" in caplog.messages
    eventually(lambda: status(data_dir).ticks >= 3, "three readings")
    found = status(data_dir)
    assert (found.collection_interval_ms, found.retention_hours) == (20, 2)
    pipeline.stop_metrics_collection()
    add_old(data_dir, points=5, hours=3)
    assert pipeline.cleanup_old_metrics() == 5
    monkeypatch.setenv("METRICS_COLLECTION_INTERVAL_MS", "30000")
    pipeline.start_metrics_collection()
    assert "Starting metrics collection (interval: 30000ms)" in caplog.messages


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("settings", "retention_hours"),
        ("cwd", "No such file"),
        ("data_dir", None),
        ("store", None),
    ],
)
def test_a_program_does_not_fail_because_its_metrics_do(
    wrong: str,
    error: str | None,
    tmp_path: Path,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if wrong == "settings":
        (tmp_path / "settings.toml").write_text('retention_hours = "a week"\nnosuch = 1\n')
    elif wrong == "data_dir":
        (tmp_path / "file").touch()
        monkeypatch.setenv("METRICS_DATA_DIR", str(tmp_path / "file" / "below"))
    elif wrong == "store":
        data_dir.mkdir()
        with sqlite3.connect(data_dir / "spool.db") as db:
            db.execute("CREATE TABLE theirs (x)")
        db.close()
    elif wrong == "cwd":
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
    pipeline.register()
    pipeline.start_metrics_collection()
    assert pipeline.is_metrics_collection_running() is False
    assert pipeline.save_system_metrics() is False
    assert pipeline.cleanup_old_metrics() == 0
    pipeline.stop_metrics_collection()
    assert [error.split(":")[0] for error in errors(caplog)] == [
        "Metrics collection was not started",
        "Metrics collection was not started",
        "Failed to save system metrics",
        "Failed to cleanup old metrics",
    ]
    assert all("\n" not in message for message in caplog.messages)
    assert "Traceback" not in caplog.text
    found = pipeline.collect_system_metrics()
    assert found.collected is (error is None)
    assert (error or "None") in str(found.error)
    assert (found.memory == NOTHING) is (error is not None)
    if wrong == "store":  # and once it is gone, nothing is left in the way
        (data_dir / "spool.db").unlink()
        pipeline.start_metrics_collection()
        assert pipeline.is_metrics_collection_running() is True


def test_a_stop_that_fails_is_an_error_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failure = RuntimeError("cannot join thread before it is started")
    pipeline.start_metrics_collection()
    with monkeypatch.context() as patch:
        patch.setattr(Agent, "stop", broken(failure))
        pipeline.stop_metrics_collection()
    assert errors(caplog) == [
        "Metrics collection was not stopped: cannot join thread before it is started"
    ]


def test_all_that_is_exported_is_there_and_nothing_else() -> None:
    for name in pipeline.__all__:
        assert callable(getattr(pipeline, name))
    with pytest.raises(AttributeError, match="module 'pipeline' has no attribute 'nosuch'"):
        _ = pipeline.nosuch


EMBEDDING = """
import sys, threading
import pipeline
heavy = {"psutil", "influxdb_client", "dynaconf", "sqlite3", "http.server", "rich", "click"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
pipeline.start_metrics_collection()
assert not {"influxdb_client", "urllib3", "http.server"} & set(sys.modules)
assert all(thread.daemon for thread in threading.enumerate()[1:])
print(pipeline.is_metrics_collection_running())
"""


@pytest.mark.slow
def test_the_import_is_light_and_the_end_of_the_program_is_a_stop(data_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EMBEDDING],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert not (data_dir / "spool.db-wal").exists()  # the store was closed, not left
    assert status(data_dir).running is False


@pytest.mark.slow
def test_the_endpoint_outlives_a_stop_whatever_is_asked_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    monkeypatch.setenv("METRICS_HTTP_PORT", str(port))
    pipeline.register()
    pipeline.stop_metrics_collection()
    assert pipeline.save_system_metrics() is True
    url = f"http://127.0.0.1:{port}/api/internal/init"
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert json.load(answer) == {"success": True, "metricsCollectionRunning": True}
    assert pipeline.is_metrics_collection_running()
    # The next start makes a new endpoint, on no port; the fixture sees that no thread is left.
    pipeline.stop_metrics_collection()
    monkeypatch.setenv("METRICS_HTTP_PORT", "0")
    pipeline.start_metrics_collection()


FORK = """
import os, sys, pipeline
from pathlib import Path
from pipeline.spool import holder
pipeline.start_metrics_collection()
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.close(write)
    running = pipeline.is_metrics_collection_running()
    os.read(read, 1)  # until the parent has stopped
    held = holder(Path(os.environ["METRICS_DATA_DIR"])) is not None
    pipeline.start_metrics_collection()
    started = pipeline.is_metrics_collection_running()
    print("child", running, held, started, pipeline.save_system_metrics(), flush=True)
    sys.exit(0)  # atexit included, which must not hang
pipeline.stop_metrics_collection()
os.close(read)
os.close(write)
print("parent", os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.slow
def test_a_forked_worker_leaves_the_collection_to_its_parent(data_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == ["child False False False False", "parent 0"], done.stderr
    assert f"forked from the one that collects into {data_dir}" in done.stderr
    assert status(data_dir).main.backlog_points > 0


@pytest.mark.slow  # until the file is looked at again
def test_a_change_of_the_file_is_followed_while_collection_goes_on(
    tmp_path: Path, data_dir: Path
) -> None:
    toml = tmp_path / "settings.toml"
    toml.write_text("collection_interval_ms = 3000\n")  # a look every 2 s
    pipeline.start_metrics_collection()
    toml.write_text("collection_interval_ms = 20\n")
    eventually(lambda: status(data_dir).collection_interval_ms == 20, "the new interval")
