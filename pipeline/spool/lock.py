"""The lock on a data directory, which belongs to one process."""

import contextlib
import fcntl
import os
from pathlib import Path
from threading import Event

from pipeline.clock import Clock
from pipeline.spool.access import LOCK, claim, opened
from pipeline.spool.schema import SpoolError

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
        SpoolError: This is root, and another user can change what is in it; or the lock is a link.
        OSError: There is no right to write.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        claim(directory)
        self._file = opened(directory / LOCK, os.O_RDWR | os.O_CREAT)
        for _ in range(_TRIES):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                clock.wait(Event(), _PAUSE_S)
        else:
            pid = _pid(self._file)
            os.close(self._file)
            raise DirectoryInUseError(
                f"data directory {directory} is in use by process {pid}; "
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
    try:
        file = opened(directory / LOCK, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError, SpoolError):  # no agent holds a link
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(file)
    finally:
        os.close(file)
    return None


def _pid(file: int) -> int:
    # 0 while the holder has not written its number yet, and where it could not.
    text = os.pread(file, 32, 0).strip()
    return int(text) if text.isdigit() else 0
