"""Memory."""

from collections.abc import Iterator, Mapping

from pipeline.collectors._host.figures import UNREADABLE, figure, part, percent, possible
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector
from pipeline.point import Point

# Telegraf's name to psutil's, and to the one in /proc/meminfo.
_NAMES = {
    "total": ("total", b"MemTotal"),
    "available": ("available", b"MemAvailable"),
    "free": ("free", b"MemFree"),
    "active": ("active", b"Active"),
    "inactive": ("inactive", b"Inactive"),
    "buffered": ("buffers", b"Buffers"),
    "cached": ("cached", b"Cached"),
    "shared": ("shared", b"Shmem"),
    "slab": ("slab", b"Slab"),
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

# What can be no more than another one.
_PARTS = {
    "swap_free": "swap_total",
    "high_free": "high_total",
    "low_free": "low_total",
    "vmalloc_used": "vmalloc_total",
    "huge_pages_free": "huge_pages_total",
}


class Mem(Collector):
    """Writes `mem`, as Telegraf's input of that name."""

    name = "mem"

    def collect(self) -> Iterator[Point]:
        """Yield one point, in bytes, percent, and numbers of huge pages."""
        yield Point("mem", {**self.host.cached(memory), **_read_lacking(self.host)})


def memory(host: Host) -> Mapping[str, float]:
    """Read what psutil says about the memory, by the names of `mem`, in bytes and percent.

    `used` is total - available, as in gopsutil 4.25.11, which Telegraf 1.37.2 has;
    `cached` includes reclaimable slab, as there.

    Raises:
        OSError: It cannot be read.
    """
    try:
        told = host.ps.virtual_memory()
        sizes = {field: getattr(told, name) for field, (name, _) in _NAMES.items()}
    except UNREADABLE:
        counted = meminfo(host)
        sizes = {field: size(counted, key) for field, (_, key) in _NAMES.items()}
        sizes["cached"] += size(counted, b"SReclaimable")
    total, available = sizes["total"], part(sizes["available"], sizes["total"])
    figures = {
        **sizes,
        "available": available,
        "free": part(sizes["free"], total),
        "used": part(total - available, total),
        "used_percent": percent(total - available, total),
        "available_percent": percent(available, total),
    }
    return possible(figures)


def meminfo(host: Host) -> Mapping[bytes, bytes]:
    """Return what /proc/meminfo says, key to text.

    Raises:
        OSError: It cannot be read.
    """
    lines = host.read_file(f"{host.proc}/meminfo").splitlines()
    return dict(line.partition(b":")[::2] for line in lines)


def size(counted: Mapping[bytes, bytes], key: bytes) -> float:
    """Return what `   42 kB` says, in bytes; 0 of what the kernel does not tell."""
    return figure(counted[key].removesuffix(b" kB"), 1024) if key in counted else 0


def _read_lacking(host: Host) -> Mapping[str, float]:
    """Read what psutil lacks."""
    counted = meminfo(host)
    sizes = {field: size(counted, key) for field, key in _SIZES.items()}
    counts = {field: figure(counted.get(key, b"0")) for field, key in _COUNTS.items()}
    figures = {**sizes, **counts}
    return figures | {field: part(figures[field], figures[its]) for field, its in _PARTS.items()}
