import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
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


@contextmanager
def another_process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the directory until it is killed or the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_directory_has_one_holder_at_a_time(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    lock = DirectoryLock(tmp_path, ManualClock())
    assert holder(tmp_path) == os.getpid()
    with pytest.raises(DirectoryInUseError):
        DirectoryLock(tmp_path, ManualClock())
    assert holder(tmp_path) == os.getpid()
    lock.release()
    assert holder(tmp_path) is None
    DirectoryLock(tmp_path, ManualClock()).release()


def test_a_directory_that_is_not_there_has_no_holder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert holder(tmp_path / "nowhere") is None
    assert holder(tmp_path / "file" / "below") is None


def test_a_second_process_is_refused_with_the_first_ones_number_and_the_fix(tmp_path: Path) -> None:
    with another_process(tmp_path) as first:
        assert holder(tmp_path) == first.pid
        with pytest.raises(DirectoryInUseError) as refusal:
            DirectoryLock(tmp_path, ManualClock())
    assert str(refusal.value) == (
        f"data directory {tmp_path} is in use by process {first.pid}; "
        "stop that agent, or set another data_dir"
    )


def test_a_killed_process_leaves_the_directory_free(tmp_path: Path) -> None:
    with another_process(tmp_path) as first:
        first.kill()
        first.wait(30)
        assert holder(tmp_path) is None
        lock = DirectoryLock(tmp_path, ManualClock())
        assert holder(tmp_path) == os.getpid()
        lock.release()


def test_a_shorter_process_number_replaces_a_longer_one_whole(tmp_path: Path) -> None:
    (tmp_path / "agent.lock").write_text("123456789012345\n")
    lock = DirectoryLock(tmp_path, ManualClock())
    assert holder(tmp_path) == os.getpid()
    lock.release()


def test_a_reader_that_looks_at_that_moment_does_not_keep_an_agent_from_starting(
    tmp_path: Path,
) -> None:
    path = tmp_path / "agent.lock"
    path.touch()
    look = os.open(path, os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)  # as `holder` has it for an instant
    clock = ManualClock()
    clock.on_wait = lambda _: os.close(look) if len(clock.waits) == 1 else None
    lock = DirectoryLock(tmp_path, clock)
    assert len(clock.waits) == 1
    assert holder(tmp_path) == os.getpid()
    lock.release()


def test_readers_that_look_at_one_moment_do_not_take_each_other_for_an_agent(
    tmp_path: Path,
) -> None:
    DirectoryLock(tmp_path, ManualClock()).release()
    look = os.open(tmp_path / "agent.lock", os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)
    assert holder(tmp_path) is None
    os.close(look)


def test_a_program_that_the_holder_started_does_not_hold_the_directory_too(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path, SystemClock())
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        lock.release()
        assert holder(tmp_path) is None
        child.kill()


def test_a_lock_that_was_removed_is_taken_again_with_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    lock = DirectoryLock(folder, ManualClock())
    lock.look()
    for removed in (folder / "agent.lock", folder):
        if removed.is_dir():
            shutil.rmtree(removed)
        else:
            removed.unlink()
        lock.look()
        assert holder(folder) == os.getpid()
        with pytest.raises(DirectoryInUseError):
            DirectoryLock(folder, ManualClock())
    lock.release()
    assert holder(folder) is None


def test_a_lock_that_another_process_has_taken_is_lost_for_good(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path, ManualClock())
    (tmp_path / "agent.lock").unlink()
    with another_process(tmp_path) as other:
        with pytest.raises(DirectoryInUseError, match=r"agent\.lock was replaced while this agent"):
            lock.look()
        assert holder(tmp_path) == other.pid
    with pytest.raises(DirectoryInUseError, match=r"agent\.lock was replaced while this agent"):
        lock.look()
    lock.release()


def test_a_lock_that_cannot_be_made_again_is_not_lost(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    lock = DirectoryLock(folder, ManualClock())
    shutil.rmtree(folder)
    folder.write_text("a file in its place")
    lock.look()
    folder.unlink()
    lock.look()
    assert holder(folder) == os.getpid()
    lock.release()
