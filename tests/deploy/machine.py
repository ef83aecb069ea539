"""A machine with systemd as its first process: a systemd-nspawn, on a disk of its own."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.agents import eventually
from tests.deploy import debian

UNIT = "metrics-pipeline.service"
FOLDERS = "/opt/metrics-pipeline /etc/metrics-pipeline /var/lib/metrics-pipeline"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ANEW = f"systemctl daemon-reload; systemctl reset-failed {UNIT}; systemctl restart {UNIT}"
_ENVIRONMENT = [f"PATH={_PATH}", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
_UP = {"running\n", "degraded\n"}
_NAMESPACES = ["-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]


class Machine:
    """A machine that runs.

    Attributes:
        root: Its root folder, as this machine sees it.
        enter: The words before a command that is to run in it.
    """

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        (root / "etc/hosts").write_text(f"127.0.0.1 localhost {os.uname().nodename}\n")
        self.enter = ["nsenter", "-t", str(leader), *_NAMESPACES, "env", "-i"]
        self.enter += _ENVIRONMENT

    def try_(self, script: str, within_s: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run a shell script in it, both outputs in one."""
        return subprocess.run(
            [*self.enter, "sh", "-euc", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=within_s,
        )

    def run(self, script: str, within_s: float = 300.0) -> str:
        """Run a shell script in it that succeeds; return its output."""
        done = self.try_(script, within_s)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{self.journal()}"
        return done.stdout.strip()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Put a file into it."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        target.chmod(mode)

    def show(self, name: str) -> str:
        """Return a property of the unit, such as `MainPID`."""
        return self.run(f"systemctl show --value -p {name} {UNIT}")

    def journal(self) -> str:
        """Return what the unit has said so far, systemd's own words about it included."""
        return self.try_(f"journalctl --sync; journalctl --no-pager -o cat -u {UNIT}").stdout

    def status(self) -> dict[str, Any]:
        """Return what the agent's own `status` says."""
        told = self.run("metrics-pipeline --config-dir /etc/metrics-pipeline status --json")
        found: dict[str, Any] = json.loads(told)
        return found

    def until_ticks(self, more: int = 2) -> int:
        """Wait for that many more readings; return how many there are."""
        wanted = self.status()["ticks"] + more
        eventually(lambda: self.status()["ticks"] >= wanted, f"{more} more readings")
        return int(self.status()["ticks"])

    def settle(self, settings: str = "collection_interval_ms = 200\n") -> None:
        """Give it these settings, nothing else, and start the unit anew."""
        self.write("/etc/metrics-pipeline/settings.toml", settings)
        self.run(f"rm -rf /etc/systemd/system/{UNIT}.d /etc/metrics-pipeline/.secrets.toml")
        self.run("rm -rf /etc/credstore")
        self.run(ANEW)


@contextmanager
def booted(folder: Path, *options: str) -> Iterator[Machine]:
    """Boot a machine; it is gone at the end.

    Args:
        folder: An empty one for its disk.
        options: Of systemd-nspawn; without --private-network it has this machine's network.
    """
    name = f"metrics-{time.monotonic_ns()}"
    with debian.disk(folder) as root, (folder / "console").open("wb") as console:
        how = f"--boot --register=no --keep-unit --resolv-conf=copy-host --machine={name}"
        nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", f"--directory={root}", *how.split(), *options],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _up(root, nspawn, folder / "console")
        finally:
            # The second one has nspawn end its machine at once.
            nspawn.terminate()
            nspawn.terminate()
            try:
                nspawn.wait(30)
            except subprocess.TimeoutExpired:
                nspawn.kill()
                nspawn.wait()


def _up(root: Path, nspawn: "subprocess.Popen[bytes]", console: Path) -> Machine:
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    found: list[Machine] = []

    def is_up() -> bool:
        assert nspawn.poll() is None, console.read_text(errors="replace")
        # Its first child is not yet the machine's first process, but makes that.
        found[:] = [Machine(root, int(child)) for child in children.read_text().split()]
        return any(one.try_("systemctl is-system-running").stdout in _UP for one in found)

    try:
        eventually(is_up, "the machine is up", 60)
    except AssertionError as error:
        raise AssertionError(f"{error}: {console.read_text(errors='replace')}") from error
    return found[0]
