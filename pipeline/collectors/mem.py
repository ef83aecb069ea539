"""Memory."""

from collections.abc import Iterator

from pipeline.collectors.collector import Host, percent
from pipeline.point import FieldValue, Point

# Telegraf's name to psutil's. Which of them there are depends on the platform.
_COUNTED = {
    "active": "active",
    "available": "available",
    "buffered": "buffers",
    "cached": "cached",
    "free": "free",
    "inactive": "inactive",
    "shared": "shared",
    "slab": "slab",
    "total": "total",
}


class Mem:
    """Writes `mem`, as Telegraf's input of that name."""

    name = "mem"
    series_tag: str | None = None
    default_exclude: tuple[str, ...] = ()

    def __init__(self, host: Host) -> None:
        self._ps = host.ps

    def collect(self) -> Iterator[Point]:
        """Yield one point, in bytes and percent.

        `used` is total - available, as in gopsutil 4.25.11, which Telegraf 1.37.2 has, on Linux;
        `cached` includes reclaimable slab, as there.
        """
        memory = self._ps.virtual_memory()
        fields: dict[str, FieldValue] = {
            field: getattr(memory, name)
            for field, name in _COUNTED.items()
            if hasattr(memory, name)
        }
        used = memory.total - memory.available
        fields["used"] = used
        fields["used_percent"] = percent(used, memory.total)
        fields["available_percent"] = percent(memory.available, memory.total)
        yield Point("mem", fields)
