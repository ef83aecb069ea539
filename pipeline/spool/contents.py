"""What a spool holds: its figures, its facts, its gaps, the refused lines, and causes of loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Cause(StrEnum):
    """Why a point is never delivered; the names are in the store and in what users read."""

    SPOOL_FULL = "spool_full"
    """The bound, or a full disk, took it while it waited."""
    EXPIRED = "expired"
    """It reached its age, or the age of the bucket, while it waited."""
    CORRUPT_STORE = "corrupt_store"
    """The part of the store that held it was damaged."""
    REJECTED = "rejected"
    """InfluxDB refused it; `rejected list` shows it."""
    TICK_MISSED = "tick_missed"
    """Its reading was not taken: the tick came too late, or failed."""
    COLLECTOR_FAILED = "collector_failed"
    """Its collector failed."""
    LEFT_OUT = "left_out"
    """Its collector found more series than `max_series` allows, or what cannot be written."""
    MIRROR_REMOVED = "mirror_removed"
    """It waited for a mirror that was taken out of the settings."""
    DISK_FULL = "disk_full"
    """It was held in memory, as the spool could not be written, for too long."""


COMMITTED = (
    Cause.SPOOL_FULL,
    Cause.EXPIRED,
    Cause.CORRUPT_STORE,
    Cause.REJECTED,
    Cause.MIRROR_REMOVED,
)
"""The causes that take committed points; the others take points before they are committed."""


class Fact(StrEnum):
    """What a store remembers for its agent and its readers; the names are in the store."""

    LAST_ERROR = "last_error"
    """What failed last, in a sentence; absent while all is well."""
    TROUBLES = "troubles"
    """All that does not work, as a JSON object of sentences by subject."""
    BUCKET_AGE_S = "bucket_age_s"
    """The age of the bucket's own rule, in seconds; 0 is for ever."""
    BUCKET_DRIFT = "bucket_drift"
    """How the rule differs from what the settings want, in a sentence."""
    DOWNSAMPLING_TASK = "downsampling_task"
    """The name of the host's task in InfluxDB."""
    INTERVAL_MS = "collection_interval_ms"
    """The interval that the agent goes by, in milliseconds."""
    RETENTION_HOURS = "retention_hours"
    """The age that the agent goes by, in hours."""
    URL = "influxdb_url"
    """The server that the agent delivers to."""
    PLACE = "place"
    """The same with its organisation and bucket, which tells two servers apart."""
    BELIEVED_NS = "believed_ns"
    """The newest time that could be trusted, in nanoseconds since 1970-01-01 UTC."""
    SALVAGE = "salvage"
    """What the last salvage saved and lost, in a sentence."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The figures of a spool, and of one server in it, since it was made; a point is a line.

    Attributes:
        ticks: Readings committed.
        points: Points committed for the server.
        delivered_points: Points that the server took.
        backlog_points: Points waiting for delivery.
        backlog_bytes: Their size on disk.
        backlog_oldest_ns: The oldest one's time, or None with no backlog.
        rejected_points: Lines that the server refused and that are kept.
        lost: Cause to points never delivered; for `main`, also those that were never committed.
        first_ns: The oldest reading held, or None.
        last_ns: The newest reading held, or None.
    """

    ticks: int
    points: int
    delivered_points: int
    backlog_points: int
    backlog_bytes: int
    backlog_oldest_ns: int | None
    rejected_points: int
    lost: Mapping[str, int]
    first_ns: int | None
    last_ns: int | None


@dataclass(frozen=True, slots=True)
class Gap:
    """A span in which readings are missing, until a point in InfluxDB says so.

    There is one of each cause and server: what is missing of the same meanwhile widens it.

    Attributes:
        cause: Why.
        start_ns: The earliest time of one that may be missing, in nanoseconds since 1970-01-01 UTC.
        stop_ns: The latest.
        readings: How many are missing.
        server: Where: the server that alone lacks them; "" stands for all.
    """

    cause: str
    start_ns: int
    stop_ns: int
    readings: int
    server: str = ""

    @classmethod
    def without_agent(cls, before_ns: int, now_ns: int, interval_s: float) -> Self:
        """Return the gap between two readings at this interval, between which no agent ran."""
        readings = round((now_ns - before_ns) / 1e9 / interval_s) - 1
        return cls("agent_down", before_ns, now_ns, max(0, readings))


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings on their way: leased from the queue, to be settled or to stay.

    Attributes:
        ids: The ticks.
        points: How many lines they hold.
        body: The lines, as a gzip member.
        oldest_ns: The time of the oldest one, in nanoseconds since 1970-01-01 UTC.
        more: Whether others wait behind them.
    """

    ids: tuple[int, ...]
    points: int
    body: bytes
    oldest_ns: int
    more: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line of a batch that the server refused, and its reason."""

    line: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A refused line that is kept.

    Attributes:
        id: Its name for `rejected retry` and `rejected drop`.
        time_ns: When it was refused, in nanoseconds since 1970-01-01 UTC.
        reason: The server's reason.
        line: The line.
        server: The server that refused it.
    """

    id: int
    time_ns: int
    reason: str
    line: str
    server: str
