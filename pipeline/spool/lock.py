"""The lock on a data directory, which belongs to one process."""

import contextlib
import fcntl
import logging
import os
from pathlib import Path
from threading import Event

from pipeline.clock import Clock
from pipeline.spool.access import LOCK, claim, make, opened
from pipeline.spool.errors import SpoolError

_log = logging.getLogger(__name__)

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
        self._path = directory / LOCK
        self._file = opened(self._path, os.O_RDWR | os.O_CREAT)
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
        self._write_pid()

    def look(self) -> None:
        """Make sure that the directory is still this process's; a lock that was removed is renewed.

        Raises:
            DirectoryInUseError: Another one took its place. The directory must not be used.
        """
        try:
            found, own = self._path.stat(), os.fstat(self._file)
        except (FileNotFoundError, NotADirectoryError):
            self._renew()
        except OSError:
            return  # nobody else can tell either
        else:
            if (found.st_dev, found.st_ino) != (own.st_dev, own.st_ino):
                raise self._lost()

    def _renew(self) -> None:
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            file = make(self._path)
        except FileExistsError:
            raise self._lost() from None
        except OSError:
            return  # nobody else can make it either
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise self._lost() from None
        os.close(self._file)
        self._file = file
        self._write_pid()
        _log.warning("%s was removed and is made anew", self._path)

    def _lost(self) -> DirectoryInUseError:
        return DirectoryInUseError(
            f"{self._path} was replaced while this agent held it, and another one may use "
            f"{self._path.parent}; this one ends"
        )

    def _write_pid(self) -> None:
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
