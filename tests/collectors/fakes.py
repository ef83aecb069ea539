"""A host that says what a test wants."""

import os
import re
import shutil
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import psutil

from pipeline.clock import SystemClock
from pipeline.collectors import Guard, Host, Outcome
from pipeline.collectors._host.timeouts import TimeoutRunner
from pipeline.collectors.base import Collector
from pipeline.point import FieldValue, Point, decode
from pipeline.settings import CollectorOptions
from tests.clocks import ManualClock

from .captured import LINUX, proc_stat
from .captured_services import SYSTEMCTL

DEFAULTS = CollectorOptions()
KIB = 1024

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")


def mount(path: str, device: str, fstype: str = "ext4", opts: str = "rw,relatime") -> Any:
    return SimpleNamespace(mountpoint=path, device=device, fstype=fstype, opts=opts)


def statvfs(**changes: int) -> os.statvfs_result:
    """1000 blocks of 4 KiB, 200 of them reserved for root, 200 used; 50 of 200 inodes used."""
    stat = {"f_bsize": 65536, "f_frsize": 4096, "f_blocks": 1000, "f_bfree": 800, "f_bavail": 600}
    inodes = {"f_files": 200, "f_ffree": 150}
    return cast(os.statvfs_result, SimpleNamespace(**{**stat, **inodes, **changes}))


class TreePs:
    """psutil itself, which finds what the fake host has below its /proc in a real folder.

    What cannot be read is a folder in place of the file there: an OSError, also for root. Of a
    container's host it tells less.
    """

    OF_ANY_PROC = (
        *("cpu_times", "cpu_stats", "boot_time", "virtual_memory", "swap_memory"),
        "disk_io_counters",
    )
    OF_PROC = (*OF_ANY_PROC, "net_io_counters")
    FILES = ("stat", "meminfo", "vmstat", "net/dev", "diskstats")

    def __init__(self, fake: "FakeHost") -> None:
        self._fake = fake
        self._written: dict[str, bytes | None] = {}
        self.mounts = [mount("/", "/dev/vda1")]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in (self.OF_PROC if self._fake.root == "/" else self.OF_ANY_PROC):
            raise AttributeError(name)
        return partial(self._ask, getattr(psutil, name))

    @cached_property
    def _folder(self) -> Path:
        folder = Path(mkdtemp())
        (folder / "net").mkdir()
        weakref.finalize(self, shutil.rmtree, folder)
        return folder

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
        path, file = f"/proc/{name}", self._folder / name
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
        assert self._fake.root == "/"
        return self.mounts

    def getloadavg(self) -> tuple[float, float, float]:
        assert self._fake.root == "/"
        return (0.5, 1.25, 2.0)


class Hang(BaseException):
    """Raised in place of never returning: nothing but the fake runner catches it."""


class FakeRunner(TimeoutRunner):
    """Makes the calls at once, and takes one that raises Hang for one that never returns.

    While there is a `refusal`, it is the answer to all, as when no thread can be started.
    """

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.refusal: RuntimeError | None = None
        self._hung: set[Hashable] = set()

    def run(self, calls: Mapping[K, Callable[[], A]], timeout_s: float) -> dict[K, A | Exception]:
        return {key: self._answer(key, call, timeout_s) for key, call in calls.items()}

    def _answer(self, key: Hashable, call: Callable[[], A], timeout_s: float) -> A | Exception:
        if self.refusal:
            return self.refusal
        if key not in self._hung:
            try:
                return call()
            except Hang:
                self._hung.add(key)
            except Exception as error:  # noqa: BLE001 - as the real one
                return error
        return self.no_answer(timeout_s)

    def wake(self) -> None:
        """Let all calls that hang return."""
        self._hung.clear()


class FakeHost:
    """A Host with what it is made of at hand.

    What `read_file`, `list_folder`, psutil and systemctl find is in `files`, and why they fail in
    `errors`, by the host's own paths.
    """

    def __init__(self) -> None:
        self.ps: Any = TreePs(self)
        self.clock = ManualClock()
        self.runner = FakeRunner()
        self.files: dict[str, bytes] = {**LINUX}
        self.errors: dict[str, BaseException] = {}
        self.cpu(cpu0={"user": 10.0, "idle": 100.0}, cpu1={"user": 20.0, "idle": 200.0})
        self.root = "/"

    def host(self, statvfs: Callable[[str], os.statvfs_result] | None = None) -> Host:
        root = self.root.rstrip("/")
        return Host(
            *(self.ps, self.clock, statvfs or (lambda path: _STATVFS), self._read_file),
            *(self.root, f"{root}/proc", f"{root}/sys", self._list_folder),
            *(self._read_blocks, self._run, self.runner),
        )

    def contain(self, root: str = "/host") -> None:
        """See the host from a container, where its root folder is another one."""
        self.root = root

    def cpu(self, **cores: Mapping[str, float]) -> None:
        """Set what each core spent, in seconds by kind."""
        self.files["/proc/stat"] = proc_stat(**cores)

    def change(self, path: str, before: bytes, after: bytes) -> None:
        """Change what is in a file; `before` is a regular expression, found once or more."""
        changed, times = re.subn(before, lambda _: after, self.files[path], flags=re.MULTILINE)
        assert times
        self.files[path] = changed

    def without(self, *parts: str) -> None:
        """Remove all files whose paths have one of these parts."""
        its = self.files.items()
        self.files = {path: text for path, text in its if not any(part in path for part in parts)}

    def find(self, path: str) -> bytes | None:
        """Return what is in a file that is seen at a path; None if there is none.

        Raises:
            BaseException: What is in `errors` for it.
        """
        own = self._own(path)
        if own in self.errors:
            raise self.errors[own]
        return self.files.get(own)

    def _own(self, path: str) -> str:
        """Return where the host itself has what is seen at a path."""
        if self.root == "/":
            return path
        own = path.removeprefix(self.root)
        if own == path or own.startswith("/proc/net"):
            return "a container's own"
        return own.replace("/proc/1/net", "/proc/net")

    def _read_file(self, path: str) -> bytes:
        text = self.find(path)
        if text is None:
            raise FileNotFoundError(path)
        return text

    def _read_blocks(self, path: str) -> Iterator[bytes]:
        text = self._read_file(path)
        yield from (text[at : at + 500] for at in range(0, len(text), 500))

    def _run(self, command: Sequence[str], timeout_s: float) -> bytes:
        root = [] if self.root == "/" else ["chroot", self.root]
        assert command[: len(root) + 2] == [*root, "systemctl", "list-units"]
        return self._read_file(f"{self.root.rstrip('/')}{SYSTEMCTL}")

    def _list_folder(self, path: str) -> list[str]:
        self.find(path)
        head = f"{self._own(path)}/"
        below = [one.removeprefix(head) for one in self.files if one.startswith(head)]
        if not below:
            raise FileNotFoundError(path)
        return list({one.partition("/")[0] for one in below})


_STATVFS = statvfs()


def read(collector: Collector) -> list[Point]:
    """The points of a reading in which nothing is left out."""
    items = list(collector.collect())
    points = [item for item in items if isinstance(item, Point)]
    assert points == items
    return points


def written(outcome: Outcome) -> list[Point]:
    """The points in the lines of a reading."""
    return [line.point for line in decode("\n".join(outcome.lines))]


def guarded(collector: Collector, options: CollectorOptions = DEFAULTS) -> Outcome:
    """A reading by way of a guard."""
    return Guard(collector, options, collector.host.clock).run(1, {})


def figures(points: Iterable[Point]) -> dict[str, FieldValue]:
    """All figures of points, by the values of their tags and their fields."""
    return {
        " ".join([*point.tags.values(), field]): value
        for point in points
        for field, value in point.fields.items()
    }


def types(point: Point) -> dict[str, type]:
    return {field: type(value) for field, value in point.fields.items()}
