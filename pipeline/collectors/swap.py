"""Swap space."""

from collections.abc import Iterator

from pipeline.collectors.base import Collector, percent
from pipeline.point import Point


class Swap(Collector):
    """Writes `swap`, as Telegraf's input of that name."""

    name = "swap"

    def collect(self) -> Iterator[Point]:
        """Yield one point, in bytes and percent; all 0 on a host without swap.

        `in` and `out` count since boot: pages of 4 KiB, whatever the host's page, in bytes.
        """
        # psutil takes a file that it cannot read for a host that never swapped: two counters at 0.
        self.host.read_file(f"{self.host.proc}/vmstat")
        swap = self.host.ps.swap_memory()
        fields = {
            "total": swap.total,
            "free": swap.free,
            "used": swap.used,
            "used_percent": percent(swap.used, swap.total),  # psutil rounds it
            "in": swap.sin,
            "out": swap.sout,
        }
        yield Point("swap", fields)
