"""Where settings come from, each source as plain data: files, credentials and the environment.

Nothing in a source is evaluated. What cannot be read is a problem, with its file and line.
"""

import bisect
import codecs
import functools
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.settings.constraints import MAIN, SERVER, is_table, setting_name
from pipeline.settings.declared import Settings

PLAIN = "settings.toml"
SECRETS = ".secrets.toml"
FILES = (PLAIN, "settings.local.toml", SECRETS)
"""The settings files of a folder; the later one wins."""
SYSTEM_CONFIG_DIR = Path("/etc/metrics-pipeline")
CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
"""The variable by which systemd, and an image of ours, names the folder of credentials."""
PREFIX = "METRICS_"
CONFIG_DIR = "METRICS_CONFIG_DIR"

CREDENTIAL_STORE = Path("/etc/credstore")  # where systemd finds what it hands over


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Given:
    """A value as somebody gave it; it equals only itself, and shows no secret.

    Attributes:
        value: As TOML has it, a table being a dict of Given; or the text of a variable.
        source: The path of the file or the variable; several, when a table has several.
        base: The folder of the file, to which its relative paths refer; None: the environment.
        text: Whether the value is text of a variable, whose type is not known yet.
    """

    value: object
    source: str
    base: Path | None = None
    text: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """All that one source gives.

    Attributes:
        source: The path of the file or the variable.
        values: The values by the name of the setting in lower case, as TOML has them.
        base: As in Given.
        text: As in Given.
    """

    source: str
    values: Mapping[str, object] = field(repr=False)  # some may be secrets
    base: Path | None = None
    text: bool = False


def layers(config_dir: Path, environ: Mapping[str, str]) -> tuple[list[Layer], list[str]]:
    """Read all sources: the files, which need not exist, credentials, the environment.

    Returns:
        What each source gives, the later one winning, and what could not be read.
    """
    problems: list[str] = []
    wrong_variables: list[str] = []
    files = list(_files(config_dir, problems))
    variables = list(_variables(environ, wrong_variables))
    mirrors = _mirrors((*files, *variables))  # each may have a credential
    found = [*files, *_credentials(config_dir, environ, mirrors, problems), *variables]
    return found, problems + wrong_variables


def watched(config_dir: Path, environ: Mapping[str, str], mirrors: Iterable[str]) -> list[Path]:
    """Return every file that is read or looked for, given the names of the mirrors."""
    credentials = _credential_files(config_dir, environ, mirrors).values()
    return [*(config_dir / name for name in FILES), *credentials]


def _mirrors(found: Iterable[Layer]) -> list[str]:
    """Return the names of the mirrors; the credential of one that is gone counts for nothing."""
    tables = (layer.values.get("mirrors") for layer in found)
    names = {name for table in tables if isinstance(table, dict) for name in table}
    return sorted(name for name in names if SERVER.accepts(name))


def on_its_own_line(config_dir: Path, name: str) -> Given | None:
    """Return a setting out of files that may be broken, where it stands on a line of its own."""
    found = None
    for path in (config_dir / file for file in FILES):
        try:
            lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            value = _parsed(line).get(name)
            found = found if value is None else Given(value, str(path), config_dir)
    return found


def variable_source(name: str) -> str:
    """Return how an environment variable is named as a source."""
    return f"environment variable {name if name.isprintable() else repr(name)}"


def variable(name: str) -> str:
    """Return the environment variable of a setting, as METRICS_MIRRORS__B__URL of mirrors.b.url."""
    return f"{PREFIX}{name.upper().replace('.', '__')}"


def toml_value(text: str) -> object:
    """Read a variable's text as a TOML value, for a table or a list; other text stays as it is."""
    table = _parsed(f"value = {text}")
    return table["value"] if table.keys() == {"value"} else text  # a line break can begin another


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}


def _files(config_dir: Path, problems: list[str]) -> Iterator[Layer]:
    for path in (config_dir / name for name in FILES):
        try:
            table = _read_file(path)
        except _UnreadableError as error:
            problems.append(f"{path}: {error}")
            continue
        folded: dict[str, object] = {}
        for name, value in table.items():
            _fold(folded, name, value, str(path), problems)
        yield Layer(str(path), folded, config_dir)


def _credentials(
    config_dir: Path, environ: Mapping[str, str], mirrors: Iterable[str], problems: list[str]
) -> Iterator[Layer]:
    for name, path in _credential_files(config_dir, environ, mirrors).items():
        try:
            if value := path.read_text(encoding="utf-8-sig").strip():
                yield Layer(str(path), _nested(name.split("."), value))
        except FileNotFoundError:
            continue
        except OSError as error:
            if path.parent != CREDENTIAL_STORE:  # which is root's
                problems.append(f"{path}: cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            problems.append(f"{path}: not UTF-8 text")


def _credential_files(
    config_dir: Path, environ: Mapping[str, str], mirrors: Iterable[str]
) -> dict[str, Path]:
    """Return where a service manager hands over secrets, each in a file of its own."""
    names = [setting_name(server, "token") for server in (MAIN, *mirrors)]
    if folder := environ.get(CREDENTIALS_DIRECTORY):
        return {name: Path(folder) / name for name in names}
    if config_dir == SYSTEM_CONFIG_DIR:  # for the commands, beside the service
        return {name: CREDENTIAL_STORE / f"metrics-pipeline.{name}" for name in names}
    return {}


def _nested(path: Sequence[str], value: object) -> dict[str, Any]:
    """Return tables one within the other with a value at a path of names."""
    nested: Any = functools.reduce(lambda inner, key: {key: inner}, reversed(path), value)
    return dict(nested)


def _variables(environ: Mapping[str, str], problems: list[str]) -> Iterator[Layer]:
    seen: dict[str, object] = {}
    for name, text in sorted(environ.items()):
        # An empty variable is as good as none.
        if not name.startswith(PREFIX) or name == CONFIG_DIR or not text:
            continue
        source = variable_source(name)
        _fold(seen, name.removeprefix(PREFIX), text, source, problems)
        path = name.removeprefix(PREFIX).lower().split("__")
        table = text.lstrip().startswith("{") and is_table(Settings, path)
        value = toml_value(text) if table else text
        yield Layer(source, _nested(path, value), text=isinstance(value, str))


def _fold(
    folded: dict[str, object], name: str, value: object, source: str, problems: list[str]
) -> None:
    if name.lower() in folded:
        hint = "the case of its letters makes no difference"
        problems.append(f"{source}: {name} gives {name.lower()} a second time; {hint}")
    folded[name.lower()] = value


# By how tomllib's messages begin.
_FIXES = {
    "Invalid value": "a text needs quotes around it",
    "Expected newline or end of document": "a text needs quotes around it, a number has no unit",
    "Cannot overwrite a value": "give each name once",
    "Cannot declare": "give each table once",
}


class _UnreadableError(Exception):
    """The sentence says what is wrong with a file."""


def _read_file(path: Path) -> dict[str, Any]:
    try:
        if path.is_fifo():
            raise _UnreadableError("cannot be read: it is a pipe")
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _UnreadableError(f"cannot be read: {error.strerror}") from None
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()  # editors on Windows begin with it
    except UnicodeDecodeError as error:
        place = _place(error.object[: error.start].decode())
        raise _UnreadableError(f"not valid TOML: not UTF-8 text{place}") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = str(error).replace(" (at end of document)", _place(text))
        reason += next(
            (f"; {fix}" for start, fix in _FIXES.items() if reason.startswith(start)), ""
        )
    except RecursionError:
        reason = f"nested too deeply{_beyond(text)}"
    except ValueError as error:
        reason = f"{error}{_beyond(text)}"
    raise _UnreadableError(f"not valid TOML: {reason}")


def _beyond(text: str) -> str:
    """Return the place of what is more than a parser can take, which does not tell it."""
    lines = text.splitlines(keepends=True)

    def is_in(count: int) -> bool:
        try:
            with suppress(tomllib.TOMLDecodeError):
                tomllib.loads("".join(lines[:count]))
        except (ValueError, RecursionError):
            return True
        return False

    return f" (at line {bisect.bisect_left(range(len(lines)), True, key=is_in)})"


def _place(before: str) -> str:
    # In the words of tomllib.
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f" (at line {line}, column {column})"
