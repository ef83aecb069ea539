"""The agent and others as processes that are measured from outside."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from pipeline.cli.rehearse.lifeline import tied
from pipeline.spool import SpoolError, SpoolReader
from tests.influxd.server import InfluxServer

LOG = "log"
"""The name of the file with what a program said, where it is kept."""
# What a shell of a developer sets, a service does not have: it keeps what it compiled.
ENV = {
    name: text
    for name, text in os.environ.items()
    if not name.startswith("METRICS_") and name != "PYTHONDONTWRITEBYTECODE"
}
"""This process's environment without what would set the agent."""

_WITHIN_S = 60.0
_TAIL = 2_000


class Program:
    """A process that is measured from outside.

    Args:
        command: What to run; the path of the program comes first.
        env: Its environment; by default this process's.
        log: A file for what it says; by default it says it where this process does.
        ties: Whether it ends with this process however that ends, which costs its start some time.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        *,
        ties: bool = True,
    ) -> None:
        run = tied(command) if ties else command
        with ExitStack() as stack:
            said = stack.enter_context(log.open("wb")) if log else None
            self._process = subprocess.Popen(  # noqa: S603  # what a benchmark runs
                run, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        self._seen = psutil.Process(self._process.pid)
        self.log = log

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

    def peak_mib(self) -> float:
        """Return the most resident memory that it ever had, its children not counted.

        Returns:
            0 where the system does not tell.
        """
        status = Path(f"/proc/{self._process.pid}/status")
        if not status.exists():
            return 0.0
        rows = dict(row.split(":", 1) for row in status.read_text().splitlines())
        return int(rows["VmHWM"].split()[0]) / 2**10

    def pause(self) -> None:
        """Have it and its children stand still."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it and its children go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(psutil.NoSuchProcess):  # those that ended meanwhile
            alive = [self._seen, *self._seen.children(recursive=True)]
            for each in alive:
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(number)

    def said(self) -> str:
        """Return the end of what it said."""
        return self.log.read_text(errors="replace")[-_TAIL:] if self.log else ""

    def lines(self) -> list[str]:
        """Return the whole lines that it said so far."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log else ""
        return text.split("\n")[:-1]

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

    def until(
        self,
        there: Callable[[], bool],
        what: str,
        look_s: float = 0.05,
        within_s: float = _WITHIN_S,
    ) -> None:
        """Wait for something that it is to do.

        Raises:
            RuntimeError: It ended, or did not do it in time.
        """
        deadline = time.monotonic() + within_s
        while not there():
            if self.ended or time.monotonic() > deadline:
                raise RuntimeError(f"a program did not come to this: {what}\n{self.said()}")
            time.sleep(look_s)


def _cpu_s(process: psutil.Process) -> float:
    """Return the processor time of all threads of one process, in seconds.

    /proc has it in hundredths of a second, which are several readings' worth; the process's clock
    has it in nanoseconds.
    """
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(process.pid, ctypes.byref(clock)) == 0:
        return time.clock_gettime(clock.value)
    its = process.cpu_times()
    return its.user + its.system


@contextmanager
def ending(program: Program) -> Iterator[Program]:
    """Give a program; it is gone at the end."""
    try:
        yield program
    finally:
        program.kill()


class Agent(Program):
    """`metrics-pipeline run` as a process.

    Args:
        folder: Where its data directory and its log are made; there must be none.
        settings: Its settings, by name; the defaults hold for the others.
        ties: As of a program.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object], *, ties: bool = True) -> None:
        folder.mkdir(exist_ok=True)
        self.data = folder / "data"
        given = {"data_dir": self.data, "http_port": 0, "log_level": "error", **settings}
        self._began = time.monotonic()
        super().__init__(
            command(folder, "run"),
            ENV | {f"METRICS_{name.upper()}": str(value) for name, value in given.items()},
            folder / LOG,
            ties=ties,
        )

    def until_readings(self, wanted: int, look_s: float = 0.001) -> float:
        """Wait for so many durable readings; return the seconds since the start."""
        self.until(lambda: self._readings() >= wanted, f"{wanted} readings", look_s)
        return time.monotonic() - self._began

    def waiting(self) -> int:
        """Return how many points wait for delivery."""
        with SpoolReader(self.data) as reader:
            return reader.contents().backlog_points

    def _readings(self) -> int:
        try:
            with SpoolReader(self.data) as reader:
                return reader.contents().ticks
        except (FileNotFoundError, SpoolError):  # not made yet
            return 0


def command(config_dir: Path, *words: str) -> list[str]:
    """Return a command of the agent, with its settings in a folder."""
    return [sys.executable, "-m", "pipeline", "--config-dir", str(config_dir), *words]


def delivering(server: InfluxServer, bucket: str) -> dict[str, object]:
    """Return the settings of an agent that delivers."""
    return {
        "influxdb_url": server.url,
        "influxdb_org": server.org,
        "influxdb_token": server.token,
        "influxdb_bucket": bucket,
        "flush_jitter_ms": 0,
    }
