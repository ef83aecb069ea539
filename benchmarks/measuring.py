"""What the benchmarks share: tables, samples, and the agent as a process."""

import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import psutil

from pipeline.spool.schema import NAME

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
        rows: A name and its samples.
    """
    click.echo(f"\n{title:<46} {'min':>9} {'median':>9} {'max':>9}")
    for name, samples in rows:
        figures = (min(samples), statistics.median(samples), max(samples))
        click.echo(f"  {name:<44}" + "".join(f" {figure:>9.3f}" for figure in figures))


class Agent:
    """`metrics-pipeline run` as a process.

    Args:
        data_dir: Its data directory, which it makes.
        settings: Its settings, by name; the defaults hold for the others.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, object]) -> None:
        given = {"data_dir": data_dir, "http_port": 0, "log_level": "error", **settings}
        self._spool = data_dir / NAME
        self._began = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603  # this project's own command
            [sys.executable, "-m", "pipeline", "--config-dir", data_dir.parent, "run"],
            env={
                **{
                    name: text
                    for name, text in os.environ.items()
                    if not name.startswith("METRICS_")
                },
                **{f"METRICS_{name.upper()}": str(value) for name, value in given.items()},
            },
            stdin=subprocess.DEVNULL,
        )
        self._seen = psutil.Process(self._process.pid)

    def until_ticks(self, wanted: int, look_s: float = 0.001) -> float:
        """Wait for so many durable readings; return the seconds since the start."""
        deadline = time.monotonic() + _WITHIN_S
        while self._ticks() < wanted:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"the agent took no {wanted} readings")
            time.sleep(look_s)
        return time.monotonic() - self._began

    def _ticks(self) -> int:
        try:
            with sqlite3.connect(f"{self._spool.as_uri()}?mode=ro", uri=True) as db:
                return int(db.execute("SELECT count(*) FROM tick").fetchone()[0])
        except sqlite3.OperationalError:  # not made yet
            return 0

    def cpu_s(self) -> float:
        """Return the processor time that it has used, in seconds."""
        times = self._seen.cpu_times()
        return times.user + times.system

    def resident_mib(self) -> float:
        """Return its resident memory."""
        return self._seen.memory_info().rss / 2**20

    def stop(self) -> float:
        """End it as systemd would; return the seconds it took."""
        began = time.monotonic()
        self._process.terminate()
        if self._process.wait(_WITHIN_S) != 0:
            raise RuntimeError(f"the agent ended with status {self._process.returncode}")
        return time.monotonic() - began

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.wait(_WITHIN_S)


@contextmanager
def running(data_dir: Path, settings: Mapping[str, object]) -> Iterator[Agent]:
    """Run an agent; it is gone at the end."""
    agent = Agent(data_dir, settings)
    try:
        yield agent
    finally:
        agent.kill()
