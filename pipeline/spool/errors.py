"""The errors of a store, in sentences: damaged, full, missing, gone, or simply out of reach."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

# What SQLite says of a damaged schema need not be Unicode.
ERRORS = (sqlite3.Error, UnicodeDecodeError, OSError)
"""The errors of a store that cannot be used."""
_DAMAGE_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_ROOM_CODES, _LEAST_ROOM = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}, 2**16
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The numbers of system errors that tell of a full disk, or of a quota that is used up."""


class SpoolError(Exception):
    """The spool cannot be read or written; the message says what, where and the fix."""


class DamagedError(SpoolError):
    """The store is damaged, and why; the agent can salvage it."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is damaged ({why}); the agent will salvage what is left")
        self.why = why


class FullError(SpoolError):
    """The disk, or a quota on it, has no room."""


class MissingError(SpoolError, FileNotFoundError):
    """There is no store."""


class GoneError(SpoolError):
    """A file of the store was removed, or replaced by another one, while it was in use."""


@contextlib.contextmanager
def translated(path: Path, verb: str, fix: str = "", *, own: bool = False) -> Iterator[None]:
    """Let every failure of a store leave as a SpoolError, which says that it cannot be `verb`.

    Args:
        path: The store.
        verb: What cannot be done with it.
        fix: What a user can do.
        own: Whether this is its agent, which may write to find out whether there is room.
    """
    try:
        yield
    except SpoolError:  # MissingError is an OSError, too
        raise
    except ERRORS as error:
        message = f"{path} cannot be {verb}: {_reason(error, fix)}"
        raise _described(error, message, path, own=own) from error


def _reason(error: Exception, fix: str) -> str:
    if isinstance(error, OSError) and not isinstance(error, PermissionError):
        return error.strerror or str(error)  # which says what to do
    return f"{getattr(error, 'strerror', None) or error}{fix}"


def _described(error: Exception, message: str, path: Path, *, own: bool) -> SpoolError:
    if isinstance(error, OSError):
        is_full = error.errno in NO_ROOM
        return FullError(message) if is_full else SpoolError(message)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # A damaged header may say that the file is read-only.
    is_shut = code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK)
    is_damage = code in _DAMAGE_CODES or isinstance(error, UnicodeDecodeError)
    if is_damage or (is_shut and os.access(path.parent, os.W_OK)):
        return DamagedError(path, str(error))
    # A file cannot be made or grow, and SQLite does not say why.
    is_full = own and code in _ROOM_CODES and not _has_room(path)
    return FullError(message) if is_full or code == sqlite3.SQLITE_FULL else SpoolError(message)


def _has_room(path: Path) -> bool:
    """Try to write beside a store: a quota shows in no figure of the disk."""
    probe = path.with_name(f"{path.name}.probe")
    try:
        try:
            probe.unlink(missing_ok=True)
            made = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(made, "wb"):
                os.posix_fallocate(made, 0, _LEAST_ROOM)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return error.errno not in NO_ROOM
    return True


def free(directory: Path) -> int:
    """Return how many bytes are free on the disk of a directory."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
