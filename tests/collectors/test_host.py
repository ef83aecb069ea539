"""Where a host is seen, from itself and from a container on it."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipeline.clock import SystemClock
from pipeline.collectors import Host, build
from pipeline.collectors._host.served import find_served
from pipeline.settings import CollectorOptions
from tests.clocks import ManualClock
from tests.machine import open_files

from .fakes import FakeRunner, Hang

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")  # and put it back
    return ManualClock()


@pytest.mark.parametrize(
    ("root", "environ", "places"),
    [
        ("/host", {}, ("/host", "/host/proc", "/host/sys")),
        ("/", {}, ("/", "/proc", "/sys")),
        ("/", {"HOST_PROC": "/p", "HOST_SYS": "/s"}, ("/", "/p", "/s")),
        ("/host", {"HOST_PROC": "/proc", "HOST_SYS": ""}, ("/host", "/proc", "/host/sys")),
    ],
)
def test_places(
    clock: ManualClock, root: str, environ: dict[str, str], places: tuple[str, str, str]
) -> None:
    host = Host.system(clock, Path(root), environ)
    assert (host.root, host.proc, host.sys) == places
    assert places[1] == psutil.PROCFS_PATH
    Host.system(clock)  # its own again
    assert psutil.PROCFS_PATH == "/proc"


def test_a_program_is_run_in_an_environment_of_its_own_and_ended_in_time(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("LC_ALL", "SYSTEMD_COLORS"):
        monkeypatch.setenv(name, "de_DE.UTF-8")
    host = Host.system(clock)
    assert host.run(["sh", "-c", "echo $LC_ALL $SYSTEMD_COLORS"], 60) == b"C\n"
    os.mkfifo(never := tmp_path / "never")
    with pytest.raises(TimeoutError, match="no answer within 10 ms"):
        host.run(["cat", str(never)], 0.01)
    with pytest.raises(TimeoutError, match="no answer within 10 ms"):  # its child has the pipe
        host.run(["sh", "-c", "sleep 1 & exit"], 0.01)
    with pytest.raises(OSError, match=r"^it prints more than \d+ bytes$"):
        host.run(["cat", "/dev/zero"], 60)
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        host.run(["no-such-program"], 60)
    with pytest.raises(OSError, match=r"^that is why$"):
        host.run(["sh", "-c", "echo first >&2; echo that is why >&2; exit 3"], 60)
    with pytest.raises(OSError, match=r"^it ended with status 3$"):
        host.run(["sh", "-c", "exit 3"], 60)


def test_a_long_file_is_read_whole_or_part_by_part(clock: ManualClock, tmp_path: Path) -> None:
    content, path = os.urandom(100_000), tmp_path / "long"
    path.write_bytes(content)
    host = Host.system(clock)
    assert host.read_file(str(path)) == content
    parts = [*host.read_blocks(str(path))]
    assert b"".join(parts) == content
    assert max(map(len, parts)) < 20_000


CONTAINER = """
import ctypes, os, sys
from tests.collectors.hung import enter_namespace
enter_namespace()
libc = ctypes.CDLL(None, use_errno=True)
box, seen = sys.argv[1].encode(), sys.argv[2].encode()
BIND, RECURSIVE = 0x1000, 0x4000
for source, at, kind, flags in (
    (b"container", box, b"tmpfs", 0),  # mounts that the host must not be said to have
    (b"/", seen, None, BIND | RECURSIVE),
):
    os.makedirs(at, exist_ok=True)
    assert not libc.mount(source, at, kind, flags, None), os.strerror(ctypes.get_errno())
os.execvp(sys.executable, [sys.executable, "-m", "pipeline", "once", "--json"])
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_in_a_mount_namespace_of_its_own_the_hosts_mounts_are_told(tmp_path: Path) -> None:
    box = tmp_path / "box"
    seen = box / "hostfs"
    done = subprocess.run(
        [sys.executable, "-c", CONTAINER, str(box), str(seen)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "HOST_MOUNT_PREFIX": str(seen)},
        timeout=60,
    )
    points = json.loads(done.stdout)
    disks = {p["tags"]["path"]: p["fields"] for p in points if p["measurement"] == "disk"}
    assert not [path for path in disks if str(tmp_path) in path]
    root = os.statvfs("/")
    assert disks["/"]["total"] == root.f_blocks * root.f_frsize
    assert {p["measurement"] for p in points} >= {
        *("system_metrics", "mem", "swap", "cpu", "kernel", "system", "net", "nstat"),
        *("diskio", "disk", "processes", "linux_sysctl_fs"),
    }


@pytest.mark.parametrize(
    ("error", "may_hang"),
    [(Hang(), True), (OSError(107, "not connected"), True), (FileNotFoundError(), False)],
)
def test_a_file_that_cannot_be_looked_at_may_hang(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, *, may_hang: bool
) -> None:
    stat = Path.stat

    def look(path: Path) -> os.stat_result:
        if path.name == "uptime":
            raise error
        return stat(path)

    monkeypatch.setattr(Path, "stat", look)
    assert ("/proc/uptime" in find_served("/proc", FakeRunner())) == may_hang


@pytest.mark.slow
def test_what_cannot_be_read_leaves_nothing_open(clock: ManualClock, tmp_path: Path) -> None:
    host, before = Host.system(clock), open_files()
    for path in (tmp_path / "missing", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match=r"No such file|Is a directory|It is longer than"):
            host.read_file(str(path))
    assert open_files() == before


@pytest.mark.slow
def test_many_processes_need_few_files() -> None:
    """As under `ulimit -n`: the store and the connection need theirs, too."""
    guards = build(Host.system(SystemClock()), {"process": CollectorOptions(enabled=True)})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(20)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files() + 8, hard))
    try:
        outcomes = [guard.run(number, {}) for number in (1, 2) for guard in guards]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
    assert [outcome.error for outcome in outcomes if outcome.error] == []
