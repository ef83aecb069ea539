"""InfluxDB as a bare process: to be had where there is no Docker, and to be broken on purpose."""

import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.cli.rehearse.lifeline import tied
from tests.influxd.server import ORG, InfluxServer, onboard, wait_until_healthy

_LOOPBACK = "127.0.0.1"
# Below the range that systems draw the ports of outgoing connections from: a client that retries
# against a stopped server could otherwise be given that very port, and talk to itself.
_PORTS = range(20_000, 32_000)
_ATTEMPTS = 20
_STOP_WITHIN_S = 120.0
_LOG_TAIL = 2_000


def free_port() -> int:
    """Returns a port of loopback at which nobody listens."""
    for _ in range(_ATTEMPTS):
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            if probe.connect_ex((_LOOPBACK, port)) != 0:
                return port
    raise RuntimeError("no free port was found")


class InfluxProcess:
    """One influxd with its own port and data, which outlive `stop` and `kill`.

    It dies with the thread that called `start`, so start it in one that stays.

    Args:
        binary: The influxd to run.
        folder: An existing folder for its data and log.
        flags: More of its flags.
        set_up: Whether the first start also sets it up; else its token is "".
    """

    def __init__(self, binary: Path, folder: Path, *flags: str, set_up: bool = True) -> None:
        self._binary = binary
        self._flags = flags
        self._set_up = set_up
        self._folder = folder
        self._log = folder / "influxd.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._server: InfluxServer | None = None

    @property
    def server(self) -> InfluxServer:
        """The server as tests know it; the same before and after `stop`."""
        assert self._server is not None, "it has not been started yet"
        return self._server

    @property
    def pid(self) -> int:
        """The process that runs now."""
        assert self._process is not None, "it is not running"
        return self._process.pid

    def start(self) -> None:
        """Starts it and waits until it is ready; the first time, sets it up."""
        assert self._process is None, "it is running already"
        for _ in range(_ATTEMPTS):
            url = self._server.url if self._server else f"http://{_LOOPBACK}:{free_port()}"
            self._spawn(url)
            if wait_until_healthy(url, alive=self._alive):
                break
            self.kill()
            # Another process may have taken the port since; anything else is a failure.
            if "address already in use" not in self._log_tail():
                raise RuntimeError(f"influxd ended at once: {self._log_tail()}")
        else:
            raise RuntimeError(f"influxd could not bind a port: {self._log_tail()}")
        if self._server is None:
            token = onboard(url) if self._set_up else ""
            self._server = InfluxServer(url, ORG, token, way="process")

    def stop(self) -> None:
        """Ends it as an operator would, with SIGTERM, and waits."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_WITHIN_S)
            finally:
                self.kill()

    def kill(self) -> None:
        """Ends it as a crash would, with SIGKILL; does nothing when it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-_LOG_TAIL:]

    def _spawn(self, url: str) -> None:
        influxd = [
            str(self._binary),
            f"--bolt-path={self._folder / 'influxd.bolt'}",
            f"--engine-path={self._folder / 'engine'}",
            f"--sqlite-path={self._folder / 'influxd.sqlite'}",
            f"--http-bind-address={url.removeprefix('http://')}",
            "--reporting-disabled",
            "--log-level=error",
            *self._flags,
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                tied(influxd),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,  # influxd would read a config file in the working directory,
                env={"HOME": str(self._folder)},  # in the home, and its variables
                start_new_session=True,  # Ctrl-C is for pytest, which then cleans up
            )


@contextmanager
def running(
    binary: Path, folder: Path, *flags: str, set_up: bool = True
) -> Iterator[InfluxProcess]:
    """Runs an influxd and removes it with its data at the end.

    The folder should be one of pytest's temporary ones: those it removes itself in a later run
    where this one is killed.

    Args:
        binary: The influxd to run.
        folder: An existing, empty folder.
        flags: More of its flags.
        set_up: Whether to set it up.
    """
    process = InfluxProcess(binary, folder, *flags, set_up=set_up)
    try:
        process.start()
        yield process
    finally:
        process.kill()
        shutil.rmtree(folder, ignore_errors=True)
