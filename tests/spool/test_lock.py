import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.spool.lock import DirectoryInUseError, DirectoryLock, holder
from tests.clocks import ManualClock

HOLD = """
import sys
from pathlib import Path
from pipeline.clock import SystemClock
from pipeline.spool.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]), SystemClock())
print("held", flush=True)
sys.stdin.read()
"""


def locked(directory: Path) -> DirectoryLock:
    return DirectoryLock(directory, ManualClock())


def test_a_directory_has_one_holder_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for free in (tmp_path, tmp_path / "nowhere", tmp_path / "file" / "below"):
        assert holder(free) is None
    (tmp_path / "agent.lock").write_text("123456789012345\n")  # a longer number than that of today
    lock = locked(tmp_path)
    assert holder(tmp_path) == os.getpid()
    with pytest.raises(DirectoryInUseError):
        locked(tmp_path)
    assert holder(tmp_path) == os.getpid()
    lock.release()
    assert holder(tmp_path) is None
    locked(tmp_path).release()


@pytest.mark.slow
def test_another_process_holds_a_directory_until_it_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        assert holder(tmp_path) == first.pid
        with pytest.raises(DirectoryInUseError) as refusal:
            locked(tmp_path)
        first.kill()
    assert str(refusal.value) == (
        f"data directory {tmp_path} is in use by process {first.pid}; "
        "stop that agent, or set another data_dir"
    )
    assert holder(tmp_path) is None
    locked(tmp_path).release()


def test_who_only_looks_is_taken_for_no_agent_and_keeps_none_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "agent.lock"
    path.touch()
    look = os.open(path, os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)  # as `holder` has it for an instant
    assert holder(tmp_path) is None
    clock = ManualClock()
    clock.on_wait = lambda _: os.close(look) if len(clock.waits) == 1 else None
    lock = DirectoryLock(tmp_path, clock)
    assert len(clock.waits) == 1
    assert holder(tmp_path) == os.getpid()
    lock.release()


def test_a_program_that_the_holder_started_does_not_hold_the_directory_too(tmp_path: Path) -> None:
    lock = locked(tmp_path)
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        lock.release()
        assert holder(tmp_path) is None
        child.kill()


def test_a_lock_that_was_removed_is_taken_again_with_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    lock = locked(folder)
    lock.look()
    (folder / "agent.lock").unlink()
    lock.look()
    with pytest.raises(DirectoryInUseError):
        locked(folder)
    shutil.rmtree(folder)
    folder.write_text("a file in its place")
    lock.look()  # it cannot be made, and so it is not lost
    folder.unlink()
    lock.look()
    assert holder(folder) == os.getpid()
    lock.release()
    assert holder(folder) is None


def test_a_lock_that_another_one_has_taken_is_lost_for_good(tmp_path: Path) -> None:
    lock = locked(tmp_path)
    (tmp_path / "agent.lock").unlink()
    other = locked(tmp_path)
    for release in (other.release, lock.release):
        with pytest.raises(DirectoryInUseError, match=r"agent\.lock was replaced while this agent"):
            lock.look()
        release()
