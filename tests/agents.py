"""The real agent as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.health import read_status
from pipeline.settings import Settings, find_config_dir, find_data_dir
from pipeline.spool import SpoolReader
from tests.influxd.api import Bucket

# Only a failure takes so long: ten times what a slow machine needs.
_WITHIN_S = 120.0
_HOUR_MS = 3_600_000
_NOW_MS = time.time_ns() // 10**6
SELDOM_MS = max(
    range(_HOUR_MS, 24 * _HOUR_MS + 1, _HOUR_MS), key=lambda interval: interval - _NOW_MS % interval
)
"""An interval that may be set, in milliseconds, of which no multiple comes for hours.

So the reading at the start is the only one. Of an hour, one may come in the midst of a test.
"""


def eventually(condition: Callable[[], object], what: str, within_s: float = _WITHIN_S) -> None:
    """Wait until a condition holds, and fail when it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"within {within_s:.0f} s, it did not happen: {what}"
        time.sleep(0.02)


def environment(data_dir: Path, bucket: Bucket | None = None, **settings: object) -> dict[str, str]:
    """Return an environment with these settings and no others."""
    base = {k: v for k, v in os.environ.items() if not k.startswith("METRICS_")}
    given: dict[str, object] = {"data_dir": data_dir, "http_port": 0, "host": "h1"}
    if bucket is not None:
        given |= {
            "influxdb_url": bucket.server.url,
            "influxdb_org": bucket.server.org,
            "influxdb_bucket": bucket.name,
            "influxdb_token": bucket.server.token,
        }
    given |= {"flush_interval_ms": 100, "flush_jitter_ms": 0, **settings}
    return base | {f"METRICS_{name.upper()}": str(value) for name, value in given.items()}


def mirror(bucket: Bucket, name: str = "b", /, **options: object) -> dict[str, Any]:
    """Return settings, as for `environment`, by which a bucket is a mirror."""
    given = {
        "url": bucket.server.url,
        "org": bucket.server.org,
        "bucket": bucket.name,
        "token": bucket.server.token,
    }
    return {f"mirrors__{name}__{option}": value for option, value in (given | options).items()}


def ticks(data_dir: Path) -> int:
    """Return how many readings were committed; 0 before the store is made."""
    try:
        with SpoolReader(data_dir) as reader:
            return reader.contents().ticks
    except FileNotFoundError:
        return 0


def times(data_dir: Path) -> list[int]:
    """Return the times of all readings as their lines have them, in the order of the store."""
    with SpoolReader(data_dir) as reader:
        return [int(block.split()[-1]) for block in reader.history(0)]


OF_THIS_TREE = (sys.executable, "-m", "pipeline")


class AgentProcess:
    """`metrics-pipeline run`, by another program where there is one before it."""

    def __init__(
        self,
        env: Mapping[str, str],
        cwd: Path,
        *options: str,
        before: Sequence[str] = (),
        program: Sequence[str] = OF_THIS_TREE,
    ) -> None:
        self._env, self._cwd = env, cwd
        self._config_dir = Path(options[1]) if options[:1] == ("--config-dir",) else None
        self._log = cwd / f"agent-{time.monotonic_ns()}.log"
        with self._log.open("wb") as log:
            command = [*before, *program, *options, "run"]
            self.process = subprocess.Popen(
                command, env=env, cwd=cwd, stderr=log, stdin=subprocess.DEVNULL
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def status(self) -> dict[str, Any]:
        """Return what `status --json` says, without a process for it, which takes long."""
        folder = find_config_dir(self._config_dir, self._env, self._cwd)
        settings = Settings(data_dir=find_data_dir(folder, self._env))
        return {"servers": {}, **read_status(settings).as_json()}

    def until(self, condition: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """Wait until `status` says so; return what it says."""
        last: dict[str, Any] = {}

        def holds() -> object:
            assert self.process.poll() is None, f"the agent ended: {self.log}"
            last.update(self.status())
            return condition(last)

        try:
            eventually(holds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; status {last}; log {self.log}") from error
        return last

    def ended(self) -> int:
        """Wait for its end; return its status."""
        return self.process.wait(_WITHIN_S)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        self.process.kill()
        self.ended()


@contextmanager
def running(
    env: Mapping[str, str],
    cwd: Path,
    *options: str,
    **programs: Sequence[str],
) -> Iterator[AgentProcess]:
    """Run the agent; it is gone at the end."""
    agent = AgentProcess(env, cwd, *options, **programs)
    try:
        yield agent
    finally:
        if agent.process.poll() is None:
            agent.kill()
