"""What the benchmarks share: tables, samples, and the agent and others as processes."""

import ctypes
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import psutil

from pipeline.spool.schema import NAME
from tests.influxd.server import InfluxServer

LOG = "log"
"""The name of the file with what a program said, where it is kept."""

_WITHIN_S = 30.0


def machine() -> None:
    """Print what the figures were measured on."""
    click.echo(
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"{psutil.cpu_count()} cores, {len(psutil.pids())} processes"
    )


def table(title: str, rows: Iterable[tuple[str, Sequence[float]]]) -> None:
    """Print the least, the median and the greatest of each row's samples.

    Args:
        title: What was measured, units included.
        rows: A name and its samples; one without samples was not measured.
    """
    click.echo(f"\n{title:<46} {'min':>9} {'median':>9} {'max':>9}")
    for name, samples in rows:
        figures = (min(samples), statistics.median(samples), max(samples)) if samples else ()
        told = [f"{figure:.3f}" for figure in figures] or 3 * ["-"]
        click.echo(f"  {name:<44}" + "".join(f" {figure:>9}" for figure in told))


class Program:
    """A process that is measured from outside.

    Args:
        command: What to run.
        env: Its environment; by default this process's.
        log: A file for what it says; by default it says it where this process does.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        with ExitStack() as stack:
            said = stack.enter_context(log.open("wb")) if log else None
            self._process = subprocess.Popen(  # noqa: S603  # what a benchmark runs
                command, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        self._seen = psutil.Process(self._process.pid)

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def cpu_s(self) -> float:
        """Return the processor time that it and its children have used, in seconds."""
        its = self._seen.cpu_times()
        alive = [self._seen, *self._seen.children(recursive=True)]
        return its.children_user + its.children_system + sum(map(_cpu_s, alive))

    def resident_mib(self) -> float:
        """Return the resident memory of it and its children."""
        alive = [self._seen, *self._seen.children(recursive=True)]
        return sum(float(each.memory_info().rss) for each in alive) / 2**20

    def stop(self) -> float:
        """End it as systemd would; return the seconds it took."""
        began = time.monotonic()
        self._process.terminate()
        if self._process.wait(_WITHIN_S) != 0:
            raise RuntimeError(f"a program ended with status {self._process.returncode}")
        return time.monotonic() - began

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.wait(_WITHIN_S)


def _cpu_s(process: psutil.Process) -> float:
    """Return the processor time of all threads of one process, in seconds.

    /proc has it in hundredths of a second, which are several readings' worth; the process's clock,
    which Linux has, in nanoseconds.
    """
    if sys.platform == "linux":
        clock = ctypes.c_int()
        if ctypes.CDLL(None).clock_getcpuclockid(process.pid, ctypes.byref(clock)) == 0:
            return time.clock_gettime(clock.value)
    its = process.cpu_times()
    return its.user + its.system


class Agent(Program):
    """`metrics-pipeline run` as a process.

    Args:
        data_dir: Its data directory, which it makes.
        settings: Its settings, by name; the defaults hold for the others.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, object]) -> None:
        given = {"data_dir": data_dir, "http_port": 0, "log_level": "error", **settings}
        self._spool = data_dir / NAME
        self._began = time.monotonic()
        others = {k: text for k, text in os.environ.items() if not k.startswith("METRICS_")}
        super().__init__(
            [sys.executable, "-m", "pipeline", "--config-dir", data_dir.parent, "run"],
            others | {f"METRICS_{name.upper()}": str(value) for name, value in given.items()},
        )

    def until_ticks(self, wanted: int, look_s: float = 0.001) -> float:
        """Wait for so many durable readings; return the seconds since the start."""
        deadline = time.monotonic() + _WITHIN_S
        while self._ticks() < wanted:
            if time.monotonic() > deadline or self.ended:
                raise RuntimeError(f"the agent took no {wanted} readings")
            time.sleep(look_s)
        return time.monotonic() - self._began

    def _ticks(self) -> int:
        try:
            with sqlite3.connect(f"{self._spool.as_uri()}?mode=ro", uri=True) as db:
                return int(db.execute("SELECT count(*) FROM tick").fetchone()[0])
        except sqlite3.OperationalError:  # not made yet
            return 0


@contextmanager
def running(data_dir: Path, settings: Mapping[str, object]) -> Iterator[Agent]:
    """Run an agent; it is gone at the end."""
    agent = Agent(data_dir, settings)
    try:
        yield agent
    finally:
        agent.kill()


def delivering(server: InfluxServer, bucket: str) -> dict[str, object]:
    """Return the settings of an agent that delivers each second."""
    return {
        "influxdb_url": server.url,
        "influxdb_org": server.org,
        "influxdb_token": server.token,
        "influxdb_bucket": bucket,
        "flush_interval_ms": 1000,
        "flush_jitter_ms": 0,
    }
