"""The rehearsal's own agent: a real one in a scratch folder, apart from everything else."""

import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pipeline import collectors
from pipeline.cli.rehearse.lifeline import tied
from pipeline.point import decode
from pipeline.settings import Settings
from pipeline.spool import Contents, Fact, SpoolReader

MEASUREMENT = "metrics_rehearsal"
_SERIES = 10
_BATCH = 50
"""Points of a batch: so few that a backlog takes many requests, and can be stopped between them."""
_INTERVAL_MS = 100
_NEVER_MS = 86_400_000
_LONGEST_TIMEOUT_S = 3.0
_ENDS_WITHIN_S = 10.0


class Scratch:
    """An agent that the rehearsal starts, kills and starts again.

    Args:
        folder: An existing, empty folder for it.
        settings: The user's settings, which say where it delivers to.
        host: The tag `host` of its points.
        proxy: The address of the proxy that it goes through.
        environ: Its environment, from which the user's settings are removed.
    """

    def __init__(
        self, folder: Path, settings: Settings, host: str, proxy: str, environ: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._data_dir = folder / "data"
        self._log = folder / "agent.log"
        self._process: subprocess.Popen[bytes] | None = None
        own = folder / "readings"
        own.mkdir()
        lines = (f"{MEASUREMENT},series={n} reading=1i\n" for n in range(_SERIES))
        (own / "rehearsal.lp").write_text("".join(lines), encoding="utf-8")
        given = _settings(settings, host, proxy, folder)
        self._env = {k: v for k, v in environ.items() if not k.startswith("METRICS_")}
        self._env |= {f"METRICS_{name.upper()}": str(value) for name, value in given.items()}

    def start(self, *, once: bool = False) -> None:
        """Start it; with `once` it takes one reading only, and delivers what waits."""
        interval_ms = _NEVER_MS if once else _INTERVAL_MS
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # this program itself
                tied([sys.executable, "-m", "pipeline", "run"]),
                env={**self._env, "METRICS_COLLECTION_INTERVAL_MS": str(interval_ms)},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """End it by SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_ENDS_WITHIN_S)
            self.kill()

    def failure(self) -> str | None:
        """Return the last line of its log if it ended by itself, or None."""
        if self._process is None or self._process.poll() is None:
            return None
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else f"status {self._process.returncode}"

    def trouble(self) -> str:
        """Return its last error."""
        try:
            with SpoolReader(self._data_dir) as reader:
                return reader.facts().get(Fact.LAST_ERROR, "nothing")
        except FileNotFoundError:
            return "nothing"

    def contents(self) -> Contents | None:
        """Return the account of its spool; None before there is one."""
        try:
            with SpoolReader(self._data_dir) as reader:
                return reader.contents()
        except FileNotFoundError:
            return None

    def taken(self) -> Counter[int]:
        """Return the number of points of each durable reading, by its time."""
        with SpoolReader(self._data_dir) as reader:
            return Counter(
                line.timestamp_ns
                for block in reader.history(0)
                for line in decode(block)
                if line.point.measurement == MEASUREMENT
            )


def _settings(settings: Settings, host: str, proxy: str, folder: Path) -> dict[str, object]:
    enabled = {f"collectors__{name}__enabled": name == "file" for name in collectors.names()}
    return {
        "config_dir": folder,  # which has no settings
        "influxdb_url": settings.influxdb_url,
        "influxdb_org": settings.influxdb_org,
        "influxdb_bucket": settings.influxdb_bucket,
        "influxdb_token": settings.influxdb_token,
        "influxdb_timeout_s": min(settings.influxdb_timeout_s, _LONGEST_TIMEOUT_S),
        "influxdb_verify_tls": settings.influxdb_verify_tls,
        "influxdb_ca_cert": settings.influxdb_ca_cert or "",
        "influxdb_proxy": proxy,
        # Nothing of others: it neither makes nor changes a bucket, and sweeps nothing.
        "bucket_retention": "off",
        "retention_hours": 0,
        "host": host,
        "data_dir": folder / "data",
        "spool_max_mb": 64,
        "batch_max_points": _BATCH,
        "flush_interval_ms": _INTERVAL_MS,
        "flush_jitter_ms": 0,
        "http_port": 0,
        **enabled,
        "collectors__file__directory": folder / "readings",
    }
