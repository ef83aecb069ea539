"""What a collector is, and the host that it reads."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import FileIO
from typing import Any, Protocol, Self

from pipeline.clock import Clock
from pipeline.point import Point

StatVfs = Callable[[str], os.statvfs_result]

_STATVFS: StatVfs | None = getattr(os, "statvfs", None)


class NoData(Exception):  # noqa: N818 - an outcome, not an error
    """This host has nothing for the collector to read; a quiet outcome, which nobody logs."""


def _read_file(path: str) -> bytes:
    with FileIO(path) as file:  # a third of the cost of Path.read_bytes
        return file.readall()


@dataclass(frozen=True, slots=True)
class Host:
    """The source of a host's figures, passed in so that a test can pass another.

    Attributes:
        ps: The module psutil, or an object with the functions of it that are used.
        clock: Time.
        statvfs: `os.statvfs`; None where the platform lacks it.
        read_file: Returns what a file of the kernel's holds, or raises OSError: what psutil
            leaves out.
    """

    ps: Any
    clock: Clock
    statvfs: StatVfs | None = _STATVFS
    read_file: Callable[[str], bytes] = _read_file

    @classmethod
    def system(cls, clock: Clock) -> Self:
        """Return this machine, as psutil reads it."""
        import psutil  # noqa: PLC0415 - costs memory that `status` and `settings` do without

        return cls(psutil, clock)


class Collector(Protocol):
    """Reads one subject of a host.

    Args:
        host: What is read. A constructor does no more than take a baseline.

    Attributes:
        name: The name in the settings, which is also the measurement.
        series_tag: The tag that tells its series apart, such as `interface`; None if it has one.
        default_exclude: Globs on that tag's value that stay out unless the user says otherwise.
    """

    name: str
    series_tag: str | None
    default_exclude: tuple[str, ...]

    def __init__(self, host: Host) -> None: ...

    def collect(self) -> Iterable[Point]:
        """Read the host once.

        Returns:
            One point per series, what matters most first, in an order that stays the same from
            tick to tick: `max_series` cuts off the end.

        Raises:
            NoData: The host has nothing of the kind.
            Exception: The reading failed as a whole. What fails for one series only is left out.
        """
        ...


def percent(part: float, whole: float) -> float:
    """Return the part's share of the whole in percent; 0.0 when the whole is nothing."""
    return 100.0 * (part / whole) if whole else 0.0
