"""Who else can change settings or data, or read secrets."""

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_OWNER_ONLY = 0o600
# An agent that is in the group of a file of root's reads it by that.
_OWNER_AND_GROUP = 0o640
_OTHERS = 0o077
_WRITING = 0o022


@dataclass(frozen=True, slots=True)
class Exposure:
    """What others can do to a file or folder.

    Attributes:
        message: The path, and how others can.
        fix: The command that ends it.
    """

    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.message}: {self.fix}"


def changeable(folder: Path, names: Iterable[str]) -> tuple[Exposure, ...]:
    """Return which of a folder's files, links to them and their folders another user can change.

    Root and the user of this process are trusted, and so is a group that is the owner's alone. In a
    sticky folder nobody can exchange the files of others.
    """
    found = (_changeable(place) for place in dict.fromkeys(_places(folder, names)))
    return tuple(exposure for exposure in found if exposure)


def readable(files: Iterable[Path]) -> tuple[Exposure, ...]:
    """Return the files with secrets that others can read."""
    found = []
    for path in files:
        try:
            about = path.stat()
        except OSError:
            continue
        mode, narrow = stat.S_IMODE(about.st_mode), narrowed(about)
        if mode & ~narrow & _OTHERS:
            message = f"{path} holds secrets and is open to others (mode {mode:03o})"
            found.append(Exposure(message, f"chmod {narrow:o} {shlex.quote(str(path))}"))
    return tuple(found)


def narrowed(about: os.stat_result) -> int:
    """Return the mode of a file without what others could do to a secret in it."""
    by_group = about.st_uid == 0 != about.st_gid
    return stat.S_IMODE(about.st_mode) & (_OWNER_AND_GROUP if by_group else _OWNER_ONLY)


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Make a folder if it is missing, and those above it, that nobody else can write to.

    Raises:
        OSError: It cannot be made, or is no folder.
    """
    try:
        path.mkdir(mode)
    except FileNotFoundError:
        make_folder(path.parent)
        path.mkdir(mode)
    except FileExistsError:
        if not path.is_dir():
            raise


def owner(path: Path) -> str:
    """Return the name of the user that a file or folder belongs to."""
    return _name(path.stat().st_uid)


def is_private(group: int, user: int) -> bool:
    """Tell whether a group is a user's own, of the same name and with nobody else in it."""
    try:
        found, name = grp.getgrgid(group), pwd.getpwuid(user).pw_name
    except KeyError:
        return False
    return found.gr_name == name and set(found.gr_mem) <= {name}


def is_written_by_others(about: os.stat_result) -> bool:
    """Tell whether the mode of a file or folder lets others change it."""
    mode = stat.S_IMODE(about.st_mode)
    if stat.S_ISLNK(about.st_mode) or (stat.S_ISDIR(about.st_mode) and mode & stat.S_ISVTX):
        return False
    writing = mode & _WRITING
    return bool(writing) and not (
        writing == stat.S_IWGRP and is_private(about.st_gid, about.st_uid)
    )


def _places(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    for path in (folder, *(folder / name for name in names)):
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):  # the latter for a link that leads to itself
            continue
        if path.is_symlink():
            yield path
        if path != folder:
            yield real.parent
        yield real


def _changeable(path: Path) -> Exposure | None:
    try:
        about = path.lstat()
    except OSError:
        return None
    me, where = os.geteuid(), shlex.quote(str(path))
    chown = "chown -h" if stat.S_ISLNK(about.st_mode) else "chown"
    how, fixes = [], []
    if about.st_uid not in (0, me):
        how.append(f"belongs to {_name(about.st_uid)}")
        fixes.append(f"{chown} {_name(me)} {where}")
        if stat.S_ISREG(about.st_mode) and is_private(about.st_gid, about.st_uid):
            fixes.append(f"chmod g+r {where}")  # the owner may be the agent, which reads it
    if is_written_by_others(about):
        how.append(f"can be written by others (mode {stat.S_IMODE(about.st_mode):03o})")
        fixes.append(f"chmod go-w {where}")
    return Exposure(f"{path} {' and '.join(how)}", " && ".join(fixes)) if how else None


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
