"""Where settings come from: two TOML files, credentials and the environment, each with its source.

The files are read by dynaconf's loader, one layer below its `Dynaconf(settings_files=...)`, which
cannot be kept from more than a user asks for: it reads settings.local.toml too, runs
dynaconf_hooks.py, follows dynaconf_include, evaluates values that begin with @, drops a key given
twice in different case, and obeys a dozen variables of os.environ. The environment is taken as it
is, since only the type of a setting can tell whether 12345678 is a number or a token.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FILES = ("settings.toml", ".secrets.toml")
SYSTEM_CONFIG_DIR = Path("/etc/metrics-pipeline")
CREDENTIALS = ("influxdb_token",)
CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
"""The variable by which systemd, and an image of ours, names the folder of credentials."""
PREFIX = "METRICS_"
CONFIG_DIR = "METRICS_CONFIG_DIR"

_STORE = Path("/etc/credstore")  # where systemd finds what it hands over


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody gave it.

    Attributes:
        value: As TOML has it, a table being a dict of Given; or the text of a variable.
        source: The path of the file or the variable; several, when a table has several.
        base: The folder of the file, to which its relative paths refer; None: the environment.
        text: Whether the value is text of a variable, whose type is not known yet.
    """

    value: object = field(repr=False)  # it may be a secret
    source: str
    base: Path | None = None
    text: bool = False


def read(config_dir: Path, environ: Mapping[str, str]) -> tuple[dict[str, Given], list[str]]:
    """Read all sources, the later winning: settings.toml, .secrets.toml, credentials, environment.

    A table replaces the whole table of an earlier source, but METRICS_TAGS__SITE only that key.

    Args:
        config_dir: The folder of the files; neither it nor they need exist.
        environ: The environment.

    Returns:
        The top-level values, by name in lower case, and what could not be read.
    """
    problems: list[str] = []
    given: dict[str, Given] = {}
    for path in (config_dir / name for name in FILES):
        try:
            table = _read_file(path)
        except _UnreadableError as error:
            problems.append(f"{path}: {error}")
            continue
        items = [(name, _wrap(value, str(path), config_dir)) for name, value in table.items()]
        given |= _fold(items, problems)
    given |= _credentials(config_dir, environ, problems)
    variables = [
        (name.removeprefix(PREFIX), Given(text, variable_source(name), text=True))
        for name, text in sorted(environ.items())
        if name.startswith(PREFIX) and name != CONFIG_DIR
    ]
    for name, variable in _fold(variables, problems).items():
        _put(given, name.split("__"), variable)
    return given, problems


def salvage(config_dir: Path, environ: Mapping[str, str], name: str) -> Given | None:
    """Return a setting out of sources that may be broken, where it stands on a line of its own."""
    given, _ = read(config_dir, environ)
    for path in (config_dir / file for file in FILES):
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                table = tomllib.loads(line)
            except (ValueError, RecursionError):
                continue
            if name in table:
                given.setdefault(name, _wrap(table[name], str(path), config_dir))
    return given.get(name)


def variable_source(name: str) -> str:
    """Return how an environment variable is named as a source."""
    return f"environment variable {name if name.isprintable() else repr(name)}"


def parsed(given: Given) -> Given:
    """Read a variable's text as a TOML value, for a table or a list; other values stay as is."""
    if not given.text:
        return given
    try:
        table = tomllib.loads(f"value = {given.value}")
    except (ValueError, RecursionError):
        return given
    if table.keys() != {"value"}:  # a line break in the text began another key
        return given
    return _wrap(table["value"], given.source, None)


def _credentials(
    config_dir: Path, environ: Mapping[str, str], problems: list[str]
) -> dict[str, Given]:
    """Read the secrets that a service manager hands over, each in a file of its name."""
    found: dict[str, Given] = {}
    for name in CREDENTIALS:
        if folder := environ.get(CREDENTIALS_DIRECTORY):
            path = Path(folder) / name
        elif config_dir == SYSTEM_CONFIG_DIR:  # for the commands, beside the service
            path = _STORE / f"metrics-pipeline.{name}"
        else:
            continue
        try:
            if value := path.read_text(encoding="utf-8").strip():
                found[name] = Given(value, str(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            if path.parent == _STORE:  # which is root's
                continue
            problems.append(f"{path}: cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            problems.append(f"{path}: not UTF-8 text")
    return found


class _UnreadableError(Exception):
    """The sentence says what is wrong with a file."""


def _read_file(path: Path) -> Mapping[str, object]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _UnreadableError(f"cannot be read: {error.strerror}") from None
    try:
        return _load_toml(data.decode())
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 text{_place(data[: error.start].decode())}"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:
        reason = str(error).replace(" (at end of document)", _place(data.decode()))
    raise _UnreadableError(f"not valid TOML: {reason}")


def _load_toml(text: str) -> Mapping[str, object]:
    # Late, because it takes 45 ms and 7.6 MiB, which a host without a file need not pay.
    from dynaconf.base import Settings as Owner  # noqa: PLC0415
    from dynaconf.loaders.base import BaseLoader  # noqa: PLC0415

    owner = Owner(dynaconf_skip_loaders=True)
    loader = BaseLoader(
        owner, "_envless", "toml", (".toml",), tomllib.load, tomllib.loads, {"mode": "rb"}
    )
    # Given text, since dynaconf makes of a file that cannot be opened a warning and no settings.
    # The line break keeps it text: what ends in .toml would be taken for a path.
    for table in loader.get_source_data([text + "\n"]).values():
        return dict(table)
    return {}


def _place(before: str) -> str:
    # In the words of tomllib.
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f" (at line {line}, column {column})"


def _wrap(value: object, source: str, base: Path | None) -> Given:
    if isinstance(value, dict):
        value = {key: _wrap(item, source, base) for key, item in value.items()}
    return Given(value, source, base)


def _fold(items: Iterable[tuple[str, Given]], problems: list[str]) -> dict[str, Given]:
    folded: dict[str, Given] = {}
    for name, given in items:
        if name.lower() in folded:
            hint = "the case of its letters makes no difference"
            problems.append(f"{given.source}: {name} gives {name.lower()} a second time; {hint}")
        folded[name.lower()] = given
    return folded


def _put(table: dict[str, Given], path: list[str], given: Given) -> None:
    head, *rest = path
    if not rest:
        table[head] = given
        return
    outer = parsed(table[head]) if head in table else None
    if outer is None or not isinstance(outer.value, dict):
        outer = Given({}, given.source)
    inner = dict(outer.value) if isinstance(outer.value, dict) else {}
    _put(inner, rest, given)
    sources = dict.fromkeys((*outer.source.split(", "), given.source))
    table[head] = Given(inner, ", ".join(sources), outer.base)
