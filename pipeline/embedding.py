"""The agent inside another program, such as a web application: the public functions.

They log and never raise: a program must not fail because its metrics do. Their settings are those
of the command: the files in METRICS_CONFIG_DIR, the working directory or /etc/metrics-pipeline, and
METRICS_* variables.
"""

import atexit
import functools
import logging
import os
import threading
from pathlib import Path

from pipeline import collectors
from pipeline.agent import Agent
from pipeline.clock import SystemClock
from pipeline.collectors import Host
from pipeline.collectors.system_metrics import SystemMetrics
from pipeline.jobs import AgentError
from pipeline.point import FieldValue
from pipeline.settings import CollectorOptions, Files, find_config_dir

_log = logging.getLogger(__name__)


def collect_system_metrics() -> dict[str, FieldValue]:
    """Read the summary record: processor, temperature, memory and disk.

    Returns:
        The fields of `system_metrics`: `cpu_usage`, `memory_percent` and `disk_percent` in percent,
        `cpu_temperature` in °C (absent where the host has no sensor), sizes in bytes.

    Raises:
        Exception: What psutil raised, or SettingsError; this one function has no other way to tell.
    """
    host = Host.system(SystemClock(), _files().load().settings.host_root, os.environ)
    collector = SystemMetrics(host, CollectorOptions())
    return {key: value for point in collector.collect() for key, value in point.fields.items()}


def save_system_metrics() -> bool:
    """Take one reading with every enabled collector and make it durable.

    Returns:
        Whether that worked; False, with the error in the log, when the summary record could not be
        read or the reading not be kept.
    """
    try:
        failed = _process().agent().save()
    except Exception as error:  # noqa: BLE001  # see the module
        _log.error("System metrics were not saved: %s", error)
        return False
    if SystemMetrics.name in failed:
        _log.error("System metrics were not saved: collector %s failed", SystemMetrics.name)
    return SystemMetrics.name not in failed


def cleanup_old_metrics() -> int:
    """Remove this host's points that are older than `retention_hours`, in InfluxDB and here.

    Returns:
        How many points were deleted; 0, with the error in the log, when it failed.
    """
    try:
        return _process().agent().cleanup()
    except Exception as error:  # noqa: BLE001  # see the module
        _log.error("Old metrics were not cleaned up: %s", error)
        return 0


def start_metrics_collection() -> None:
    """Take a reading at once and go on in the background; clean up at once and every hour."""
    try:
        _process().agent().start()
    except Exception as error:  # noqa: BLE001  # see the module
        _log.error("Metrics collection was not started: %s", error)


def stop_metrics_collection() -> None:
    """End what `start_metrics_collection` began; the last reading is kept."""
    _process().stop()


def is_metrics_collection_running() -> bool:
    """Return whether this process takes readings."""
    return _process().running


def register() -> None:
    """Start collection; the start-up hook for a web application. It ends with the process."""
    start_metrics_collection()


class _Process:
    """This process's agent; while it does nothing, it takes the settings of the moment."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._agent: Agent | None = None
        self._inherited: Agent | None = None
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def agent(self) -> Agent:
        """Return the agent, running or not, made if there is none."""
        with self._lock:
            # SQLite forbids to open, in a forked process, what its parent had open; and to let go
            # of the inherited agent would close that.
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
        if self._agent is not None:
            self._agent.abandon()
            self._inherited, self._agent = self._agent, None


@functools.cache
def _process() -> _Process:
    return _Process()


def _files() -> Files:
    config_dir = find_config_dir(None, os.environ, Path.cwd())
    return Files(config_dir, os.environ, collectors.names())
