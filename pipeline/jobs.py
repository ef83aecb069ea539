"""The jobs of one run, from start to stop: tick, deliver, sweep."""

import contextlib
import logging
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

from pipeline import health
from pipeline.agent_metrics import AgentMetrics
from pipeline.clock import Clock, Schedule, SystemClock, Tick
from pipeline.collectors import Host, build, guarded
from pipeline.delivery import Delivery
from pipeline.health import Health
from pipeline.influx.buckets import Rule, shard_group_s
from pipeline.influx.connection import Connection, InfluxError
from pipeline.influx.points import HostPoints
from pipeline.influx.target import Target
from pipeline.lock import DirectoryInUseError, DirectoryLock
from pipeline.pacing import Pace
from pipeline.recorder import Recorder
from pipeline.retention import Retention, Swept
from pipeline.settings import Settings
from pipeline.spool import Spool, SpoolError
from pipeline.timekeeping import Timekeeper

_log = logging.getLogger(__name__)

# A deletion makes InfluxDB rewrite what it holds, and its answer waits for that.
_SWEEP_TIMEOUT_S = 300.0
_SWEEP_AGAIN_S = 60.0
_RESTART_S = 10.0
_STOP_TICKS_S, _STOP_REST_S, _STOP_RECORDER_S = 2.0, 2.0, 0.5


class AgentError(Exception):
    """The agent cannot start; the message says what, where and the fix."""


class Jobs:
    """All that lives from one start to its stop, and owns the data directory meanwhile.

    Args:
        settings: What is wanted.
        reload: Reads the settings again, for a token that was rotated.
        clock: Time.

    Raises:
        AgentError: The data directory cannot be had.
    """

    def __init__(
        self, settings: Settings, reload: Callable[[], Settings], clock: Clock | None = None
    ) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        # What can fail comes before the directory is held.
        host = Host.system(self._clock, settings.host_root, os.environ)
        guards = build(host, settings.collectors)
        self._lock, self._spool = _open(settings, self._clock)
        self._rule: Rule | None = None
        self.health = Health(
            self._clock, settings.collection_interval_ms / 1000, self._remember_error
        )
        self._timekeeper = Timekeeper(
            self._clock, self._spool, self.health, settings.retention_hours * 3600
        )
        self._retention = Retention(
            self._spool, self._timekeeper, settings.retention_hours, delivers=settings.delivers
        )
        self._target = (
            Target(
                settings,
                reload,
                self._clock,
                self._learn_rule,
                self._timekeeper.server_says,
                self._timekeeper.unset,
            )
            if settings.delivers
            else None
        )
        itself = AgentMetrics(self.health, self._spool, self._clock)
        self._recorder = Recorder(
            (*guards, *guarded(itself, settings.collectors, self._clock)),
            self._spool,
            self._clock,
            {"host": settings.host, **settings.tags},
            self.health,
        )
        # One for all, so that what is missed while a failed job waits is counted.
        self._schedule = Schedule(self._clock, settings.collection_interval_ms)
        self._sweeping = threading.Lock()
        self._stop_ticks = threading.Event()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start every job; the first reading is taken at once."""
        with contextlib.suppress(SpoolError):  # told by the recorder, with the first reading
            self._spool.note(
                {
                    health.INTERVAL_MS: str(self.settings.collection_interval_ms),
                    health.RETENTION_HOURS: str(self.settings.retention_hours),
                    health.LAST_ERROR: None,
                }
            )
        with contextlib.suppress(SpoolError):
            self._recorder.resume(self.settings.collection_interval_ms / 1000)
        jobs: dict[str, Callable[[], None]] = {"tick": self._tick, "sweep": self._sweep}
        if self._target is not None:
            url, bucket = self.settings.influxdb_url, self.settings.influxdb_bucket
            _log.info("Delivering to %s, bucket %r", url, bucket)
            jobs["delivery"] = self._delivery(self._target)
        for name, job in jobs.items():
            thread = threading.Thread(
                target=self._keep_running, args=(name, job), name=name, daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def record(self) -> frozenset[str]:
        """Take one reading now.

        Returns:
            The names of the collectors that failed.

        Raises:
            SpoolError: It could not be made durable.
        """
        return self._recorder.record(Tick(self._clock.now_ns(), missed=0))

    def sweep(self) -> Swept:
        """Remove what is older than the age, in InfluxDB and here.

        Raises:
            InfluxError: InfluxDB did not do its part.
            SpoolError: The local copy could not be swept.
        """
        with self._sweeping:
            with contextlib.suppress(SpoolError):  # an hour later, then
                self._timekeeper.remember()
            return self._sweep_once()

    def _sweep_once(self) -> Swept:
        settings = self.settings
        if self._target is None:
            return self._retention.sweep(None, "", 0)
        rule = self._rule
        window_s = rule.shard_group_s if rule else shard_group_s(settings.retention_hours * 3600)
        where = (settings.influxdb_url, settings.influxdb_org, settings.influxdb_bucket)
        scope = " ".join((*where, settings.host))
        with contextlib.closing(
            Connection(self._target.settings, self._clock, _SWEEP_TIMEOUT_S)
        ) as connection:
            return self._retention.sweep(HostPoints(connection, settings.host), scope, window_s)

    def stop(self) -> None:
        """End every job, the last reading kept and sent if the server answers in time."""
        self._stop_ticks.set()
        for thread in self._threads:
            if thread.name == "tick":
                thread.join(_STOP_TICKS_S)
        self._stop.set()
        self._wake.set()
        deadline = self._clock.monotonic() + _STOP_REST_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._clock.monotonic()))
        self._recorder.close(_STOP_RECORDER_S)
        self._spool.close()
        self._lock.release()

    def abandon(self) -> None:
        """Leave all to the process that this one was forked from: no thread came along."""
        self._lock.release()

    def _tick(self) -> None:
        at_once = self.settings.collection_interval_ms > self.settings.flush_interval_ms
        while (tick := self._schedule.wait(self._stop_ticks)) is not None:
            with contextlib.suppress(SpoolError):  # told by the recorder, which holds the reading
                self._timekeeper.look(tick)
            with contextlib.suppress(SpoolError):
                self._recorder.record(tick)
            self.health.trouble("tick", None)
            self.health.passed()
            if at_once:
                self._wake.set()

    def _delivery(self, target: Target) -> Callable[[], None]:
        settings = self.settings
        pace = Pace(
            settings.flush_interval_ms / 1000,
            settings.flush_jitter_ms / 1000,
            settings.batch_max_points,
        )

        def trim() -> None:
            self._retention.trim(self._rule.age_s if self._rule else 0)

        delivery = Delivery(
            self._spool, target, self._clock, pace, random.uniform, self.health, trim
        )
        return lambda: delivery.run(self._stop, self._wake)

    def _sweep(self) -> None:
        interval_s = self.settings.cleanup_interval_minutes * 60.0
        excused: set[int | None] = {None, 404}
        while not self._stop.is_set():
            wait_s = interval_s
            try:
                self._spool.check()
                self.sweep()
                self.health.trouble("sweep", None)
            except InfluxError as error:
                # That no server answers, delivery tells; and at the start it may not have told
                # yet, nor made the bucket.
                status = error.answer.status
                told = status is None and "delivery" in self.health.troubles()
                if told or status in excused:
                    excused.discard(status)
                    wait_s = min(_SWEEP_AGAIN_S, interval_s)
                elif self.health.trouble("sweep", str(error)):
                    _log.warning("Old points could not be removed from InfluxDB: %s", error)
            self._clock.wait(self._stop, wait_s)

    def _keep_running(self, name: str, job: Callable[[], None]) -> None:
        stop = self._stop_ticks if name == "tick" else self._stop
        while True:
            try:
                job()
                return
            except Exception as error:  # noqa: BLE001  # a job never ends by accident
                if stop.is_set():
                    return
                if self.health.trouble(name, str(error)):
                    detail = error if _log.isEnabledFor(logging.DEBUG) else None
                    _log.error("%s goes on in 10 s, it failed: %s", name, error, exc_info=detail)
                self._clock.wait(stop, _RESTART_S)

    def _learn_rule(self, rule: Rule) -> None:
        self._rule = rule
        self._spool.note({health.BUCKET_AGE_S: str(rule.age_s)})

    def _remember_error(self, message: str | None) -> None:
        with contextlib.suppress(SpoolError):
            self._spool.note({health.LAST_ERROR: message})


def _open(settings: Settings, clock: Clock) -> tuple[DirectoryLock, Spool]:
    directory: Path = settings.data_dir
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock = DirectoryLock(directory, clock)
    except DirectoryInUseError as error:
        raise AgentError(str(error)) from error
    except OSError as error:
        raise AgentError(
            f"data directory {directory} cannot be used: {error.strerror}; "
            "make it writable for this user, or set data_dir"
        ) from error
    try:
        return lock, Spool(directory, settings.spool_max_mb * 2**20, clock.now_ns)
    except SpoolError as error:
        lock.release()
        raise AgentError(str(error)) from error
