"""Changes values in a TOML file and nothing else of it: comments, order and layout stay."""

import codecs
import json
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.settings.trust import is_private, make_folder, narrowed


def edited(text: str, values: Mapping[str, str]) -> str:
    """Return the text of a TOML file with these texts as values of its top-level keys.

    A key that is given keeps its place and what stands after its value; one that stands there as
    a comment (`# key = ...`) is uncommented; any other is added. The letters' case makes no
    difference. Each way is proven before it is taken: the new text must parse to the old values
    and the new one.
    """
    for key, value in values.items():
        table = tomllib.loads(text)
        name = next((given for given in table if given.lower() == key), key)
        if table.get(name) == value:
            continue
        wanted = {**table, name: value}
        text = next(new for new in _ways(text, name, value) if _parsed(new) == wanted)
    return text


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _ways(text: str, name: str, value: str) -> Iterator[str]:
    """Yield candidates, the one that disturbs the file least first; the last is always right."""
    lines = text.splitlines(keepends=True)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    quoted = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    line = f"{name} = {quoted}"
    for first, last, tail in _statements(lines, name):
        yield "".join((*lines[:first], line, tail, end, *lines[last:]))
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    yield "".join((*lines, line, end))
    for first, old in enumerate(lines):
        if re.match(r"\s*\[", old):
            while first and lines[first - 1].startswith("#"):
                first -= 1
            yield "".join((*lines[:first], line, end, "\n", *lines[first:]))
    yield "".join((line, end, *lines))


def _statements(lines: Sequence[str], name: str) -> Iterator[tuple[int, int, str]]:
    """Yield where a value seems to be given, then where one stands as a comment: lines, tail."""
    key = rf"\s*[\"']?{re.escape(name)}[\"']?\s*="
    for first, line in enumerate(lines):
        if re.match(key, line):
            # A value may go on over lines.
            for last in range(first + 1, len(lines) + 1):
                if (tail := _tail("".join(lines[first:last]), name)) is not None:
                    yield first, last, tail
                    break
    for first, line in enumerate(lines):
        bare = re.sub(r"^\s*#\s*", "", line)
        if bare != line and (tail := _tail(bare, name)) is not None:
            yield first, first + 1, tail


def _tail(statement: str, name: str) -> str | None:
    """Return what stands after the value in `name = value # tail`; None: it is no such thing."""
    table = _parsed(statement)
    if table is None or [key.lower() for key in table] != [name.lower()]:
        return None
    for comment in re.finditer(r"[ \t]*#", statement):
        if _parsed(statement[: comment.start()]) == table:
            return statement[comment.start() :].rstrip("\r\n")
    return ""


def ensure_writable(path: Path) -> None:
    """Make sure, before anything is done, that a file can be written later; make its folder.

    Raises:
        OSError: It cannot; the exception names the file or the folder.
    """
    target = path.resolve()
    make_folder(target.parent)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}."):
        pass
    if target.exists() and not (
        os.access(target, os.W_OK) and target.stat().st_mode & stat.S_IWUSR
    ):
        raise PermissionError(13, "read-only", str(path))


def edit(
    path: Path, values: Mapping[str, str], *, secret: bool = False, owner: Path | None = None
) -> bool:
    """Change values in a file, which is replaced whole; a link stays, and so does the owner.

    Args:
        path: The file; it need not exist.
        values: As for `edited`.
        secret: Whether nobody else may read the file: its mode becomes 0600.
        owner: A file or folder of the user who is to read a secret file that root makes: the file
            is root's, mode 0640, with the group of that user.

    Returns:
        Whether anything was changed.

    Raises:
        OSError: It could not be written; the old file is as it was.
    """
    target = path.resolve()
    there = target.exists()
    raw = target.read_bytes() if there else b""
    mark = codecs.BOM_UTF8 if raw.startswith(codecs.BOM_UTF8) else b""
    old = raw.removeprefix(mark).decode()
    new = edited(old, values)
    if old == new:
        return there and secret and _narrow(target)
    user, group, mode = _rights(target, secret=secret, owner=owner)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            if os.geteuid() == 0:
                os.fchown(handle, user, group)
            os.fchmod(handle, mode)
            file.write(mark + new.encode())
            file.flush()
            os.fsync(handle)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True


def _rights(target: Path, *, secret: bool, owner: Path | None) -> tuple[int, int, int]:
    """Return the user, the group and the mode that a file is to have."""
    if target.exists():
        about = target.stat()
        mode = narrowed(about) if secret else stat.S_IMODE(about.st_mode)
        return about.st_uid, about.st_gid, mode
    about = (owner or target.parent).stat()
    if not secret:
        return about.st_uid, about.st_gid, 0o644
    # Not the user's own, for root takes no settings that others can change.
    group = about.st_gid if is_private(about.st_gid, about.st_uid) else 0
    return 0, group, 0o640 if group and os.geteuid() == 0 else 0o600


def _narrow(path: Path) -> bool:
    about = path.stat()
    changed = narrowed(about) != stat.S_IMODE(about.st_mode)
    if changed:
        path.chmod(narrowed(about))
    return changed
