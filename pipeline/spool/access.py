"""How the files of a data directory are opened and made, whoever else can write to its folder.

No link is followed, what is made is made exclusively, and no mode is wider than it should be,
whatever the umask. SQLite does the same for a store's log: it follows no link to it, and gives it
the mode of the store.
"""

import contextlib
import errno
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from pipeline.settings import changeable, is_written_by_others, owner
from pipeline.spool.errors import SpoolError
from pipeline.spool.schema import NAME

LOCK = "agent.lock"
_MODE = 0o640
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe that nobody writes to would not open
_NO_FILE = {errno.ELOOP, errno.EISDIR, errno.ENXIO}


def claim(directory: Path) -> None:
    """Close a data directory to others, as far as it is this user's.

    Raises:
        SpoolError: This is root, and another user can still change what is in it; or one of its
            files is a link.
    """
    _close_to_others(directory, folder=True)
    for path in _files(directory):
        _close_to_others(path)
    exposed = changeable(directory, [path.name for path in _files(directory)])
    if exposed and os.geteuid() == 0:
        real = directory.resolve()
        link = f"chown -h root {shlex.quote(str(directory))} && " * directory.is_symlink()
        raise SpoolError(
            f"data directory {directory} cannot be used: {exposed[0].message}, and root writes to "
            f"nothing that others can change; run this as {owner(real)}, set another data_dir, or "
            f"make it root's: {link}chown -hR root {shlex.quote(str(real))}"
        )
    with contextlib.suppress(FileNotFoundError):
        look(directory / LOCK)
    look_at_store(directory / NAME)


def opened(path: Path, flags: int) -> int:
    """Open a file of a data directory; return its descriptor.

    Args:
        path: The file.
        flags: As for os.open; with O_CREAT it is made if it is missing.

    Raises:
        SpoolError: It is a link, or no regular file.
        OSError: It is missing, or there is no right to open it.
    """
    try:
        file = os.open(path, flags | _FLAGS, _MODE)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise _no_file(path) from error
        raise
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise _no_file(path)
    return file


def make(path: Path) -> int:
    """Make a file that is not there yet, and open it to be written; return its descriptor."""
    return opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)


def look(path: Path) -> os.stat_result:
    """Return what is known of a file without opening it.

    To open and to close a store drops the locks that SQLite has on it in this process.

    Raises:
        SpoolError: It is a link, or no regular file.
        OSError: It is missing, or there is no right to look.
    """
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode):
        raise _no_file(path)
    return about


def look_at_store(path: Path) -> None:
    """Look at a store and what SQLite keeps beside it, as `look` does; none need be there."""
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            look(path.with_name(f"{path.name}{suffix}"))


def _files(directory: Path) -> Iterator[Path]:
    yield from directory.glob(LOCK)
    yield from directory.glob(f"{NAME}*")


def _close_to_others(path: Path, *, folder: bool = False) -> None:
    # Nobody else can exchange what is this user's for a link: not in a folder of theirs that is
    # closed, nor in one with the sticky bit.
    with contextlib.suppress(OSError):
        about = path.stat() if folder else path.lstat()
        mode = stat.S_IMODE(about.st_mode)
        if folder:
            narrow = mode & ~0o022 if is_written_by_others(about) else mode
        else:
            narrow = mode & _MODE if stat.S_ISREG(about.st_mode) else mode
        if about.st_uid == os.geteuid() and narrow != mode:
            path.chmod(narrow)


def _no_file(path: Path) -> SpoolError:
    kind = "a link, and none is followed" if path.is_symlink() else "no regular file"
    return SpoolError(f"{path} is {kind}; move it away, or set another data_dir")
