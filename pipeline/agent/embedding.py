"""The agent inside another program, such as a web application: the public functions.

They log what goes wrong and never raise: a program must not fail because its metrics do. Their
settings are those of the command: the files in METRICS_CONFIG_DIR, the working directory or
/etc/metrics-pipeline, and METRICS_* variables.
"""

import atexit
import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline import collectors
from pipeline.agent.agent import Agent
from pipeline.agent.session import AgentError
from pipeline.clock import SystemClock
from pipeline.collectors import CpuMetrics as CpuMetrics
from pipeline.collectors import Host, Summary, reason
from pipeline.collectors import SpaceMetrics as SpaceMetrics
from pipeline.settings import CollectorOptions, Files, find_config_dir

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SystemMetrics:
    """The figures of this host at one moment.

    A figure that could not be read is None, and not 0, which a chart would show as idle or empty.

    Attributes:
        timestamp: The time of the reading, in UTC.
        cpu: The processor.
        memory: The memory.
        disk: The disk that the system is on.
        collected: Whether everything could be read. A host without a sensor of the processor's
            temperature lacks nothing.
        error: Why something could not be read, in a sentence; None when everything could.
    """

    timestamp: datetime
    cpu: CpuMetrics
    memory: SpaceMetrics
    disk: SpaceMetrics
    collected: bool
    error: str | None


def collect_system_metrics() -> SystemMetrics:
    """Read processor, temperature, memory and disk now; this takes 0.1 s.

    Returns:
        The figures. What fails lacks its own figures only; see `collected` and `error`.
    """
    clock = SystemClock()
    timestamp = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC)
    cpu, memory, disk = CpuMetrics(), SpaceMetrics(), SpaceMetrics()
    errors: list[str] = []
    with _noting(errors):
        root = _files().load().settings.host_root
        _process.host = Host.system(clock, root, os.environ, _process.host)
        summary = Summary(_process.host, CollectorOptions())
        with _noting(errors, "cpu"):
            cpu = summary.cpu()
        with _noting(errors, "memory"):
            memory = summary.memory()
        with _noting(errors, "disk"):
            disk = summary.disk()
        if not errors and None in (cpu.usage, memory.total, disk.total):
            errors.append("the host does not tell every figure at present")
    return SystemMetrics(timestamp, cpu, memory, disk, not errors, "; ".join(errors) or None)


@contextlib.contextmanager
def _noting(errors: list[str], what: str = "") -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001  # see the module
        errors.append(f"{what}: {reason(error)}" if what else _sentence(error))


def _sentence(error: Exception) -> str:
    """Return why something failed, on one line."""
    return "; ".join(str(error).splitlines()) or type(error).__name__


def save_system_metrics() -> bool:
    """Take one reading with every enabled collector and make it durable.

    Returns:
        Whether that worked; False, with the error in the log, when the summary record could not be
        read or the reading not be kept.
    """
    try:
        failed = _process.agent().save()
    except Exception as error:  # noqa: BLE001  # see the module
        _log.error("Failed to save system metrics: %s", _sentence(error))
        return False
    if Summary.name in failed:
        _log.error("Failed to collect system metrics: %s", failed[Summary.name])
    return Summary.name not in failed


def cleanup_old_metrics() -> int:
    """Remove this host's points that are older than `retention_hours`, at each server and here.

    Returns:
        How many points were deleted: those of the place that had the most, since the others had the
        same ones. 0, with the error in the log, when it failed at a server; all others were cleaned
        up all the same.
    """
    try:
        return _process.agent().cleanup()
    except Exception as error:  # noqa: BLE001  # see the module
        _log.error("Failed to cleanup old metrics: %s", _sentence(error))
        return 0


def start_metrics_collection() -> None:
    """Take a reading at once and go on in the background; clean up at once and every hour."""
    try:
        _process.agent().start()
    except Exception as error:  # noqa: BLE001  # see the module
        _log.error("Metrics collection was not started: %s", _sentence(error))


def stop_metrics_collection() -> None:
    """End what `start_metrics_collection` began; the last reading is kept."""
    try:
        _process.stop()
    except Exception as error:  # noqa: BLE001  # see the module
        _log.error("Metrics collection was not stopped: %s", _sentence(error))


def is_metrics_collection_running() -> bool:
    """Return whether this process takes readings."""
    return _process.running


def register() -> None:
    """Start collection; the start-up hook for a web application. It ends with the process."""
    start_metrics_collection()


class _Process:
    """The agent of this process; while idle, it takes the current settings."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._agent: Agent | None = None
        self._inherited: Agent | None = None
        self.host: Host | None = None  # the last one, which knows what hangs
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def agent(self) -> Agent:
        """Return the agent, running or not, made if there is none."""
        with self._lock:
            # SQLite forbids a forked process to use a database that its parent has open, and to
            # drop the inherited agent would close that database.
            if self._inherited is not None:
                raise AgentError(
                    "this process was forked from the one that collects into "
                    f"{self._inherited.settings.data_dir}; collect there, or only after the fork"
                )
            if self._agent is None or not (self._agent.running or self._agent.busy):
                files = _files()
                settings = files.load().settings
                if self._agent is None:
                    self._agent = Agent(settings, files)
                self._agent.use(settings, files)
            return self._agent

    @property
    def running(self) -> bool:
        agent = self._agent
        return agent is not None and agent.running

    def stop(self) -> None:
        with self._lock:
            if self._agent is not None:
                self._agent.stop()

    def close(self) -> None:
        with self._lock:
            if self._agent is not None:
                self._agent.close()
                self._agent = None

    def _forget(self) -> None:
        self._lock = threading.RLock()
        self.host = None
        if self._agent is not None:
            self._agent.abandon()
            self._inherited, self._agent = self._agent, None


# Made at import, so that two threads that ask first at the same time get the same one.
_process = _Process()


def _files() -> Files:
    config_dir = find_config_dir(None, os.environ, Path.cwd())
    return Files(config_dir, os.environ, collectors.names())
