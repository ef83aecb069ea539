"""What the collectors say of this machine is what its kernel says at the same moment."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.collectors import Host
from pipeline.collectors.base import Collector
from pipeline.collectors.cpu import Cpu
from pipeline.collectors.diskio import DiskIo
from pipeline.collectors.kernel import Kernel
from pipeline.collectors.linux_sysctl_fs import LinuxSysctlFs
from pipeline.collectors.mem import Mem
from pipeline.collectors.net import Net
from pipeline.collectors.nstat import Nstat
from pipeline.collectors.swap import Swap
from pipeline.point import Point
from tests.clocks import ManualClock

from .fakes import DEFAULTS, KIB, figures

Figures = Mapping[str, float]
Columns = Mapping[str, int]


def lines(name: str) -> list[list[str]]:
    return [line.split() for line in Path("/proc", name).read_text().splitlines()]


def rows(name: str, columns: Columns, first: int = 0) -> Figures:
    """The figures in these columns after the name of each row, which is in the first one."""
    return {
        f"{line[first].rstrip(':')} {field}": int(line[first + column])
        for line in lines(name)
        for field, column in columns.items()
        if line[first + column : first + column + 1] and line[first + column].isdigit()
    }


def named(name: str, fields: Mapping[str, str], unit: int = 1) -> dict[str, float]:
    """The first figure of each row that a field is of."""
    found = {line[0].rstrip(":"): int(line[1]) * unit for line in lines(name) if line[1:]}
    return {field: found[row] for field, row in fields.items()}


MEMORY = {
    "total": "MemTotal",
    "available": "MemAvailable",
    "free": "MemFree",
    "dirty": "Dirty",
    "committed_as": "Committed_AS",
    "cached": "Cached",
    "sreclaimable": "SReclaimable",
    "vmalloc_total": "VmallocTotal",
}


def memory() -> Figures:
    its = named("meminfo", MEMORY, KIB)
    its["cached"] += its["sreclaimable"]
    its["used"] = its["total"] - its["available"]
    return its | named("meminfo", {"huge_pages_total": "HugePages_Total"})


def swap() -> Figures:
    space = named("meminfo", {"total": "SwapTotal", "free": "SwapFree"}, KIB)
    return space | named("vmstat", {"in": "pswpin", "out": "pswpout"}, 4 * KIB)


def cores() -> Figures:
    ticks = rows("stat", {"time_user": 1, "time_system": 3, "time_softirq": 7})
    return {name: number / 100 for name, number in ticks.items()}


def disks() -> Figures:
    columns = {"reads": 1, "writes": 5, "merged_writes": 6, "io_time": 10, "weighted_io_time": 11}
    sectors = rows("diskstats", {"write_bytes": 7}, first=2)
    bytes_ = {name: number * 512 for name, number in sectors.items()}
    return {**rows("diskstats", columns, first=2), **bytes_}


def interfaces() -> Figures:
    columns = {"bytes_recv": 1, "packets_recv": 2, "drop_in": 4, "bytes_sent": 9, "drop_out": 12}
    return rows("net/dev", columns)


def counters() -> Figures:
    names = {"context_switches": "ctxt", "processes_forked": "processes", "boot_time": "btime"}
    return named("stat", {**names, "interrupts": "intr"})


def protocols() -> Figures:
    return {
        f"{file} {head[0][:-1]}{name}": int(number)
        for file in ("snmp", "netstat")
        for head, row in zip(lines(f"net/{file}")[::2], lines(f"net/{file}")[1::2], strict=True)
        for name, number in zip(head[1:], row[1:], strict=True)
    }


def open_files() -> Figures:
    (files,), (inodes,) = lines("sys/fs/file-nr"), lines("sys/fs/inode-state")
    names = ("file-nr", "file-max", "inode-nr", "inode-free-nr")
    return dict(zip(names, map(int, (files[0], files[2], *inodes[:2])), strict=True))


@pytest.mark.parametrize(
    ("collector", "kernel"),
    [
        *((Mem, memory), (Swap, swap), (Cpu, cores), (DiskIo, disks), (Net, interfaces)),
        *((Kernel, counters), (Nstat, protocols), (LinuxSysctlFs, open_files)),
    ],
)
def test_collector_agrees_with_the_kernel(
    collector: type[Collector], kernel: Callable[[], Figures]
) -> None:
    clock = ManualClock()
    made = collector(Host.system(clock), replace(DEFAULTS, times=True))
    assert any(agree(clock, made, kernel) for _ in range(100))  # what moves may move meanwhile


def agree(clock: ManualClock, collector: Collector, kernel: Callable[[], Figures]) -> bool:
    """Tell whether all is as it was just before or just after, or between the two."""
    clock.advance(1.0)
    before = kernel()
    said = figures(item for item in collector.collect() if isinstance(item, Point))
    after = kernel()
    numbers = {key: its for key, its in said.items() if not isinstance(its, str)}
    shared = before.keys() & after.keys() & numbers.keys()
    assert shared
    return all(
        min(before[key], after[key]) <= numbers[key] <= max(before[key], after[key]) + 0.02
        for key in shared
    )
