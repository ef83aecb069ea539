"""A host that says what a test wants."""

import os
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any, cast

import psutil

from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector
from pipeline.point import Point
from pipeline.settings import CollectorOptions
from tests.clocks import ManualClock

from .captured import LINUX, proc_stat
from .captured_services import SYSTEMCTL

DEFAULTS = CollectorOptions()
KIB = 1024


def mount(path: str, device: str, fstype: str = "ext4", opts: str = "rw,relatime") -> Any:
    return SimpleNamespace(mountpoint=path, device=device, fstype=fstype, opts=opts)


def statvfs(**changes: int) -> os.statvfs_result:
    """1000 blocks of 4 KiB, 200 of them reserved for root, 200 used; 50 of 200 inodes used."""
    stat = {"f_bsize": 65536, "f_frsize": 4096, "f_blocks": 1000, "f_bfree": 800, "f_bavail": 600}
    inodes = {"f_files": 200, "f_ffree": 150}
    return cast(os.statvfs_result, SimpleNamespace(**{**stat, **inodes, **changes}))


class TreePs:
    """psutil itself, which finds what the fake host has below its /proc in a real folder.

    What cannot be read is a folder in place of the file there: an OSError, also for root.
    """

    OF_PROC = (
        *("cpu_times", "cpu_stats", "boot_time", "virtual_memory", "swap_memory"),
        *("net_io_counters", "disk_io_counters"),
    )
    FILES = ("stat", "meminfo", "vmstat", "net/dev", "diskstats")

    def __init__(self, fake: "FakeHost") -> None:
        self._fake = fake
        self._folder = Path(mkdtemp())
        (self._folder / "net").mkdir()
        self._written: dict[str, bytes | None] = {}
        weakref.finalize(self, shutil.rmtree, self._folder)
        self.mounts = [mount("/", "/dev/vda1")]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in self.OF_PROC:
            raise AttributeError(name)
        return partial(self._ask, getattr(psutil, name))

    def _ask(self, function: Callable[..., Any], **options: bool) -> Any:
        before = psutil.PROCFS_PATH
        psutil.PROCFS_PATH = str(self._folder)
        try:
            for name in self.FILES:
                self._write(name)
            return function(**options)
        finally:
            psutil.PROCFS_PATH = before

    def _write(self, name: str) -> None:
        path, file = f"{self._fake.proc}/{name}", self._folder / name
        content = None if path in self._fake.errors else self._fake.files.get(path, b"")
        if content == self._written.get(name, ...):
            return
        if file.is_dir():
            file.rmdir()
        file.unlink(missing_ok=True)
        if path in self._fake.errors:
            file.mkdir()
        elif path in self._fake.files:
            file.write_bytes(self._fake.files[path])
        self._written[name] = content

    def cpu_count(self, logical: bool = True) -> int | None:
        return 2 if logical else 1

    def disk_partitions(self, all: bool = False) -> Any:  # noqa: A002 - psutil's name
        assert all
        return self.mounts

    def getloadavg(self) -> tuple[float, float, float]:
        return (0.5, 1.25, 2.0)


class ContainerPs:
    """psutil's functions that tell the same of a container's host as of the container."""

    def __init__(self, ps: TreePs) -> None:
        self.cpu_count = ps.cpu_count
        self.cpu_times = ps.cpu_times
        self.cpu_stats = ps.cpu_stats
        self.boot_time = ps.boot_time
        self.virtual_memory = ps.virtual_memory
        self.swap_memory = ps.swap_memory
        self.disk_io_counters = ps.disk_io_counters


class FakeHost:
    """A Host with what it is made of at hand.

    What `read_file`, `list_folder`, psutil and systemctl find is in `files`, and why they fail in
    `errors`.
    """

    def __init__(self) -> None:
        self.ps: Any = TreePs(self)
        self.clock = ManualClock()
        self.files: dict[str, bytes] = {**LINUX}
        self.errors: dict[str, OSError] = {}
        self.cpu(cpu0={"user": 10.0, "idle": 100.0}, cpu1={"user": 20.0, "idle": 200.0})
        self.root, self.proc, self.sys = "/", "/proc", "/sys"

    def host(self, statvfs: Callable[[str], os.statvfs_result] | None = None) -> Host:
        look = statvfs or (lambda path: _STATVFS)
        places = self.root, self.proc, self.sys
        return Host(
            *(self.ps, self.clock, look, self._read_file, *places, self._list_folder),
            *(self._read_blocks, self._run),
        )

    def contain(self) -> None:
        """See the host from a container, where its root folder is /host."""
        self.files = {f"/host{path}": content for path, content in self.files.items()}
        self.root, self.proc, self.sys = "/host", "/host/proc", "/host/sys"
        self.ps = ContainerPs(self.ps)

    def cpu(self, **cores: Mapping[str, float]) -> None:
        """Set what each core spent, in seconds by kind."""
        self.files["/proc/stat"] = proc_stat(**cores)

    def _read_file(self, path: str) -> bytes:
        if path in self.errors or path not in self.files:
            raise self.errors.get(path, FileNotFoundError(path))
        return self.files[path]

    def _read_blocks(self, path: str) -> Iterator[bytes]:
        text = self._read_file(path)
        yield from (text[at : at + 500] for at in range(0, len(text), 500))

    def _run(self, command: Sequence[str], timeout_s: float) -> bytes:
        root = [] if self.root == "/" else ["chroot", self.root]
        assert command[: len(root) + 2] == [*root, "systemctl", "list-units"]
        return self._read_file(f"{self.root.rstrip('/')}{SYSTEMCTL}")

    def _list_folder(self, path: str) -> list[str]:
        below = [one.removeprefix(f"{path}/") for one in self.files if one.startswith(f"{path}/")]
        if path in self.errors or not below:
            raise self.errors.get(path, FileNotFoundError(path))
        return list({one.partition("/")[0] for one in below})


_STATVFS = statvfs()


def read(collector: Collector) -> list[Point]:
    """The points of a reading in which nothing is left out."""
    items = list(collector.collect())
    points = [item for item in items if isinstance(item, Point)]
    assert points == items
    return points


def types(point: Point) -> dict[str, type]:
    return {field: type(value) for field, value in point.fields.items()}
