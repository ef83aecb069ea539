"""The status of an agent: its state by its store, also while it is down."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.clock import rfc3339
from pipeline.settings import MAIN, Settings
from pipeline.spool import Contents, Fact, SpoolReader, free, holder

_NOTHING = Contents(0, 0, 0, 0, 0, None, 0, {}, None, None)


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The state of one server, as far as this host goes.

    Attributes:
        url: Where it is; "" when that is not known, or readings go nowhere.
        points: Points committed for it since the store was made: those that are delivered, wait,
            or are lost by a cause, but for what was never committed.
        backlog_points: Points waiting for delivery.
        backlog_bytes: Their size on disk.
        backlog_oldest: The time of the oldest one.
        delivered_points: Points that it took.
        lost: Points that are never delivered, by cause; only causes that happened.
        rejected_points: Refused lines that are kept.
        bucket_retention_hours: The age of the bucket's own rule, in hours; None when not known.
        bucket_drift: How that differs from the settings, and the fix; None when it does not.
    """

    url: str
    points: int
    backlog_points: int
    backlog_bytes: int
    backlog_oldest: str | None
    delivered_points: int
    lost: Mapping[str, int]
    rejected_points: int
    bucket_retention_hours: float | None
    bucket_drift: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """The state of an agent by its store, also while it is down.

    A point is a line. Times are RFC 3339 in UTC, or None when there is none.

    Attributes:
        running: Whether a process uses the data directory.
        pid: That process.
        data_dir: The data directory.
        collection_interval_ms: The time from one reading to the next, in milliseconds.
        retention_hours: How long data is kept, in hours; 0 is for ever.
        ticks: Readings committed since the store was made.
        last_error: What does not work at present, or None.
        troubles: The reason for each subject that does not work, such as `settings` or `sweep`.
        last_salvage: What the last salvage of a damaged store saved and lost, or None.
        last_reading: The time of the newest reading.
        main: The state of the main server. Without one its account is that of the host.
        mirrors: The state of each mirror by its name.
    """

    running: bool
    pid: int | None
    data_dir: str
    collection_interval_ms: int
    retention_hours: int
    ticks: int
    last_error: str | None
    troubles: Mapping[str, str]
    last_salvage: str | None
    last_reading: str | None
    main: ServerStatus
    mirrors: Mapping[str, ServerStatus]

    @property
    def servers(self) -> Mapping[str, ServerStatus]:
        """The state of each server by its name, where there are mirrors; else nothing."""
        return {MAIN: self.main, **self.mirrors} if self.mirrors else {}

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it: what is of `main` stands at the top, too."""
        found = asdict(self)
        main, mirrors = found.pop("main"), found.pop("mirrors")
        servers = {"servers": {MAIN: dict(main), **mirrors}} if mirrors else {}
        return {**found, "influxdb_url": main.pop("url"), **main, **servers}


def read_status(settings: Settings) -> Status:
    """Read the state of the agent that has the settings' data directory.

    Raises:
        SpoolError: There is a store, and it cannot be read.
    """
    directory = settings.data_dir
    store = _read_store(directory)
    contents, facts = store.get(MAIN, (_NOTHING, {}))
    pid = holder(directory)
    # A running agent's own settings count, which those of this moment need not be.
    running = facts if pid is not None else {}
    servers = {
        name: _server(*store.get(name, (_NOTHING, {})), settings, name, runs=pid is not None)
        for name in (MAIN, *sorted({*store, *settings.mirrors} - {MAIN}))
    }
    return Status(
        running=pid is not None,
        pid=pid,
        data_dir=str(directory),
        collection_interval_ms=int(running.get(Fact.INTERVAL_MS, settings.collection_interval_ms)),
        retention_hours=int(running.get(Fact.RETENTION_HOURS, settings.retention_hours)),
        ticks=contents.ticks,
        last_error=facts.get(Fact.LAST_ERROR) or (_full(directory) if pid is not None else None),
        troubles=json.loads(facts.get(Fact.TROUBLES, "{}")),
        last_salvage=facts.get(Fact.SALVAGE),
        last_reading=_time(contents.last_ns),
        main=servers.pop(MAIN),
        mirrors=servers,
    )


def _server(
    contents: Contents, facts: Mapping[str, str], settings: Settings, name: str, *, runs: bool
) -> ServerStatus:
    own = settings if name == MAIN else settings.servers.get(name)
    url = own.influxdb_url if own else ""
    age_s = facts.get(Fact.BUCKET_AGE_S)
    return ServerStatus(
        url=facts.get(Fact.URL, url) if runs or own is None else url,
        points=contents.points,
        backlog_points=contents.backlog_points,
        backlog_bytes=contents.backlog_bytes,
        backlog_oldest=_time(contents.backlog_oldest_ns),
        delivered_points=contents.delivered_points,
        lost=contents.lost,
        rejected_points=contents.rejected_points,
        bucket_retention_hours=int(age_s) / 3600 if age_s is not None else None,
        bucket_drift=facts.get(Fact.BUCKET_DRIFT),
    )


def _read_store(directory: Path) -> dict[str, tuple[Contents, Mapping[str, str]]]:
    """Return the account of each server, and what is remembered of it, by its name."""
    try:
        reader = SpoolReader(directory)
    except FileNotFoundError:
        return {}
    with reader:
        return {name: (reader.contents(name), reader.facts(name)) for name in reader.servers()}


def _full(directory: Path) -> str | None:
    # An agent that can write nothing cannot note that either.
    return None if free(directory) else f"the disk of {directory} is full, make room on it"


def _time(time_ns: int | None) -> str | None:
    return None if time_ns is None else rfc3339(time_ns)
