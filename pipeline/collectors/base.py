"""What a collector is, and the host that it reads."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from pipeline.clock import Clock, SystemClock
from pipeline.collectors._host.timeouts import Asker
from pipeline.point import Point

T = TypeVar("T")


class NoData(Exception):  # noqa: N818 - an outcome, not an error
    """This host has nothing for the collector to read; a quiet outcome, which nobody logs."""


# The collectors of one tick follow each other within less; half the shortest interval.
_ONE_TICK_S = 0.005
_CHUNK = 16_384


def _read_file(path: str) -> bytes:
    # By descriptor: there is a file for each process, and `open` takes half as long again.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = b""
        while more := os.read(descriptor, _CHUNK):
            content += more
        return content
    finally:
        os.close(descriptor)


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
    """

    ps: Any
    clock: Clock
    statvfs: Callable[[str], os.statvfs_result] = os.statvfs
    read_file: Callable[[str], bytes] = _read_file
    root: str = "/"
    proc: str = "/proc"
    sys: str = "/sys"
    list_folder: Callable[[str], list[str]] = os.listdir
    _askers: dict[str, Asker] = field(default_factory=dict, init=False, repr=False, compare=False)
    _readings: dict[Any, tuple[float, Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def system(
        cls, clock: Clock, root: Path = Path("/"), environ: Mapping[str, str] | None = None
    ) -> Self:
        """Return this machine, as psutil reads it.

        Args:
            clock: Time.
            root: Where its root folder is seen.
            environ: The environment: HOST_PROC and HOST_SYS, which Telegraf obeys too, name its
                /proc and /sys where these are not in that folder.
        """
        import psutil  # noqa: PLC0415 - costs memory that `status` and `settings` do without

        environ = environ or {}
        proc = environ.get("HOST_PROC") or str(root / "proc")
        # psutil has no other way to be told, so that a process can read one host only. It is set
        # here alone, and each time: another root may have been read before.
        psutil.PROCFS_PATH = proc
        sys = environ.get("HOST_SYS") or str(root / "sys")
        return cls(psutil, clock, root=str(root), proc=proc, sys=sys)

    @property
    def is_own(self) -> bool:
        """Whether it is where this process lives itself, and not a container's host."""
        return (self.root, self.proc, self.sys) == ("/", "/proc", "/sys")

    def asker(self, subject: str) -> Asker:
        """Return who asks what may never answer about a subject, one for as long as the host.

        So a collector that is made anew does not ask again whom the former one still asks. The
        clock is a real one: an answer comes from another thread, whatever the time is here.
        """
        return self._askers.setdefault(subject, Asker(SystemClock()))

    def seen(self, path: str) -> str:
        """Return where this process sees what the host has at an absolute path."""
        return path if self.root == "/" else self.root + path

    def recent(self, read: Callable[[Self], T], within_s: float = _ONE_TICK_S) -> T:
        """Return what `read` reads of this host, or read not long ago.

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


@dataclass(frozen=True, slots=True)
class Omission:
    """Something that a reading should have and has not; it counts as lost, and the log says so.

    Attributes:
        what: Its name, the same each time: a path, for example.
        why: What is wrong with it.
    """

    what: str
    why: str


class Options(Protocol):
    """What a user may choose about a collector: the table [collectors.<name>] of the settings.

    `enabled`, `include`, `exclude` and `max_series` are obeyed for all collectors, by `build` and
    the guard; the others by the collectors that they are made for.
    """

    @property
    def enabled(self) -> bool | None:
        """Whether it collects; None: as it finds best."""

    @property
    def include(self) -> tuple[str, ...]:
        """Globs of the series it reports."""

    @property
    def exclude(self) -> tuple[str, ...] | None:
        """Globs of what it leaves out of that; None: as it finds best."""

    @property
    def max_series(self) -> int:
        """Most series it reports."""

    @property
    def times(self) -> bool:
        """`cpu`: whether it also writes time_*."""

    @property
    def top(self) -> int:
        """`process`: how many it reports of the busiest and of the largest."""

    @property
    def directory(self) -> Path | None:
        """`file`: the folder of its files."""

    @property
    def network(self) -> bool:
        """`disk`: whether it also reports network file systems."""

    @property
    def timeout_ms(self) -> int:
        """`disk` and `file`: longest wait for a file system to answer."""


class Collector(ABC):
    """Reads one subject of a host.

    Args:
        host: What is read. A constructor does no more than take a baseline.
        options: What the user chose.

    Attributes:
        host: What is read.
        name: The name in the settings, which is also the measurement.
        series_tag: The tag that tells its series apart, such as `interface`; None if it has one.
        default_exclude: Globs on that tag's value that stay out unless the user says otherwise.
        default_enabled: Whether it runs unless the user says otherwise.
    """

    name: str
    series_tag: str | None = None
    default_exclude: tuple[str, ...] = ()
    default_enabled: bool = True

    def __init__(self, host: Host, options: Options) -> None:
        self.host = host

    @abstractmethod
    def collect(self) -> Iterable[Point | Omission]:
        """Read the host once, without waiting for what may never answer: see `Asker`.

        Returns:
            One point per series, what matters most first, in an order that stays the same from
            tick to tick: `max_series` cuts off the end. An omission in place of what fails alone
            and should not; what may come and go is just left out.

        Raises:
            NoData: The host has nothing of the kind.
            Exception: The reading failed as a whole.
        """


def printable(name: str) -> str:
    r"""Return a name that the kernel gave, with what is not UTF-8 in it written as `\xff`.

    Such bytes come as lone surrogates, as Python reads the names of files.
    """
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def percent(part: float, whole: float) -> float:
    """Return the part's share of the whole in percent; 0.0 when the whole is nothing."""
    return 100.0 * (part / whole) if whole else 0.0


def reason(error: BaseException) -> str:
    """Return an exception's kind and message on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
