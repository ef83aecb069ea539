"""Every setting, declared once: its type, its default, its meaning and what is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pipeline.settings.ages import Ages
from pipeline.settings.constraints import (
    DURATION,
    FILE,
    MAIN,
    NOT_EMPTY,
    SERVER,
    TAG_KEY,
    TOKEN,
    UNESCAPED,
    URL,
    between,
    duration_s,
    like,
)

SYSTEM_DATA_DIR = Path("/var/lib/metrics-pipeline")
HOUR_S = 3600
LATE_S = HOUR_S
"""Readings that come late by up to this still count in a downsampled value."""
_SPREAD_S = 120  # the tasks of many hosts run at different moments of it


@dataclass(frozen=True, slots=True)
class CollectorOptions:
    """The settings of one collector; None stands for the collector's own default."""

    enabled: Annotated[bool | None, "Whether it collects."] = None
    include: Annotated[tuple[str, ...], "Globs of what it reports."] = ("*",)
    exclude: Annotated[tuple[str, ...] | None, "Globs of what it leaves out of that."] = None
    max_series: Annotated[int, "Largest number of series it reports.", between(1, 100_000)] = 200
    times: Annotated[bool, "`cpu`: whether it also writes seconds since boot (time_*)."] = False
    per_cpu: Annotated[
        bool, "`conntrack`: whether it also writes counters, of all processors and of each."
    ] = False
    top: Annotated[
        int,
        "`process`: how many of the busiest and of the largest processes it reports.",
        between(0, 1_000),
    ] = 5
    directory: Annotated[
        Path | None, "`file`: folder of your own metrics, in files *.lp; empty: none."
    ] = None
    network: Annotated[bool, "`disk`: whether it also reports network file systems."] = False
    timeout_ms: Annotated[
        int,
        "`cgroup`, `disk`, `file`, `net`, `netstat`, `sensors`, `system_metrics`, `systemd_units`,"
        " `temp`: longest wait for what may not answer.",
        between(10, 60_000, "milliseconds"),
    ] = 1_000


@dataclass(frozen=True, slots=True)
class Downsample:
    """What is kept for longer, as one value for each span of time."""

    every: Annotated[str, "Span of time that a value is for; empty: no downsampling.", DURATION] = (
        ""
    )
    keep_hours: Annotated[
        int, "Age at which it is deleted; 0: never.", between(0, 876_000, "hours")
    ] = 8_760
    bucket: Annotated[str, "Bucket in InfluxDB that gets it, another than `influxdb_bucket`."] = ""

    @property
    def every_s(self) -> int:
        """The span of time, in seconds."""
        return duration_s(self.every)

    @property
    def wait_s(self) -> tuple[int, int]:
        """The shortest and the longest time from the end of a span until its value is made."""
        shortest = self.every_s // 4
        return shortest, shortest + max(1, min(self.every_s // 2, _SPREAD_S))

    @property
    def needed_s(self) -> int:
        """The age of readings that is needed, so that a value is made of a whole span of them."""
        return self.every_s + self.wait_s[1] + LATE_S

    def why_too_short(self, name: str, hours: int) -> str:
        """Say why an age is too short, given the name of its setting."""
        span, wait, late, needed = (
            f"{seconds / HOUR_S:.5g} h"
            for seconds in (self.every_s, self.wait_s[1], LATE_S, self.needed_s)
        )
        return (
            f"downsample.every = {self.every!r} needs readings for {needed}: a span of {span}, "
            f"up to {wait} until its value is made and {late} for what comes late; {name} is "
            f"{hours}: make it at least {-(-self.needed_s // HOUR_S)}, or downsample.every shorter"
        )


@dataclass(frozen=True, slots=True)
class Mirror:
    """A further server that gets every reading; each option is as its namesake influxdb_*."""

    url: Annotated[str, "InfluxDB 2 server.", URL] = ""
    org: Annotated[str, "Organisation there: its name or id."] = ""
    bucket: Annotated[str, "Bucket there."] = ""
    token: Annotated[str, "Token for it, best kept in .secrets.toml.", TOKEN] = field(
        default="", repr=False
    )
    timeout_s: Annotated[float, "Longest wait for an answer.", between(1, 600, "seconds")] = 10
    ca_cert: Annotated[
        Path | None, "Certificates to trust in place of the system's (PEM).", FILE
    ] = None
    proxy: Annotated[str, "HTTP proxy on the way to it; empty: none.", URL] = ""
    verify_tls: Annotated[bool, "Whether the server must prove who it is."] = True


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
    influxdb_org: Annotated[str, "Organisation in InfluxDB: its name or id."] = ""
    influxdb_bucket: Annotated[str, "Bucket in InfluxDB."] = ""
    influxdb_token: Annotated[str, "Token for InfluxDB, best kept in .secrets.toml.", TOKEN] = (
        field(default="", repr=False)
    )
    influxdb_timeout_s: Annotated[
        float, "Longest wait for an answer of InfluxDB.", between(1, 600, "seconds")
    ] = 10
    influxdb_ca_cert: Annotated[
        Path | None, "Certificates to trust in place of the system's (PEM).", FILE
    ] = None
    influxdb_proxy: Annotated[
        str, "HTTP proxy on the way to InfluxDB; empty: none, whatever the environment says.", URL
    ] = ""
    influxdb_verify_tls: Annotated[bool, "Whether the server must prove who it is."] = True
    bucket_retention: Annotated[
        Literal["off", "create", "extend", "enforce"],
        "What to do to the bucket's own age: off: nothing; create: set it on a new bucket;"
        " extend: also lengthen it; enforce: also shorten it, which deletes data of all hosts.",
    ] = "extend"
    retention_overrides: Annotated[
        Mapping[Annotated[str, NOT_EMPTY], Annotated[int, between(0, 876_000, "hours")]],
        "Other ages, in hours, of some measurements.",
        like("{cpu = 24, process = 6}"),
    ] = field(default_factory=lambda: MappingProxyType({}))
    cleanup_interval_minutes: Annotated[
        int, "Time from one deletion of old data to the next.", between(1, 1_440, "minutes")
    ] = 60
    downsample: Annotated[
        Downsample,
        "Means (of counters the last values) that InfluxDB makes, to be kept for longer.",
        like('{every = "5m", keep_hours = 8760, bucket = "metrics_5m"}'),
    ] = Downsample()
    host: Annotated[str, "Tag `host` of every point; empty: this machine's name.", UNESCAPED] = ""
    tags: Annotated[
        Mapping[Annotated[str, TAG_KEY], Annotated[str, UNESCAPED]],
        "More tags for every point, each a name and a text.",
        like('{site = "lab"}'),
    ] = field(default_factory=lambda: MappingProxyType({}))
    host_root: Annotated[
        Path,
        "Folder at which a container sees the host's root folder; empty: $HOST_MOUNT_PREFIX,"
        " else /.",
    ] = Path("/")
    data_dir: Annotated[
        Path,
        "Folder of the data; empty: $STATE_DIRECTORY, else /var/lib/metrics-pipeline for root and"
        " the user who owns it, else metrics-pipeline in $XDG_STATE_HOME or ~/.local/state.",
    ] = SYSTEM_DATA_DIR
    spool_max_mb: Annotated[
        int, "Largest space on disk for the data.", between(1, 1_000_000, "megabytes")
    ] = 1_024
    batch_max_points: Annotated[
        int, "Largest number of points sent at once.", between(1, 100_000)
    ] = 5_000
    flush_interval_ms: Annotated[
        int, "Time from one sending to the next.", between(100, 3_600_000, "milliseconds")
    ] = 10_000
    flush_jitter_ms: Annotated[
        int,
        "Longest random delay of a sending, so that many hosts do not send at once.",
        between(0, 600_000, "milliseconds"),
    ] = 2_000
    http_port: Annotated[
        int, "Port of the HTTP endpoint on 127.0.0.1; 0: none.", between(0, 65_535)
    ] = 8_687
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], "Lowest severity that is logged."
    ] = "info"
    log_format: Annotated[Literal["text", "json"], "Form of a line of the log."] = "text"
    mirrors: Annotated[
        Mapping[Annotated[str, SERVER], Mirror],
        "More servers that get every reading, by a name of yours, beside that of `influxdb_url`.",
        like('{b = {url = "http://influx-b:8086", org = "lab", bucket = "metrics"}}'),
    ] = field(default_factory=lambda: MappingProxyType({}))
    collectors: Annotated[
        Mapping[str, CollectorOptions],
        "Options of each collector, by its name.",
        like("{disk = {enabled = false}}"),
    ] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def delivers(self) -> bool:
        """Whether there is an InfluxDB to deliver to."""
        return bool(self.influxdb_url)

    @property
    def servers(self) -> Mapping[str, "Settings"]:
        """The settings for each server by its name, `MAIN` first; none without influxdb_url.

        Those of a mirror have its values as `influxdb_*`, and no mirrors.
        """
        if not self.delivers:
            return {}
        return {MAIN: self} | {name: self.at(mirror) for name, mirror in self.mirrors.items()}

    @property
    def views(self) -> Mapping[str, "Settings"]:
        """The settings for each server; without an InfluxDB those of `MAIN` alone."""
        return self.servers or {MAIN: self}

    @property
    def place(self) -> tuple[str, str, str]:
        """Where readings go: the server's address, the organisation and the bucket."""
        return self.influxdb_url.rstrip("/"), self.influxdb_org, self.influxdb_bucket

    def at(self, mirror: Mirror) -> "Settings":
        """Return the settings for a mirror: its values as `influxdb_*`, and no mirrors."""
        own = {f"influxdb_{one.name}": getattr(mirror, one.name) for one in fields(mirror)}
        return replace(self, mirrors=MappingProxyType({}), **own)

    @property
    def ages(self) -> Ages:
        """How long everything is kept."""
        return Ages.from_hours(self.retention_hours, self.retention_overrides)


NAMES = tuple(declared.name for declared in fields(Settings))
"""The names of all settings, in the order in which they are shown."""
