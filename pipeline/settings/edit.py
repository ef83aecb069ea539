"""Changes values in a TOML file and nothing else of it: comments, order and layout stay."""

import codecs
import functools
import json
import operator
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.settings.constraints import as_text
from pipeline.settings.trust import is_private, make_folder, narrowed


def edited(text: str, values: Mapping[str, str]) -> str:
    """Return the text of a TOML file with these texts as values of its keys.

    A key such as `mirrors.b.url` leads into tables. One that is given keeps its place and what
    stands after its value; one that stands there as a comment (`# key = ...`) is uncommented; any
    other is added. The case of the letters of its first name makes no difference. Each way is
    proven before it is taken: the new text must parse to the old values and the new one.
    """
    for key, value in values.items():
        table = tomllib.loads(text)
        first, *rest = key.split(".")
        path = (next((given for given in table if given.lower() == first), first), *rest)
        wanted = _with(table, path, value)
        if table != wanted:
            text = next(new for new in _ways(text, path, wanted) if _parsed(new) == wanted)
    return text


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _with(table: Mapping[str, Any], path: Sequence[str], value: str) -> dict[str, Any]:
    """Return a table with a value at a path of names."""
    name, *rest = path
    return {**table, name: _with(table.get(name, {}), rest, value) if rest else value}


def _ways(text: str, path: Sequence[str], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Yield candidates, the one that disturbs the file least first; the last is always right."""
    lines = text.splitlines(keepends=True)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    above = range(len(path) - 1, -1, -1)  # how many names may stand in a header above the key
    for depth in above:
        for start, stop in _bodies(lines, path[:depth]):
            for length in range(len(path), depth, -1):  # the key itself, or a table on one line
                line = _line(path[:length], depth, wanted)
                for first, last, tail in _statements(lines[start:stop], path[depth:length]):
                    before, after = lines[: start + first], lines[start + last :]
                    yield "".join((*before, line, tail, end, *after))
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    for depth in above[:-1]:
        for index, line in enumerate(lines):
            if _table(bare := _uncommented(line)) == path[:depth] != _table(line):
                yield from _ways("".join((*lines[:index], bare, *lines[index + 1 :])), path, wanted)
        for start, stop in _bodies(lines, path[:depth]):
            blank = next((i for i in range(start, stop) if not lines[i].strip()), stop)
            for place in (blank, start):
                line = _line(path, depth, wanted)
                yield "".join((*lines[:place], line, end, *lines[place:]))
    yield from _added(lines, path, wanted, end)


def _added(
    lines: Sequence[str], path: Sequence[str], wanted: Mapping[str, Any], end: str
) -> Iterator[str]:
    """Yield candidates that have the key in a new table, or above all tables."""
    if len(path) > 1:
        header = f"[{'.'.join(path[:-1])}]"
        gap = [end] if lines else []
        yield "".join((*lines, *gap, header, end, _line(path, len(path) - 1, wanted), end))
    line = _line(path, 0, wanted)
    yield "".join((*lines, line, end))
    for first, old in enumerate(lines):
        if re.match(r"\s*\[", old):
            while first and lines[first - 1].startswith("#"):
                first -= 1
            yield "".join((*lines[:first], line, end, "\n", *lines[first:]))
    yield "".join((line, end, *lines))


def _line(path: Sequence[str], depth: int, wanted: Mapping[str, Any]) -> str:
    """Return the line that gives what is wanted at a path, below a header of so many names."""
    value: Any = functools.reduce(operator.getitem, path, wanted)
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else as_text(value)
    return f"{'.'.join(path[depth:])} = {text}".replace("\x7f", "\\u007f")


def _bodies(lines: Sequence[str], table: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield where the lines of a table seem to be; of no table, all lines."""
    headers = [index for index, line in enumerate(lines) if _table(line)]
    for index, following in pairwise((*headers, len(lines))):
        if table and _table(lines[index]) == table:
            yield index + 1, following
    if not table:
        yield 0, len(lines)


def _table(line: str) -> tuple[str, ...]:
    """Return the names that lead to the table that a line begins; none for any other line."""
    return _names(_parsed(line) or {}) if line.lstrip().startswith("[") else ()


def _names(table: object) -> tuple[str, ...]:
    """Return the names that lead into tables of one entry each."""
    if not isinstance(table, dict) or len(table) != 1:
        return ()
    ((name, value),) = table.items()
    return name, *_names(value)


def _uncommented(line: str) -> str:
    return re.sub(r"^\s*#\s*", "", line)


def _statements(lines: Sequence[str], key: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield where a value seems to be given, then where one stands as a comment: lines, tail."""
    dotted = r"\s*\.\s*".join(rf"[\"']?{re.escape(name)}[\"']?" for name in key)
    for first, line in enumerate(lines):
        if re.match(rf"\s*{dotted}\s*=", line):
            # A value may go on over lines.
            for last in range(first + 1, len(lines) + 1):
                if (tail := _tail("".join(lines[first:last]), key)) is not None:
                    yield first, last, tail
                    break
    for first, line in enumerate(lines):
        bare = _uncommented(line)
        if bare != line and (tail := _tail(bare, key)) is not None:
            yield first, first + 1, tail


def _tail(statement: str, key: Sequence[str]) -> str | None:
    """Return what stands after the value in `key = value # tail`; None: it is no such thing."""
    table = _parsed(statement)
    names = () if _table(statement) else _names(table)[: len(key)]
    if [name.lower() for name in names] != [name.lower() for name in key]:
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
