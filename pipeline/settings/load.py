"""Loads the settings: finds the sources, validates them, and fills in the defaults."""

import os
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.settings.constraints import MAIN, MASK, NEEDED, as_text, setting_name, specs
from pipeline.settings.declared import (
    HOUR_S,
    NAMES,
    SYSTEM_DATA_DIR,
    Downsample,
    Settings,
)
from pipeline.settings.sources import (
    CONFIG_DIR,
    CREDENTIALS_DIRECTORY,
    FILES,
    PLAIN,
    PREFIX,
    SECRETS,
    SYSTEM_CONFIG_DIR,
    Given,
    on_its_own_line,
    variable,
)
from pipeline.settings.trust import Exposure, changeable, readable
from pipeline.settings.validate import Validator, refusal


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings that were read.

    Attributes:
        settings: The settings.
        sources: For each by name the file's path, the variable, or "default"; the options that
            are given in a table are there by their paths, too, such as `mirrors.b.url`.
        defaults: What each would be if nothing set it.
        tokens: Where the token of each server that has one came from, by the server's name.
        changeable: The files and folders of theirs that another user can change.
        readable: The files with secrets that others can read.
    """

    settings: Settings
    sources: Mapping[str, str]
    defaults: Mapping[str, object]
    tokens: Mapping[str, str]
    changeable: tuple[Exposure, ...] = ()
    readable: tuple[Exposure, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingRow:
    """A setting as it is shown; its value is "" when unset, and masked when secret."""

    name: str
    value: str
    source: str
    meaning: str
    default: str = ""

    @property
    def changed(self) -> bool:
        """Whether it differs from its default."""
        return self.value != self.default


class SettingsError(Exception):
    """Settings that cannot be used; the text has one line for each problem.

    Attributes:
        problems: All of them, a sentence each: source, key, value, and what is allowed.
    """

    def __init__(self, problems: Collection[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def find_config_dir(option: Path | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """Return the folder of settings.toml and .secrets.toml.

    Args:
        option: The value of --config-dir, which wins over METRICS_CONFIG_DIR.
        environ: The environment.
        cwd: The working directory: the folder, when nothing is named and it has a settings.toml.

    Returns:
        The folder; /etc/metrics-pipeline, which may not exist, when there is none of the others.

    Raises:
        SettingsError: The folder that is named does not exist.
    """
    named = option or environ.get(CONFIG_DIR)
    if named:
        folder = cwd / named
        if not folder.is_dir():
            source = "--config-dir" if option else f"environment variable {CONFIG_DIR}"
            raise SettingsError([f"{source}: {str(folder)!r} must be an existing folder"])
        return folder
    return cwd if (cwd / PLAIN).exists() else SYSTEM_CONFIG_DIR


def load(
    config_dir: Path,
    environ: Mapping[str, str],
    *,
    collectors: Collection[str] = (),
    hostname: Callable[[], str] = socket.gethostname,
    complete: bool = True,
) -> Loaded:
    """Read and validate all settings, without a look at os.environ.

    Args:
        config_dir: The folder of the files; neither it nor they need exist.
        environ: The environment: METRICS_<NAME>, and what the defaults of data_dir and
            host_root are made of.
        collectors: The names that [collectors.<name>] tables may have.
        hostname: The default of `host`.
        complete: Whether what some settings need of others must be there; else influxdb_url, of
            which they need the most, is left out.

    Returns:
        The settings and their sources.

    Raises:
        SettingsError: With everything that is wrong.
    """
    exposed = _exposed(config_dir)
    given, unreadable = read_all(config_dir, environ)
    if not complete:
        given.pop("influxdb_url", None)
    validator = Validator(Settings, collectors, environ.get("HOME", ""))
    values = validator.values(given)
    accepted = Settings(**values)
    problems = [*unreadable, *validator.problems]
    all_accepted = not problems
    if complete and not unreadable:  # what seems to be missing may stand in a broken file
        problems += _missing(accepted, given, config_dir, environ)
    if all_accepted:
        wrong = [*_too_short(accepted), *(contradictions(accepted) if complete else ())]
        problems += [f"{given[name].source}: {why}" for name, why in wrong]
    defaults = _defaults(values, environ, hostname)
    unset = {name: value for name, value in defaults.items() if not values.get(name)}
    if unset.get("host") == "":
        problems.append(_nameless(config_dir))
    if problems:
        raise SettingsError(problems)
    sources = {path: source for path, source in _sources(given) if path not in unset}
    tokens = _tokens(given, (MAIN, *accepted.mirrors))
    paths = (config_dir / name for name in FILES)
    secret = [path for path in paths if path.name == SECRETS or str(path) in tokens.values()]
    return Loaded(
        replace(accepted, **unset),
        MappingProxyType(dict.fromkeys(NAMES, "default") | sources),
        MappingProxyType({name: getattr(Settings(), name) for name in NAMES} | defaults),
        MappingProxyType(tokens),
        exposed,
        readable(secret),
    )


def read_all(
    config_dir: Path, environ: Mapping[str, str]
) -> tuple[dict[str, Given], Collection[str]]:
    """Read all sources, as `read` does.

    Raises:
        SettingsError: Dynaconf cannot be used in this environment.
    """
    try:
        # Late: it takes a tenth of a second, which --help and the Tab key would take longer.
        from pipeline.settings.read import read  # noqa: PLC0415
    except ValueError as error:  # of one such as REDIS_PORT_FOR_DYNACONF=none
        hint = "correct or unset the environment variable *_FOR_DYNACONF with that value"
        raise SettingsError([f"dynaconf cannot start ({error}): {hint}"]) from error
    return read(config_dir, environ)


def find_data_dir(config_dir: Path, environ: Mapping[str, str]) -> Path:
    """Return where the data is, also if the settings as a whole cannot be used.

    An agent may be running on the former ones.

    Raises:
        SettingsError: Others can change them, and this is root.
    """
    _exposed(config_dir)
    read, _ = read_all(config_dir, environ)
    given = read.get("data_dir") or on_its_own_line(config_dir, "data_dir")
    validator = Validator(Settings, (), environ.get("HOME", ""))
    found = validator.values({"data_dir": given} if given else {}).get("data_dir")
    return found or _default_data_dir(environ)


def describe(loaded: Loaded) -> list[SettingRow]:
    """Return a row for each setting, for people to read, in the order of NAMES."""
    rows = []
    for name, declared in specs(Settings).items():
        text = as_text(getattr(loaded.settings, name))
        value = MASK if text and declared.secret else text
        default = as_text(loaded.defaults[name])
        rows.append(SettingRow(name, value, loaded.sources[name], declared.meaning, default))
    return rows


def _exposed(config_dir: Path) -> tuple[Exposure, ...]:
    """Return what others can change of the files; root refuses those."""
    exposed = changeable(config_dir, FILES)
    if exposed and os.geteuid() == 0:
        why = "and root takes no settings that others can change"
        raise SettingsError([f"{one.message}, {why}: {one.fix}" for one in exposed])
    return exposed


def _missing(
    settings: Settings, given: Mapping[str, Given], config_dir: Path, environ: Mapping[str, str]
) -> Iterator[str]:
    """Say what each server needs that nobody gave."""
    needs = [("mirrors", "", "influxdb_url")] if settings.mirrors and not settings.delivers else []
    for server, own in settings.servers.items():
        parts = [p for p in NEEDED if not getattr(own, f"influxdb_{p}")]
        owner = "influxdb_url" if server == MAIN else f"mirrors.{server}"
        needs += [(owner, server, setting_name(server, part)) for part in parts]
    for owner, server, name in needs:
        said = given_at(given, name)
        if said is not None and str(said.value).strip():  # it was refused
            continue
        token = name == setting_name(server, "token")
        path = config_dir / (SECRETS if token else PLAIN)
        ways = f"in {path} or by {variable(name)}"
        if token and environ.get(CREDENTIALS_DIRECTORY):
            ways = f"in {path}, by {variable(name)} or as the credential {name} of the service"
        if name == f"{owner}.url" and (rest := given_at(given, owner)):  # as after a removal
            ways += f", or remove the mirror from {rest.source}"
        verb = "need" if owner == "mirrors" else "needs"
        yield f"{owner} {verb} {name}, which is not set: set it {ways}"


def _sources(given: Mapping[str, Given], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the source of each value by its path, and of each that is in a table."""
    for name, one in given.items():
        yield f"{path}{name}", one.source
        if isinstance(one.value, dict):
            yield from _sources(one.value, f"{path}{name}.")


def given_at(given: Mapping[str, Given], name: str) -> Given | None:
    """Return what was given by a name, which leads into tables by dots."""
    first, _, rest = name.partition(".")
    found = given.get(first)
    if not rest or found is None:
        return found
    return given_at(found.value, rest) if isinstance(found.value, dict) else None


def _tokens(given: Mapping[str, Given], servers: Iterable[str]) -> dict[str, str]:
    """Return where the token of each server that has one came from."""
    found = {name: given_at(given, setting_name(name, "token")) for name in servers}
    return {name: one.source for name, one in found.items() if one and one.value}


def _defaults(
    values: Mapping[str, Any], environ: Mapping[str, str], hostname: Callable[[], str]
) -> dict[str, Any]:
    """Return the defaults of settings that depend on this machine."""
    root = Path(environ.get("HOST_MOUNT_PREFIX") or "/")
    names = (_name_of_host(values.get("host_root") or root), hostname().strip())
    usable = (name for name in names if name and not refusal(Settings, "host", name))
    return {
        "host_root": root,
        "data_dir": _default_data_dir(environ),
        "host": next(usable, ""),
    }


def _name_of_host(root: Path) -> str:
    """Return the name of a container's host as hostname(5) has it, or "" outside a container."""
    if root == Path("/"):
        return ""
    try:
        text = (root / "etc/hostname").read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""
    lines = map(str.strip, text.split("\n"))
    return next((line for line in lines if line and not line.startswith("#")), "")


def _nameless(config_dir: Path) -> str:
    why = "this machine has no name that could be the tag host"
    return f"{why}: set host in {config_dir / PLAIN} or by {PREFIX}HOST"


def contradictions(settings: Settings) -> Iterator[tuple[str, str]]:
    """Say what is wrong with a table beside other settings, each with the table's name."""
    servers: dict[tuple[str, str, str], str] = {}
    for name, own in settings.servers.items():
        if all(own.place) and (other := servers.setdefault(own.place, name)) != name:
            other = "influxdb_*" if other == MAIN else f"mirrors.{other}"
            same = f"has the url, org and bucket of {other}: make one of these another"
            yield "mirrors", f"mirrors.{name} {same}"
    wanted = settings.downsample
    if wanted == Downsample():
        return
    for part in ("every", "bucket"):
        if not getattr(wanted, part):
            yield "downsample", f"downsample needs downsample.{part}, which is not set"
    if not settings.delivers:
        yield "downsample", "downsample needs influxdb_url: InfluxDB does it"
    for name, own in settings.servers.items():
        if wanted.bucket and wanted.bucket == own.influxdb_bucket:
            bucket = setting_name(name, "bucket")
            yield "downsample", f"downsample.bucket must be another bucket than {bucket}"


def _too_short(settings: Settings) -> Iterator[tuple[str, str]]:
    """Say which ages do not hold the readings that `downsample` makes a value of."""
    wanted = settings.downsample
    if not wanted.every:
        return
    overrides = settings.retention_overrides
    ages = {f"retention_overrides.{name}": hours for name, hours in overrides.items()}
    ages["retention_hours"] = settings.retention_hours
    for name, hours in ages.items():
        if 0 < hours * HOUR_S < wanted.needed_s:
            yield "downsample", wanted.why_too_short(name, hours)


def _default_data_dir(environ: Mapping[str, str]) -> Path:
    if state := environ.get("STATE_DIRECTORY"):  # systemd's: folders parted by colons
        return Path(state.partition(":")[0])
    if _is_of_system():
        return SYSTEM_DATA_DIR
    # A relative XDG_STATE_HOME counts for nothing, says its specification.
    state, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if state.startswith("/"):
        return Path(state) / "metrics-pipeline"
    return Path(home) / ".local/state/metrics-pipeline" if home else SYSTEM_DATA_DIR


def _is_of_system() -> bool:
    """Return whether this is root, or the user as whom the service runs."""
    with suppress(OSError):
        return os.geteuid() in {0, SYSTEM_DATA_DIR.stat().st_uid}
    return os.geteuid() == 0
