"""Memory."""

from collections.abc import Iterator, Mapping

from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, percent
from pipeline.point import Point

# Telegraf's name to psutil's.
_NAMES = {
    "total": "total",
    "available": "available",
    "free": "free",
    "active": "active",
    "inactive": "inactive",
    "buffered": "buffers",
    "cached": "cached",
    "shared": "shared",
    "slab": "slab",
}

# Telegraf's name to the one in /proc/meminfo, for what psutil leaves out. What a kernel does not
# count is 0, as in Telegraf.
_SIZES = {
    "sreclaimable": b"SReclaimable",
    "sunreclaim": b"SUnreclaim",
    "dirty": b"Dirty",
    "write_back": b"Writeback",
    "write_back_tmp": b"WritebackTmp",
    "mapped": b"Mapped",
    "page_tables": b"PageTables",
    "commit_limit": b"CommitLimit",
    "committed_as": b"Committed_AS",
    "swap_total": b"SwapTotal",
    "swap_free": b"SwapFree",
    "swap_cached": b"SwapCached",
    "high_total": b"HighTotal",
    "high_free": b"HighFree",
    "low_total": b"LowTotal",
    "low_free": b"LowFree",
    "vmalloc_total": b"VmallocTotal",
    "vmalloc_used": b"VmallocUsed",
    "vmalloc_chunk": b"VmallocChunk",
    "huge_page_size": b"Hugepagesize",
}
_COUNTS = {"huge_pages_total": b"HugePages_Total", "huge_pages_free": b"HugePages_Free"}


class Mem(Collector):
    """Writes `mem`, as Telegraf's input of that name."""

    name = "mem"

    def collect(self) -> Iterator[Point]:
        """Yield one point, in bytes, percent, and numbers of huge pages."""
        yield Point("mem", {**self.host.cached(memory), **_read_kernel(self.host)})


def memory(host: Host) -> Mapping[str, int | float]:
    """Read what psutil tells of the memory, by the names of `mem`, in bytes and percent.

    `used` is total - available, as in gopsutil 4.25.11, which Telegraf 1.37.2 has;
    `cached` includes reclaimable slab, as there.

    Raises:
        OSError: It cannot be read.
    """
    told = host.ps.virtual_memory()
    total, available = told.total, told.available
    return {
        **{field: getattr(told, name) for field, name in _NAMES.items()},
        "used": total - available,
        "used_percent": percent(total - available, total),
        "available_percent": percent(available, total),
    }


def _read_kernel(host: Host) -> Mapping[str, int]:
    """Read what psutil lacks."""
    lines = host.read_file(f"{host.proc}/meminfo").splitlines()
    counted = dict(line.partition(b":")[::2] for line in lines)
    sizes = {field: 1024 * _number_of(counted.get(key)) for field, key in _SIZES.items()}
    return sizes | {field: _number_of(counted.get(key)) for field, key in _COUNTS.items()}


def _number_of(text: bytes | None) -> int:
    """Return what `   42 kB` says, in its own unit; 0 of what the kernel does not tell."""
    return int(text.removesuffix(b" kB")) if text else 0
