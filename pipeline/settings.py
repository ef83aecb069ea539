"""Settings: settings.toml, .secrets.toml and the environment made one frozen, validated value."""

import os
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pipeline.settings_checker import Checker
from pipeline.settings_rules import (
    FILE,
    MASK,
    TAG_KEY,
    UNESCAPED,
    URL,
    as_text,
    between,
    like,
    specs,
)
from pipeline.settings_sources import CONFIG_DIR, FILES, PREFIX, read

_SYSTEM_CONFIG_DIR = Path("/etc/metrics-pipeline")
_SYSTEM_DATA_DIR = Path("/var/lib/metrics-pipeline")


@dataclass(frozen=True, slots=True)
class CollectorOptions:
    """The settings of one collector; None stands for the collector's own default."""

    enabled: Annotated[bool | None, "Whether it collects."] = None
    include: Annotated[tuple[str, ...], "Globs of what it reports."] = ("*",)
    exclude: Annotated[tuple[str, ...] | None, "Globs of what it leaves out of that."] = None
    max_series: Annotated[int, "Most series it reports.", between(1, 100_000)] = 200


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; the text beside each is its meaning, units included."""

    collection_interval_ms: Annotated[
        int, "Time from one reading to the next.", between(10, 86_400_000, "milliseconds")
    ] = 60_000
    retention_hours: Annotated[
        int, "Age at which data is deleted; 0: never.", between(0, 876_000, "hours")
    ] = 168
    influxdb_url: Annotated[
        str, "InfluxDB 2 server that gets the data; empty: it stays on this machine.", URL
    ] = ""
    influxdb_org: Annotated[str, "Organisation in InfluxDB."] = ""
    influxdb_bucket: Annotated[str, "Bucket in InfluxDB."] = ""
    influxdb_token: Annotated[str, "Token for InfluxDB, best kept in .secrets.toml."] = field(
        default="", repr=False
    )
    influxdb_timeout_s: Annotated[
        float, "Longest wait for an answer of InfluxDB.", between(1, 600, "seconds")
    ] = 10
    influxdb_ca_cert: Annotated[
        Path | None, "Certificates to trust in place of the system's (PEM).", FILE
    ] = None
    influxdb_verify_tls: Annotated[bool, "Whether the server must prove who it is."] = True
    bucket_retention: Annotated[
        Literal["off", "create", "extend", "enforce"],
        "What to do to the bucket's own age: off: nothing; create: set it on a new bucket;"
        " extend: also lengthen it; enforce: also shorten it, which deletes data of all hosts.",
    ] = "extend"
    cleanup_interval_minutes: Annotated[
        int, "Time from one deletion of old data to the next.", between(1, 1_440, "minutes")
    ] = 60
    host: Annotated[str, "Tag `host` of every point; empty: this machine's name.", UNESCAPED] = ""
    tags: Annotated[
        Mapping[Annotated[str, TAG_KEY], Annotated[str, UNESCAPED]],
        "More tags for every point, each a name and a text.",
        like('{site = "lab"}'),
    ] = field(default_factory=lambda: MappingProxyType({}))
    data_dir: Annotated[
        Path,
        "Folder of the data; empty: $STATE_DIRECTORY, else /var/lib/metrics-pipeline for root,"
        " else metrics-pipeline in $XDG_STATE_HOME or ~/.local/state.",
    ] = _SYSTEM_DATA_DIR
    spool_max_mb: Annotated[
        int, "Most space on disk for the data.", between(1, 1_000_000, "megabytes")
    ] = 1_024
    batch_max_points: Annotated[int, "Most points sent at once.", between(1, 100_000)] = 5_000
    flush_interval_ms: Annotated[
        int, "Time from one sending to the next.", between(100, 3_600_000, "milliseconds")
    ] = 10_000
    flush_jitter_ms: Annotated[
        int,
        "Random delay of a sending at most, so that many hosts do not send at once.",
        between(0, 600_000, "milliseconds"),
    ] = 2_000
    http_port: Annotated[
        int, "Port of the HTTP endpoint on 127.0.0.1; 0: none.", between(0, 65_535)
    ] = 8_687
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], "Least severity that is logged."
    ] = "info"
    log_format: Annotated[Literal["text", "json"], "Form of a line of the log."] = "text"
    collectors: Annotated[
        Mapping[str, CollectorOptions],
        "Options of each collector, by its name.",
        like("{disk = {enabled = false}}"),
    ] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def delivers(self) -> bool:
        """Whether there is an InfluxDB to deliver to."""
        return bool(self.influxdb_url)


NAMES = tuple(declared.name for declared in fields(Settings))
"""The names of all settings, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for each by name the file's path, the variable, or "default"."""

    settings: Settings
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """A setting for people; its value is "" when unset, and masked when secret."""

    name: str
    value: str
    source: str
    meaning: str


class SettingsError(Exception):
    """Settings that cannot be used; its text is one problem a line.

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
    return cwd if (cwd / FILES[0]).exists() else _SYSTEM_CONFIG_DIR


def load(
    config_dir: Path,
    environ: Mapping[str, str],
    *,
    collectors: Collection[str] = (),
    hostname: Callable[[], str] = socket.gethostname,
) -> Loaded:
    """Read and validate all settings, without a look at os.environ.

    Args:
        config_dir: The folder of the files; neither it nor they need exist.
        environ: The environment: METRICS_<NAME>, and what the default of data_dir is made of.
        collectors: The names that [collectors.<name>] tables may have.
        hostname: The default of `host`.

    Returns:
        The settings and their sources.

    Raises:
        SettingsError: With everything that is wrong.
    """
    given, problems = read(config_dir, environ)
    checker = Checker(Settings, collectors, environ.get("HOME", ""))
    values = checker.values(given)
    # What a broken file would have said is not missing.
    missing = [] if problems else _missing(values, given.keys() - values.keys(), config_dir)
    if problems := [*problems, *checker.problems, *missing]:
        raise SettingsError(problems)
    sources = {name: given[name].source if name in given else "default" for name in NAMES}
    if not values.get("host"):
        values["host"], sources["host"] = hostname(), "default"
    if not values.get("data_dir"):
        values["data_dir"], sources["data_dir"] = _default_data_dir(environ), "default"
    return Loaded(Settings(**values), MappingProxyType(sources))


def describe(loaded: Loaded) -> list[Row]:
    """Return a row for each setting, for people to read, in the order of NAMES."""
    rows = []
    for name, declared in specs(Settings).items():
        text = as_text(getattr(loaded.settings, name))
        value = MASK if text and declared.secret else text
        rows.append(Row(name, value, loaded.sources[name], declared.meaning))
    return rows


def _missing(
    values: Mapping[str, Any], refused: Collection[str], config_dir: Path
) -> Iterator[str]:
    for name in ("influxdb_org", "influxdb_bucket", "influxdb_token"):
        if values.get("influxdb_url") and not values.get(name) and name not in refused:
            path = config_dir / FILES[name == "influxdb_token"]
            variable = f"{PREFIX}{name.upper()}"
            yield f"influxdb_url needs {name}, which is not set: set it in {path} or by {variable}"


def _default_data_dir(environ: Mapping[str, str]) -> Path:
    if state := environ.get("STATE_DIRECTORY"):  # systemd's: folders parted by colons
        return Path(state.partition(":")[0])
    # A relative XDG_STATE_HOME counts for nothing, says its specification.
    state, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if os.geteuid() != 0 and state.startswith("/"):
        return Path(state) / "metrics-pipeline"
    if os.geteuid() != 0 and home:
        return Path(home) / ".local/state/metrics-pipeline"
    return _SYSTEM_DATA_DIR
