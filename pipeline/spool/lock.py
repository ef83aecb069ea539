"""The lock on a data directory, which belongs to one process."""

import contextlib
import fcntl
import os
from pathlib import Path
from threading import Event

from pipeline.clock import Clock

_NAME = "agent.lock"
# `holder` takes the lock for an instant, so that one refusal proves nothing.
_TRIES, _PAUSE_S = 5, 0.02


class DirectoryInUseError(Exception):
    """Another process has the data directory; the message says which, and the fix."""


class DirectoryLock:
    """Holds a data directory until `release`, or until the process ends, however it ends.

    Args:
        directory: The data directory; it must exist.
        clock: Waits between two tries.

    Raises:
        DirectoryInUseError: Another process, or another agent in this one, holds it.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        path = directory / _NAME
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        for _ in range(_TRIES):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                clock.wait(Event(), _PAUSE_S)
        else:
            os.close(self._file)
            raise DirectoryInUseError(
                f"data directory {directory} is in use by process {_pid(path)}; "
                "stop that agent, or set another data_dir"
            )
        with contextlib.suppress(OSError):  # a full disk has no room for the number
            os.ftruncate(self._file, 0)
            os.write(self._file, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Release the directory."""
        os.close(self._file)


def holder(directory: Path) -> int | None:
    """Return the pid of the process that holds a data directory, or None when it is free."""
    path = directory / _NAME
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(path)
    finally:
        os.close(file)
    return None


def _pid(path: Path) -> int:
    # 0 while the holder has not written its number yet, and where it could not.
    text = path.read_bytes().strip()
    return int(text) if text.isdigit() else 0
