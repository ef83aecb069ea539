"""Swap space."""

from collections.abc import Iterator

from pipeline.collectors.collector import Host, percent
from pipeline.point import Point


class Swap:
    """Writes `swap`, as Telegraf's input of that name."""

    name = "swap"
    series_tag: str | None = None
    default_exclude: tuple[str, ...] = ()

    def __init__(self, host: Host) -> None:
        self._ps = host.ps

    def collect(self) -> Iterator[Point]:
        """Yield one point, in bytes and percent; all 0 on a host without swap.

        `in` and `out` count since boot: pages of 4 KiB, in bytes.
        """
        swap = self._ps.swap_memory()
        fields = {
            "total": swap.total,
            "used": swap.used,
            "free": swap.free,
            "used_percent": percent(swap.used, swap.total),
            "in": swap.sin,
            "out": swap.sout,
        }
        yield Point("swap", fields)
