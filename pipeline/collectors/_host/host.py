"""The host that the collectors read."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Self, TypeVar

from pipeline.clock import Clock, SystemClock
from pipeline.collectors._host.programs import run
from pipeline.collectors._host.served import ServedFiles, ServedPsutil, find_served
from pipeline.collectors._host.timeouts import TimeoutRunner

T = TypeVar("T")

# The collectors of one tick follow each other within less; half the shortest interval.
_ONE_TICK_S = 0.005
_CHUNK = 16_384

# Something in the place of a file may have no end. The longest file is /proc/interrupts, with 11
# bytes for each interrupt and core: this is enough for 3000 interrupts of 500 cores.
_LONGEST = 16 * 1024**2

# The share of the interval that a tick may wait for answers; the rest is for everything else. On a
# busy machine a thread may take a good part of a second, and has not hung.
_LONGEST_WAIT, _LEAST_WAIT_S = 0.9, 0.5


def _read_file(path: str) -> bytes:
    # By descriptor: there is a file for each process, and `open` takes half as long again.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        parts, length = [], 0
        while more := os.read(descriptor, _CHUNK):
            parts.append(more)
            length += len(more)
            if length > _LONGEST:
                raise OSError(errno.EFBIG, f"It is longer than {_LONGEST} bytes", path)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _read_blocks(path: str) -> Iterator[bytes]:
    with Path(path).open("rb", buffering=0) as file:
        while block := file.read(_CHUNK):
            yield block


def _load_psutil(proc: str) -> Any:
    import psutil  # noqa: PLC0415 - costs memory that `status` and `settings` do without

    # psutil has no other way to be told, so that a process can read one host only. It is set here
    # alone, and each time: another root may have been read before.
    psutil.PROCFS_PATH = proc
    return psutil


@dataclass(frozen=True, slots=True)
class Host:
    """The source of a host's figures, passed in so that a test can pass another.

    Attributes:
        ps: The module psutil, or an object with the functions of it that are used.
        clock: Time.
        statvfs: `os.statvfs`.
        read_file: Returns what a file of the kernel's holds, or raises OSError: what psutil
            leaves out.
        root: Where the host's root folder is seen; other than "/" when the agent is in a container.
        proc: Where the host's /proc is seen.
        sys: Where the host's /sys is seen.
        list_folder: Returns the names in a folder of the kernel's, in any order.
        read_blocks: Yields what a file of the kernel's holds, part by part, so that a long one
            need not be held.
        run: Runs a program, ends it after so many seconds, and returns what it printed; a
            TimeoutError then, and an OSError with its words when it fails or prints without end. It
            may hang all the same, so it is for the `runner`.
        runner: Makes the calls that may never return; a key begins with the name of its kind. A new
            collector does not repeat a call that still hangs for the one before it. Its clock is a
            real one: answers come from another thread, whatever the time is here.
    """

    ps: Any
    clock: Clock
    statvfs: Callable[[str], os.statvfs_result] = os.statvfs
    read_file: Callable[[str], bytes] = _read_file
    root: str = "/"
    proc: str = "/proc"
    sys: str = "/sys"
    list_folder: Callable[[str], list[str]] = os.listdir
    read_blocks: Callable[[str], Iterator[bytes]] = _read_blocks
    run: Callable[[Sequence[str], float], bytes] = run
    runner: TimeoutRunner = field(
        default_factory=lambda: TimeoutRunner(SystemClock()), repr=False, compare=False
    )
    _readings: dict[Any, tuple[float, Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def system(
        cls,
        clock: Clock,
        root: Path = Path("/"),
        environ: Mapping[str, str] | None = None,
        before: Self | None = None,
    ) -> Self:
        """Return this machine, as psutil reads it.

        Args:
            clock: Time.
            root: Where its root folder is seen.
            environ: The environment: HOST_PROC and HOST_SYS, which Telegraf obeys too, name its
                /proc and /sys where these are not in that folder.
            before: The host that was read before, if any: its runner knows which calls still hang.
        """
        environ = environ or {}
        proc = environ.get("HOST_PROC") or str(root / "proc")
        sys = environ.get("HOST_SYS") or str(root / "sys")
        runner = before.runner if before else TimeoutRunner(SystemClock())
        load, read = partial(_load_psutil, proc), _read_file
        if served := find_served(proc, runner):
            ps: Any = ServedPsutil(load, runner)
            read_file: Callable[[str], bytes] = ServedFiles(read, served, runner)
        else:
            ps, read_file = load(), read
        return cls(
            ps, clock, read_file=read_file, root=str(root), proc=proc, sys=sys, runner=runner
        )

    @property
    def is_own(self) -> bool:
        """Whether it is where this process lives itself, and not a container's host."""
        return (self.root, self.proc, self.sys) == ("/", "/proc", "/sys")

    @property
    def net(self) -> str:
        """Where the host's own network is told: /proc/net is the reader's, whatever /proc it is in.

        The host's is its first process's.
        """
        return f"{self.proc}/net" if self.is_own else f"{self.proc}/1/net"

    def read_net(self, name: str) -> bytes:
        """Return what a file of the host's own network holds, such as `snmp`.

        Raises:
            FileNotFoundError: The kernel has none.
            OSError: It cannot be read, such as when /proc hides the first process from this user.
        """
        try:
            return self.read_file(f"{self.net}/{name}")
        except FileNotFoundError as error:
            if self.is_own or self._sees_net():
                raise
            why = f"{self.proc} hides the processes of others from this user (hidepid)"
            raise PermissionError(why) from error

    def _sees_net(self) -> bool:
        try:
            return bool(self.list_folder(self.net))
        except FileNotFoundError:
            return False

    def keep_pace(self, interval_s: float) -> None:
        """Wait for no answer for so long that the next tick would be late."""
        self.runner.bound(max(_LEAST_WAIT_S, _LONGEST_WAIT * interval_s))

    def host_path(self, path: str) -> str:
        """Return where this process sees what the host has at an absolute path."""
        return path if self.root == "/" else self.root + path

    def cached(self, read: Callable[[Self], T], within_s: float = _ONE_TICK_S) -> T:
        """Return what `read` reads of this host, or has read not long ago.

        So the collectors of one tick share what several of them need: /proc/stat, for instance,
        costs the kernel more than the rest of a tick on a machine of many cores and interrupts.

        Args:
            read: Reads something; what it raises is not kept.
            within_s: Longest age of the reading, in seconds.
        """
        taken, reading = self._readings.get(read, (-inf, None))
        if self.clock.monotonic() - taken >= within_s:
            reading = read(self)
            self._readings[read] = (self.clock.monotonic(), reading)
        fresh: T = reading
        return fresh
