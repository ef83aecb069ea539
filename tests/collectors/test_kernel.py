"""What the collectors say of this machine is what its kernel says at the same moment."""

from collections.abc import Callable, Iterator, Mapping
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
from pipeline.collectors.processes import Processes
from pipeline.collectors.swap import Swap
from pipeline.collectors.system import System
from tests.clocks import ManualClock

from .fakes import DEFAULTS

Figures = Mapping[str, float]


def lines(name: str) -> Iterator[list[str]]:
    return (line.split() for line in Path("/proc", name).read_text().splitlines())


def meminfo() -> dict[str, int]:
    return {line[0]: int(line[1]) * 1024 for line in lines("meminfo")}


def memory() -> Figures:
    kernel = meminfo()
    return {
        "total": kernel["MemTotal:"],
        "available": kernel["MemAvailable:"],
        "used": kernel["MemTotal:"] - kernel["MemAvailable:"],
        "free": kernel["MemFree:"],
        "cached": kernel["Cached:"] + kernel["SReclaimable:"],
        "dirty": kernel["Dirty:"],
        "write_back": kernel["Writeback:"],
        "committed_as": kernel["Committed_AS:"],
        "vmalloc_total": kernel["VmallocTotal:"],
        "page_tables": kernel["PageTables:"],
        "huge_pages_total": kernel["HugePages_Total:"] // 1024,
        "huge_page_size": kernel["Hugepagesize:"],
    }


def swap() -> Figures:
    kernel, moved = meminfo(), {line[0]: int(line[1]) for line in lines("vmstat")}
    return {
        "total": kernel["SwapTotal:"],
        "free": kernel["SwapFree:"],
        "in": moved["pswpin"] * 4096,
        "out": moved["pswpout"] * 4096,
    }


def cores() -> Figures:
    times = {line[0]: line for line in lines("stat")}
    return {
        f"cpu{number} {field}": int(times[f"cpu{number}"][column]) / 100
        for number in range(2)
        if f"cpu{number}" in times
        for field, column in (("time_user", 1), ("time_system", 3), ("time_softirq", 7))
    }


def disks() -> Figures:
    columns = {"reads": 3, "writes": 7, "io_time": 12, "weighted_io_time": 13, "merged_writes": 8}
    figures = {
        f"{line[2]} {field}": int(line[column])
        for line in lines("diskstats")
        for field, column in columns.items()
        if set(line[3:]) != {"0"}
    }
    written = {
        f"{line[2]} write_bytes": int(line[9]) * 512
        for line in lines("diskstats")
        if set(line[3:]) != {"0"}
    }
    return {**figures, **written}


def interfaces() -> Figures:
    columns = {"bytes_recv": 1, "packets_recv": 2, "drop_in": 4, "bytes_sent": 9, "drop_out": 12}
    return {
        f"{line[0]} {field}": int(line[column])
        for line in lines("net/dev")
        for field, column in columns.items()
        if line[0].endswith(":") and line[0] != "lo:"
    }


def processes() -> Figures:
    return {"total": sum(folder.name.isdecimal() for folder in Path("/proc").iterdir())}


def system() -> Figures:
    (load,), (uptime,) = lines("loadavg"), lines("uptime")
    return {
        "load1": float(load[0]) - 0.01,  # rounded in the file
        "uptime": int(float(uptime[0])),
        "n_cpus": sum(line[0].startswith("processor") for line in lines("cpuinfo") if line),
    }


def counters() -> Figures:
    rows = {line[0]: int(line[1]) for line in lines("stat")}
    names = {"ctxt": "context_switches", "intr": "interrupts", "processes": "processes_forked"}
    return {name: rows[key] for key, name in {**names, "btime": "boot_time"}.items()}


def protocols() -> Figures:
    return {
        f"{head[0][:-1]}{name}": int(number)
        for file in ("net/snmp", "net/netstat")
        for head, row in zip(*(list(lines(file))[start::2] for start in (0, 1)), strict=True)
        for name, number in zip(head[1:], row[1:], strict=True)
    }


def open_files() -> Figures:
    (files,), (inodes,) = lines("sys/fs/file-nr"), lines("sys/fs/inode-state")
    names = ("file-nr", "file-max", "inode-nr", "inode-free-nr")
    return dict(zip(names, map(int, (files[0], files[2], *inodes[:2])), strict=True))


@pytest.mark.parametrize(
    ("collector", "kernel"),
    [
        (Mem, memory),
        (Swap, swap),
        (Cpu, cores),
        (DiskIo, disks),
        (Net, interfaces),
        (Processes, processes),
        (System, system),
        (Kernel, counters),
        (Nstat, protocols),
        (LinuxSysctlFs, open_files),
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
    said = dict(figures(collector))
    after = kernel()
    shared = before.keys() & after.keys() & said.keys()
    assert shared
    return all(
        min(before[key], after[key]) <= said[key] <= max(before[key], after[key]) + 0.02
        for key in shared
    )


def figures(collector: Collector) -> Iterator[tuple[str, float]]:
    tags = {"cpu": "{} ", "diskio": "{} ", "net": "{}: "}
    for point in collector.collect():
        name = tags.get(collector.name, "").format(*point.tags.values())  # type: ignore[union-attr]
        for field, value in point.fields.items():  # type: ignore[union-attr]
            if not isinstance(value, str):
                yield f"{name}{field}", value
