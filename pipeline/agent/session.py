"""The session: all that lives from a start to its stop, made and connected here."""

import contextlib
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event

from pipeline.agent import gaps
from pipeline.agent.recorder import Recorder
from pipeline.agent.servers import END_S, Servers
from pipeline.agent.worker import Work, Workers, in_turns
from pipeline.clock import Clock, Schedule, SystemClock, Tick
from pipeline.collectors import Guard, Host, build, guarded
from pipeline.health import AgentMetrics, Health
from pipeline.retention import Swept, TrustedClock
from pipeline.settings import NAMES, Settings, make_folder
from pipeline.spool import DirectoryInUseError, DirectoryLock, Fact, Spool, SpoolError

_log = logging.getLogger(__name__)

_STOP_TICKS_S, _STOP_RECORDER_S = 2.0, 0.5
STOP_S = _STOP_TICKS_S + END_S + _STOP_RECORDER_S
"""The longest time that a stop takes, in seconds."""
# The settings whose change replaces something. The others are read when they are needed, or belong
# to the agent (http_port), the command (log_*), or a restart (data_dir).
_COLLECTORS = frozenset({"collectors", "host_root"})
_TAGS = frozenset({"host", "tags"})


class AgentError(Exception):
    """The agent cannot start; the message says what, where and the fix."""


class Session:
    """All that lives from one start to its stop, and owns the data directory meanwhile.

    Args:
        settings: The settings.
        reload: Reads the settings again, for a token that was rotated.
        clock: The source of time.
        on_lost: Is called with the reason when the data directory does not belong to it any more.

    Raises:
        AgentError: The data directory cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        reload: Callable[[], Settings],
        clock: Clock | None = None,
        on_lost: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.settings = settings
        self._on_lost = on_lost
        self._clock = clock = clock or SystemClock()
        # Before the lock on the directory, since it can fail.
        self.host = Host.system(clock, settings.host_root, os.environ)
        self._lock, self._spool = _open(settings, clock)
        interval_s = settings.collection_interval_ms / 1000
        self.health = Health(clock, interval_s, self._spool.note)
        self._workers = Workers(clock, self.health)
        self._trusted_clock = TrustedClock(clock, self._spool, self.health, _age_s(settings))
        self._servers = Servers(
            settings, reload, self._spool, clock, self._trusted_clock, self.health, self._workers
        )
        # Collection. The schedule outlives failures, so that readings missed in them are counted.
        self._schedule = Schedule(clock, settings.collection_interval_ms)
        self._agent_metrics = AgentMetrics(self.health, self._spool, clock)
        guards, tags = self._guards(settings), _tags(settings)
        oldest_gap_ns = partial(self._servers.oldest_ns, gaps.MEASUREMENT)
        self._recorder = Recorder(guards, self._spool, clock, tags, self.health, oldest_gap_ns)

    def _guards(self, settings: Settings) -> tuple[Guard, ...]:
        """Return the enabled collectors, each in its guard; the agent's own metrics come last."""
        if self.host.root != str(settings.host_root):
            self.host = Host.system(self._clock, settings.host_root, os.environ, self.host)
        self.host.keep_pace(settings.collection_interval_ms / 1000)
        its_own = guarded(self._agent_metrics, settings.collectors, self._clock)
        return (*build(self.host, settings.collectors), *its_own)

    def start(self) -> None:
        """Take the first reading at once, and go on.

        Raises:
            AgentError: The system starts no thread.
        """
        self._note({Fact.LAST_ERROR: None, Fact.TROUBLES: None})
        with contextlib.suppress(SpoolError):
            self._recorder.resume(self.settings.collection_interval_ms / 1000)
        self._workers.start("tick", self._tick)
        if why := self.health.troubles().get("threads"):
            # A thread that runs starts the others again. Without one, nothing would.
            raise AgentError(why)
        self._servers.start()

    def follow(self, work: Work) -> None:
        """Start the thread that follows the settings' files."""
        self._workers.start("settings", work)

    def wake(self, name: str) -> None:
        """Cut the wait of a thread short."""
        self._workers.wake(name)

    def start_missing(self) -> None:
        """Start the threads that should run and do not."""
        self._workers.start_missing()

    def change(self, new: Settings) -> None:
        """Take new settings with the same data directory; only what they concern is replaced.

        No reading is lost: those that wait are in the spool, and a reading that was due is taken.
        """
        if not self._owns_directory():
            return
        old, self.settings = self.settings, new
        changed = {name for name in NAMES if getattr(old, name) != getattr(new, name)}
        if changed & (_COLLECTORS | _TAGS):
            guards = self._guards(new) if changed & _COLLECTORS else None
            self._recorder.change(guards, _tags(new))
        if "spool_max_mb" in changed:
            with contextlib.suppress(SpoolError):  # the recorder logs it with the next reading
                self._spool.set_bound(_bound(new))
        if "collection_interval_ms" in changed:
            self.health.expect(new.collection_interval_ms / 1000)
            self.host.keep_pace(new.collection_interval_ms / 1000)
            self._workers.wake("tick")
        self._trusted_clock.set_shortest_age(_age_s(new))
        self._servers.change(new)
        self._note({})

    def record(self) -> dict[str, str]:
        """Take one reading now; return the collectors that failed, and why.

        Raises:
            AgentError: The data directory does not belong to this session any more.
            SpoolError: It could not be made durable.
        """
        self._must_own_directory()
        failed = self._recorder.record(Tick(self._clock.now_ns(), missed=0))
        self._salvage_beside()
        return failed

    def sweep(self) -> Swept:
        """Remove what is older than the age, in InfluxDB and here.

        Raises:
            AgentError: The data directory does not belong to this session any more.
            InfluxError: InfluxDB failed.
            SpoolError: The local copy could not be swept.
        """
        self._must_own_directory()
        return self._servers.sweep()

    def stop(self) -> None:
        """End all threads; keep the last reading, and send it if the server answers in time."""
        self._workers.end(0.0, "settings")  # it may be the thread that waits for this
        self._workers.end(_STOP_TICKS_S, "tick")
        self._workers.end(END_S, *self._servers.threads, "salvage")
        self._recorder.close(_STOP_RECORDER_S)
        self._spool.close()
        self._lock.release()

    def abandon(self) -> None:
        """Release the lock that a fork copied; it copies no threads."""
        self._lock.release()

    def _tick(self, stop: Event, wake: Event) -> None:
        while not stop.is_set():
            if (tick := self._schedule.wait(wake)) is not None:
                if not self._owns_directory():
                    return
                self._take(tick)
                continue
            wake.clear()
            self._schedule.change(self.settings.collection_interval_ms)

    def _owns_directory(self) -> bool:
        """Look whether the data directory is still this session's; if not, leave it alone."""
        try:
            self._must_own_directory()
        except AgentError as error:
            self._workers.end(0.0, "settings", *self._servers.threads, "salvage")
            self._spool.close()
            self._on_lost(str(error))
            return False
        return True

    def _must_own_directory(self) -> None:
        try:
            self._lock.look()
        except DirectoryInUseError as error:
            raise AgentError(str(error)) from error

    def _take(self, tick: Tick) -> None:
        surprise: Exception | None = None
        for work in (self._trusted_clock.look, self._recorder.record):
            try:
                work(tick)
            except SpoolError:  # the recorder logs it, and holds the reading
                pass
            except Exception as error:  # noqa: BLE001  # any error costs this reading only
                surprise = error
        self._report(surprise)
        self._salvage_beside()
        self.health.tick_attempted()
        if self.settings.collection_interval_ms > self.settings.flush_interval_ms:
            self._servers.wake()
        self._workers.start_missing()

    def _report(self, surprise: Exception | None) -> None:
        trouble = self.health.trouble("tick")
        if surprise is None:
            trouble.ends("Readings succeed again")
            return
        why = str(surprise) or type(surprise).__name__
        with contextlib.suppress(Exception):  # to report it may fail for the same reason
            line = f"A reading failed: {why}"
            trouble.begins(why, line, level=logging.ERROR, error=surprise)

    def _salvage_beside(self) -> None:
        """Let a thread copy what can be read of a damaged store, if there is one."""
        if self._spool.salvaging and not self._workers.runs("salvage"):
            self._workers.start("salvage", self._salvage)

    def _salvage(self, stop: Event, _: Event) -> None:
        in_turns(self._spool.salvage(), self._clock, stop, self.health.trouble("salvage"))

    def _note(self, facts: dict[str, str | None]) -> None:
        settings = self.settings
        facts[Fact.INTERVAL_MS] = str(settings.collection_interval_ms)
        facts[Fact.RETENTION_HOURS] = str(settings.retention_hours)
        with contextlib.suppress(SpoolError):  # the recorder logs it with the next reading
            self._spool.note(facts)


def _tags(settings: Settings) -> dict[str, str]:
    return {"host": settings.host, **settings.tags}


def _age_s(settings: Settings) -> int:
    return settings.ages.shortest * 3600


def _bound(settings: Settings) -> int:
    return settings.spool_max_mb * 2**20


def _open(settings: Settings, clock: Clock) -> tuple[DirectoryLock, Spool]:
    directory: Path = settings.data_dir
    try:
        make_folder(directory, 0o750)
        lock = DirectoryLock(directory, clock)
    except (DirectoryInUseError, SpoolError) as error:
        raise AgentError(str(error)) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise AgentError(
            f"data directory {directory} cannot be used: it, or a folder above it, is a file; "
            "set another data_dir"
        ) from error
    except OSError as error:
        raise AgentError(
            f"data directory {directory} cannot be used: {error.strerror}; "
            "make it writable for this user, or set data_dir"
        ) from error
    try:
        return lock, Spool(directory, _bound(settings), clock)
    except SpoolError as error:
        lock.release()
        raise AgentError(str(error)) from error
