"""What the agent knows of itself: its troubles while it runs, and the account that outlives it."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.clock import Clock, rfc3339
from pipeline.settings import Settings
from pipeline.spool import Contents, Fact, SpoolReader, free, holder

# Ticks may be late now and then on a busy host; this many intervals without one are no accident.
_OVERDUE_INTERVALS = 3
_OVERDUE_LEAST_S = 5.0


def overdue_s(interval_s: float) -> float:
    """Return after how many seconds without a reading something is wrong."""
    return max(_OVERDUE_INTERVALS * interval_s, _OVERDUE_LEAST_S)


_NOTHING = Contents(0, 0, 0, 0, 0, None, 0, {}, None, None)


@dataclass(frozen=True, slots=True)
class Status:
    """The state of an agent as its store tells it, also while the agent is down.

    A point is a line. Times are RFC 3339 in UTC, or None where there is nothing to tell.

    Attributes:
        running: Whether a process has the data directory.
        pid: That process.
        data_dir: The data directory.
        collection_interval_ms: The distance between two readings, in milliseconds.
        retention_hours: The age, in hours; 0 is for ever.
        ticks: Readings committed since the store was made.
        points: Points committed since the store was made.
        backlog_points: Points waiting for delivery.
        backlog_bytes: Their size on disk.
        backlog_oldest: The time of the oldest one.
        delivered_points: Points that InfluxDB took.
        lost: Cause to points never delivered; only causes that happened.
        rejected_points: Refused lines that are kept.
        last_error: What does not work at present, or None.
        troubles: All that does not, by what it is, such as `settings` or `sweep`.
        last_salvage: What was saved and lost when the store was damaged last, or None.
        last_reading: The time of the newest reading.
        influxdb_url: Where readings go; "" when nowhere.
        bucket_retention_hours: The age of the bucket's own rule, in hours; None when not known.
        bucket_drift: How that differs from what the settings want, and the fix; None: it does not.
    """

    running: bool
    pid: int | None
    data_dir: str
    collection_interval_ms: int
    retention_hours: int
    ticks: int
    points: int
    backlog_points: int
    backlog_bytes: int
    backlog_oldest: str | None
    delivered_points: int
    lost: Mapping[str, int]
    rejected_points: int
    last_error: str | None
    troubles: Mapping[str, str]
    last_salvage: str | None
    last_reading: str | None
    influxdb_url: str
    bucket_retention_hours: float | None
    bucket_drift: str | None


def read_status(settings: Settings) -> Status:
    """Read the state of the agent that has the settings' data directory.

    Raises:
        SpoolError: There is a store, and it cannot be read.
    """
    directory = settings.data_dir
    contents, facts = _read_store(directory)
    pid = holder(directory)
    # A running agent's own settings count, which those of this moment need not be.
    running = facts if pid is not None else {}
    age_s = facts.get(Fact.BUCKET_AGE_S)
    return Status(
        running=pid is not None,
        pid=pid,
        data_dir=str(directory),
        collection_interval_ms=int(running.get(Fact.INTERVAL_MS, settings.collection_interval_ms)),
        retention_hours=int(running.get(Fact.RETENTION_HOURS, settings.retention_hours)),
        ticks=contents.ticks,
        points=contents.points,
        backlog_points=contents.backlog_points,
        backlog_bytes=contents.backlog_bytes,
        backlog_oldest=_time(contents.backlog_oldest_ns),
        delivered_points=contents.delivered_points,
        lost=contents.lost,
        rejected_points=contents.rejected_points,
        last_error=facts.get(Fact.LAST_ERROR) or (_full(directory) if pid is not None else None),
        troubles=json.loads(facts.get(Fact.TROUBLES, "{}")),
        last_salvage=facts.get(Fact.SALVAGE),
        last_reading=_time(contents.last_ns),
        influxdb_url=running.get(Fact.URL, settings.influxdb_url),
        bucket_retention_hours=int(age_s) / 3600 if age_s is not None else None,
        bucket_drift=facts.get(Fact.BUCKET_DRIFT),
    )


def _read_store(directory: Path) -> tuple[Contents, Mapping[str, str]]:
    try:
        reader = SpoolReader(directory)
    except FileNotFoundError:
        return _NOTHING, {}
    with reader:
        return reader.contents(), reader.facts()


def _full(directory: Path) -> str | None:
    # An agent that can write nothing cannot note that either.
    return None if free(directory) else f"the disk of {directory} is full, make room on it"


def _time(time_ns: int | None) -> str | None:
    return None if time_ns is None else rfc3339(time_ns)


@dataclass(frozen=True, slots=True)
class Tick:
    """How one reading went.

    Attributes:
        seconds: What it took, commit included.
        points: How many it gave.
        collectors: Each collector's seconds.
    """

    seconds: float
    points: int
    collectors: Mapping[str, float]


class Health:
    """The running agent's own view, for the endpoint; every job reports to it.

    Args:
        clock: Tells how long ago the last reading was.
        interval_s: The distance between two readings, in seconds.
        remember: Keeps the newest trouble in the store, for `status`; it may fail in silence.
    """

    def __init__(
        self, clock: Clock, interval_s: float, remember: Callable[[str | None], None]
    ) -> None:
        self._clock = clock
        self.expect(interval_s)
        self._remember = remember
        self._lock = threading.Lock()
        self._troubles: dict[str, str] = {}
        self.last_tick: Tick | None = None
        self.last_write_s: float | None = None
        self.retries = 0

    def expect(self, interval_s: float) -> None:
        """Readings are so many seconds apart from now on."""
        self._overdue_s = overdue_s(interval_s)
        self._since = self._passed = self._clock.monotonic()

    def ticked(self, tick: Tick) -> None:
        """A reading is durable."""
        self.last_tick = tick
        self._since = self._clock.monotonic()

    def passed(self) -> None:
        """A tick has passed, whether or not its reading is durable."""
        self._passed = self._clock.monotonic()

    def stalled(self) -> bool:
        """Tell whether ticks do not pass any more, which only a restart can mend."""
        return self._clock.monotonic() - self._passed > self._overdue_s

    def failed(self) -> None:
        """A try to deliver failed; another one will follow."""
        self.retries += 1

    def wrote(self, seconds: float) -> None:
        """A batch was written in so many seconds."""
        self.last_write_s = seconds

    def trouble(self, source: str, message: str | None) -> bool:
        """Something does not work, or works again.

        Args:
            source: What it is, such as `delivery`.
            message: Why, in a sentence; None when it works.

        Returns:
            Whether that changes anything, and so deserves a line in the log.
        """
        with self._lock:
            changed = (source in self._troubles) != (message is not None)
            if self._troubles.get(source) == message:
                return changed
            self._troubles.pop(source, None)
            if message is not None:
                self._troubles[source] = message
            newest = next(reversed(self._troubles.values()), None)
        self._remember(newest)
        return changed

    def forget(self, *sources: str) -> None:
        """Whatever does not work of these begins anew."""
        for source in sources:
            self.trouble(source, None)

    def troubles(self) -> dict[str, str]:
        """Return each source of trouble and its reason, the newest last."""
        with self._lock:
            return dict(self._troubles)

    def failure(self) -> str | None:
        """Return why the agent does not do its own part, or None.

        A server that is down is no such reason: the readings are safe, and a restart would not
        help. Readings that do not become durable are one.
        """
        if (reason := self.troubles().get("spool")) is not None:
            return reason
        silent = self._clock.monotonic() - self._since
        return f"no reading for {silent:.0f} s" if silent > self._overdue_s else None
