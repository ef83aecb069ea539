"""The files of a store: a new one is built beside the old one, and put in its place in one step.

A store is `spool.db` with SQLite's `spool.db-wal` and `spool.db-shm`. A new one is built in
`spool.db.new`. When it is on the disk and is to replace a damaged store, it is renamed to
`spool.db.salvaged-TIME`. From that moment on it is the store: however often the process ends before
the damaged files are renamed to `spool.db.damaged-TIME`, the next start takes over. When all
that can be read of these is in the store, they become `spool.db.corrupt-TIME`, which is kept for a
user to look into. Only the process that holds the data directory changes these files.
"""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from pipeline.spool.access import make, opened
from pipeline.spool.schema import migrate

_NEW, _SALVAGED, _DAMAGED, _CORRUPT = ".new", ".salvaged-", ".damaged-", ".corrupt-"
_LOG = ("-wal", "-shm")
PARTS = (*_LOG, "")
"""How the names of a store's files go on; a log goes first, for it must not meet a new store."""
# Damaged stores are kept for a user to look into. Several show that the disk is failing.
_CORRUPT_KEPT = 3
# The lock that SQLite holds while a store is open: SHARED_FIRST in its os_unix.c.
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510
_USED_FOR_S, _LOOK_S = 2.0, 0.01


def sibling(path: Path, suffix: str) -> Path:
    """Return the file beside a store whose name has a suffix more."""
    return path.with_name(f"{path.name}{suffix}")


def siblings(path: Path, suffixes: Iterable[str]) -> list[Path]:
    """Return the files beside a store whose names have these suffixes more."""
    return [sibling(path, suffix) for suffix in suffixes]


def has_log(path: Path) -> bool:
    """Return whether a store has a write-ahead log that is not empty."""
    log = sibling(path, "-wal")
    return log.exists() and log.stat().st_size > 0


def written(path: Path) -> list[tuple[int, int]]:
    """Return the sizes of a store and of its log, and when they were written last."""
    found = []
    for part in (path, sibling(path, "-wal")):
        with contextlib.suppress(FileNotFoundError):
            state = part.stat()
            found.append((state.st_size, state.st_mtime_ns))
    return found


@contextlib.contextmanager
def building(path: Path) -> Iterator[sqlite3.Connection]:
    """Build a store in `spool.db.new`: empty at first, on the disk at the end."""
    with _new(path) as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        migrate(db, 0)
        db.execute("BEGIN")
        yield db
        db.execute("COMMIT")


def copy(store: sqlite3.Connection, path: Path) -> None:
    """Build a copy of an open store in `spool.db.new`, with what is in its log."""
    with _new(path) as db:
        store.backup(db)


@contextlib.contextmanager
def _new(path: Path) -> Iterator[sqlite3.Connection]:
    new = sibling(path, _NEW)
    new.unlink(missing_ok=True)
    os.close(make(new))
    db = sqlite3.connect(new, isolation_level=None)
    try:
        # It needs no journal: one that is not finished is deleted.
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        yield db
    except BaseException:
        db.close()
        new.unlink(missing_ok=True)
        raise
    db.close()
    _sync(new)


def create(path: Path) -> None:
    """Make an empty store."""
    with building(path):
        pass
    place(path)


def place(path: Path) -> None:
    """Make the new store the store, without the log of another one."""
    for file in siblings(path, _LOG):
        file.unlink(missing_ok=True)
    sibling(path, _NEW).rename(path)
    _sync(path.parent)


def replace(path: Path, stamp: str) -> None:
    """Put the new store in the place of a damaged one, which gets another name."""
    ready = sibling(path, f"{_SALVAGED}{stamp}")
    sibling(path, _NEW).rename(ready)
    _sync(path.parent)
    _swap(path, ready)


def finish_replacement(path: Path) -> None:
    """Finish or undo what a process that ended had begun."""
    for ready in _named(path, _SALVAGED):
        _swap(path, ready)
    sibling(path, _NEW).unlink(missing_ok=True)


def is_unfinished(path: Path) -> bool:
    """Return whether a process ended before a new store was in its place."""
    return bool(_named(path, _SALVAGED))


def stamp(path: Path, now_ns: int) -> str:
    """Return a time, for the names of damaged files, that no other such file has."""
    moment = f"{datetime.fromtimestamp(now_ns // 10**9, UTC):%Y%m%dT%H%M%SZ}"
    taken = {_stamp_of(file) for file in (*_named(path, _DAMAGED), *_named(path, _CORRUPT))}
    number, found = 1, moment
    while found in taken:
        number += 1
        found = f"{moment}-{number}"
    return found


def damaged_path(path: Path, stamp: str) -> Path:
    """Return the name of a damaged store that is being read."""
    return sibling(path, f"{_DAMAGED}{stamp}")


def corrupt_path(path: Path, stamp: str) -> Path:
    """Return the name of a damaged store of which nothing is needed any more."""
    return sibling(path, f"{_CORRUPT}{stamp}")


def damaged_stamps(path: Path) -> list[str]:
    """Return the times in the names of damaged stores that are being read."""
    return sorted({_stamp_of(file) for file in _named(path, _DAMAGED)})


def retire(path: Path) -> None:
    """Let damaged stores, when all of them were read, be deletable; the newest are kept."""
    for stamp in damaged_stamps(path):
        _rename(damaged_path(path, stamp), corrupt_path(path, stamp))
        _sync(path.parent)
        delete_corrupt(path, _CORRUPT_KEPT, stamp)


def delete_corrupt(path: Path, keep: int = 0, newest: str = "") -> int:
    """Delete damaged files of which nothing is needed any more; return how many.

    The newest stores stay, `keep` of them. The newest of all is named, as the clock may have been
    set back.
    """
    times = {_stamp_of(file) for file in _named(path, _CORRUPT)}
    old = sorted(times, key=lambda each: (each == newest, each), reverse=True)[keep:]
    gone = [file for file in _named(path, _CORRUPT) if _stamp_of(file) in old]
    for file in gone:
        file.unlink()
    return len(gone)


def _swap(path: Path, ready: Path) -> None:
    time_of = _stamp_of(ready)
    with _unused(path):
        _rename(path, damaged_path(path, time_of))
        _sync(path.parent)
        ready.rename(path)
        _sync(path.parent)


def _rename(path: Path, name: Path) -> None:
    for part in PARTS:
        with contextlib.suppress(FileNotFoundError):
            sibling(path, part).rename(sibling(name, part))


@contextlib.contextmanager
def _unused(path: Path) -> Iterator[None]:
    """Keep all others from opening a store, when nobody has it open any more.

    One that has it open could write to it, and the last to close it may delete a log by its name.
    """
    deadline = time.monotonic() + _USED_FOR_S
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            file = stack.enter_context(os.fdopen(opened(path, os.O_RDWR), "r+b"))
            while time.monotonic() < deadline:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
                except BlockingIOError:
                    time.sleep(_LOOK_S)
                else:
                    break
        yield


def _named(path: Path, suffix: str) -> list[Path]:
    return list(path.parent.glob(f"{path.name}{suffix}*"))


def _stamp_of(file: Path) -> str:
    name = file.name.rpartition(".")[2].partition("-")[2]
    return name.removesuffix("-wal").removesuffix("-shm")


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
