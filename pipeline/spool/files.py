"""The files of a store: made beside it, and put in its place in one step.

A store is `spool.db` with SQLite's `spool.db-wal` and `spool.db-shm`. What is made anew lies in
`spool.db.new` until it is whole; one that takes the place of a damaged store is then renamed to
`spool.db.salvaged-TIME`, and from that moment on it is the store, however often the process ends
before the damaged files lie aside as `spool.db.corrupt-TIME`. All is done by the one process that
holds the data directory.
"""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pipeline.spool.schema import migrate

_NEW, _SALVAGED, _CORRUPT = ".new", ".salvaged-", ".corrupt-"
_PARTS = ("-wal", "-shm", "")
# Damaged files are kept for whoever wants to look into them: as many as tell a failing disk.
_ASIDE_KEPT = 3
# SQLite's shared lock, which everyone who has a store open holds: unixShmSystemLock, os_unix.c.
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510
_USED_FOR_S, _LOOK_S = 2.0, 0.01


def beside(path: Path, suffix: str) -> Path:
    """Return the file whose name goes on from a store's name."""
    return path.with_name(f"{path.name}{suffix}")


def has_log(path: Path) -> bool:
    """Return whether a store has a write-ahead log with something in it."""
    log = beside(path, "-wal")
    return log.exists() and log.stat().st_size > 0


@contextlib.contextmanager
def built(path: Path) -> Iterator[sqlite3.Connection]:
    """Make an empty store in `spool.db.new`, to be filled; it is on the disk at the end.

    Raises:
        sqlite3.Error: It could not be made.
    """
    new = beside(path, _NEW)
    new.unlink(missing_ok=True)
    db = sqlite3.connect(new, isolation_level=None)
    try:
        # What the process leaves unfinished is thrown away: it needs no journal.
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        migrate(db, 0)
        db.execute("BEGIN")
        yield db
        db.execute("COMMIT")
    except BaseException:
        db.close()
        new.unlink(missing_ok=True)
        raise
    db.close()
    _sync(new)


def create(path: Path) -> None:
    """Make an empty store.

    Raises:
        sqlite3.Error: It could not be made.
    """
    with built(path):
        pass
    beside(path, _NEW).rename(path)
    _sync(path.parent)


def replace(path: Path, stamp: str) -> None:
    """Put what was built in the place of a damaged store, which goes aside."""
    ready = beside(path, f"{_SALVAGED}{stamp}")
    beside(path, _NEW).rename(ready)
    _sync(path.parent)
    _swap(path, ready)


def resume(path: Path) -> None:
    """Finish what a process that ended began, or undo it."""
    for ready in _ready(path):
        _swap(path, ready)
    beside(path, _NEW).unlink(missing_ok=True)


def is_unfinished(path: Path) -> bool:
    """Return whether a process ended before a new store was in its place."""
    return bool(_ready(path))


def stamp(path: Path, now_ns: int) -> str:
    """Return a time for the name of the damaged files, such as no other has."""
    moment = f"{datetime.fromtimestamp(now_ns // 10**9, UTC):%Y%m%dT%H%M%SZ}"
    taken = {_stamp_of(file) for file in _aside(path)}
    number, found = 1, moment
    while found in taken:
        number += 1
        found = f"{moment}-{number}"
    return found


def aside(path: Path, stamp: str) -> Path:
    """Return where a damaged store lies."""
    return beside(path, f"{_CORRUPT}{stamp}")


def forget_aside(path: Path, keep: int = 0, newest: str = "") -> int:
    """Delete damaged files, of which all that can be read was salvaged.

    Args:
        path: The store.
        keep: How many damaged stores to leave, the newest ones.
        newest: The newest one's time, which a clock that was set back does not tell.

    Returns:
        How many files were deleted.
    """
    times = {_stamp_of(file) for file in _aside(path)}
    old = sorted(times, key=lambda each: (each == newest, each), reverse=True)[keep:]
    gone = [file for file in _aside(path) if _stamp_of(file) in old]
    for file in gone:
        file.unlink()
    return len(gone)


def _ready(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.name}{_SALVAGED}*"))


def _swap(path: Path, ready: Path) -> None:
    time_of = ready.name.removeprefix(f"{path.name}{_SALVAGED}")
    _wait_until_unused(path)
    # The log goes first: it must never be applied to the new store.
    for part in _PARTS:
        with contextlib.suppress(FileNotFoundError):
            beside(path, part).rename(beside(aside(path, time_of), part))
    _sync(path.parent)
    ready.rename(path)
    _sync(path.parent)
    forget_aside(path, _ASIDE_KEPT, time_of)


def _wait_until_unused(path: Path) -> None:
    """Let others end that have the store open: the last of them may delete a log by its name."""
    deadline = time.monotonic() + _USED_FOR_S
    with contextlib.suppress(OSError), path.open("r+b") as file:
        while time.monotonic() < deadline:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
            except BlockingIOError:
                time.sleep(_LOOK_S)
            else:
                return


def _aside(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.name}{_CORRUPT}*"))


def _stamp_of(file: Path) -> str:
    name = file.name.rpartition(_CORRUPT)[2]
    return name.removesuffix("-wal").removesuffix("-shm")


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
