"""A host that says what a test wants."""

import os
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from pipeline.collectors.collector import Host
from pipeline.point import Point
from tests.clocks import START_NS, ManualClock

BOOT_S = START_NS // 10**9 - 1000
CPU_KINDS = [
    "user",
    "nice",
    "system",
    "idle",
    "iowait",
    "irq",
    "softirq",
    "steal",
    "guest",
    "guest_nice",
]


def cpu_times(**seconds: float) -> SimpleNamespace:
    return SimpleNamespace(**{**dict.fromkeys(CPU_KINDS, 0.0), **seconds})


def mount(path: str, device: str, fstype: str = "ext4", opts: str = "rw,relatime") -> Any:
    return SimpleNamespace(mountpoint=path, device=device, fstype=fstype, opts=opts)


def link(flags: str = "up,broadcast,running,multicast", speed: int = 1000) -> Any:
    return SimpleNamespace(isup="running" in flags, flags=flags, speed=speed, mtu=1500, duplex=2)


def counters(start: int) -> Any:
    names = [
        "bytes_sent",
        "bytes_recv",
        "packets_sent",
        "packets_recv",
        "errin",
        "errout",
        "dropin",
        "dropout",
    ]
    return SimpleNamespace(**{name: start + step for step, name in enumerate(names)})


def sensor(label: str, current: float) -> Any:
    return SimpleNamespace(label=label, current=current, high=100.0, critical=100.0)


def statvfs(**changes: int) -> os.statvfs_result:
    """1000 blocks of 4 KiB, 200 of them reserved for root, 200 used; 50 of 200 inodes used."""
    stat = {"f_bsize": 65536, "f_frsize": 4096, "f_blocks": 1000, "f_bfree": 800, "f_bavail": 600}
    inodes = {"f_files": 200, "f_ffree": 150}
    return cast(os.statvfs_result, SimpleNamespace(**{**stat, **inodes, **changes}))


class FakePs:
    """psutil's functions on a Linux host with two cores."""

    def __init__(self) -> None:
        self.cores = [cpu_times(user=10.0, idle=100.0), cpu_times(user=20.0, idle=200.0)]
        self.total = cpu_times(user=30.0, idle=300.0)
        self.mounts = [mount("/", "/dev/vda1")]
        self.counters = {"lo": counters(0), "eth0": counters(100)}
        self.links = {"lo": link("up,loopback,running", 0), "eth0": link()}
        self.sensors: dict[str, list[Any]] = {"coretemp": [sensor("Package id 0", 48.0)]}
        self.calls: list[str] = []

    def cpu_times(self, percpu: bool = False) -> Any:
        return list(self.cores) if percpu else self.total

    def cpu_count(self, logical: bool = True) -> int | None:
        self.calls.append(f"cpu_count({logical=})")
        return len(self.cores) if logical else 1

    def virtual_memory(self) -> Any:
        return SimpleNamespace(
            total=16_000_000_000,
            available=12_000_000_000,
            percent=25.0,
            used=3_900_000_000,  # not total - available, as on macOS
            free=9_000_000_000,
            active=2_000_000_000,
            inactive=4_000_000_000,
            buffers=100_000_000,
            cached=3_000_000_000,
            shared=10_000_000,
            slab=300_000_000,
        )

    def swap_memory(self) -> Any:
        return SimpleNamespace(
            total=4_000_000, used=1_000_000, free=3_000_000, percent=25.0, sin=4096, sout=8192
        )

    def disk_partitions(self, all: bool = False) -> Any:  # noqa: A002 - psutil's name
        assert all
        self.calls.append("disk_partitions")
        return self.mounts

    def disk_usage(self, path: str) -> Any:
        return SimpleNamespace(total=1000, used=200, free=600, percent=25.0)

    def net_io_counters(self, pernic: bool = False, nowrap: bool = True) -> Any:
        assert pernic
        assert not nowrap
        return self.counters

    def net_if_stats(self) -> Any:
        self.calls.append("net_if_stats")
        return self.links

    def sensors_temperatures(self) -> Mapping[str, list[Any]]:
        self.calls.append("sensors_temperatures")
        return self.sensors

    def getloadavg(self) -> tuple[float, float, float]:
        return (0.5, 1.25, 2.0)

    def boot_time(self) -> float:
        return float(BOOT_S)


class FakeHost:
    """A Host with what it is made of at hand; `read_file` finds what is in `files`."""

    def __init__(self) -> None:
        self.ps: Any = FakePs()
        self.clock = ManualClock()
        self.files: dict[str, bytes] = {}

    def host(self, statvfs: Callable[[str], os.statvfs_result] | None = None) -> Host:
        return Host(self.ps, self.clock, statvfs or (lambda path: _STATVFS), self._read_file)

    def _read_file(self, path: str) -> bytes:
        try:
            return self.files[path]
        except KeyError:
            raise FileNotFoundError(path) from None


_STATVFS = statvfs()


def types(point: Point) -> dict[str, type]:
    return {field: type(value) for field, value in point.fields.items()}
