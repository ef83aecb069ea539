import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.collectors.files import KernelFiles
from tests.descriptors import opened


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_file_of_the_kernel_is_read_as_it_is_each_time() -> None:
    files = KernelFiles()
    first = float(files.read("/proc/uptime").split()[0])
    while float(files.read("/proc/uptime").split()[0]) <= first:
        pass
    assert files.read("/proc/version") == Path("/proc/version").read_bytes()


def test_it_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    files = KernelFiles()
    files.read("/proc/uptime")
    monkeypatch.setattr(os, "open", lambda *_: 1 / 0)
    assert files.read("/proc/uptime")


def test_what_is_longer_than_a_chunk_is_read_whole(tmp_path: Path) -> None:
    content = os.urandom(100_000)
    (tmp_path / "f").write_bytes(content)
    files = KernelFiles((str(tmp_path),))
    assert files.read(str(tmp_path / "f")) == files.read(str(tmp_path / "f")) == content


def test_a_file_on_a_disk_may_be_replaced(tmp_path: Path) -> None:
    files = KernelFiles()
    path, other = tmp_path / "passwd", tmp_path / "new"
    path.write_text("before")
    assert files.read(str(path)) == b"before"
    other.write_text("after")
    other.rename(path)
    assert files.read(str(path)) == b"after"


def test_the_file_of_a_process_that_ended_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    files, path = KernelFiles(), f"/proc/{sleeper.pid}/stat"
    before = opened()
    assert files.read(path).startswith(f"{sleeper.pid} (".encode())
    sleeper.kill()
    sleeper.wait()
    with pytest.raises((FileNotFoundError, ProcessLookupError)):
        files.read(path)
    assert opened() == before


def test_what_is_missing_leaves_nothing_open(tmp_path: Path) -> None:
    files = KernelFiles((str(tmp_path),))
    before = opened()
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(OSError, match=r"No such file|Is a directory"):
            files.read(str(path))
    assert opened() == before


def test_no_more_are_kept_open_than_it_may_and_those_that_are_read(tmp_path: Path) -> None:
    before = opened()
    files = KernelFiles((str(tmp_path),), most=8)
    for number in range(40):
        (tmp_path / f"{number}").write_text(str(number))
    for number in range(40):
        assert files.read(str(tmp_path / f"{number}")) == str(number).encode()
        assert opened() <= before + 8
    for _ in range(8):
        for number in range(30, 34):
            files.read(str(tmp_path / f"{number}"))
    kept = {str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.exists()}
    assert {str(tmp_path / f"{number}") for number in range(30, 34)} <= kept


def test_all_are_closed_with_it() -> None:
    before = opened()
    files = KernelFiles()
    files.read("/proc/uptime")
    assert opened() == before + 1
    del files
    assert opened() == before


def test_of_what_ended_nothing_is_remembered() -> None:
    files = KernelFiles()
    for _ in range(20):
        begun, stop = threading.Event(), threading.Event()
        thread = threading.Thread(target=lambda a=begun, b=stop: (a.set(), b.wait()))
        thread.start()
        begun.wait()
        path = f"/proc/self/task/{thread.native_id}/stat"
        files.read(path)
        stop.set()
        thread.join()
        while Path(path).exists():  # the kernel's part of it ends a little later
            pass
        with pytest.raises(OSError, match="No such"):
            files.read(path)
    # Processes come and go for as long as the agent runs.
    assert not files._kept
    assert not files._read_since
