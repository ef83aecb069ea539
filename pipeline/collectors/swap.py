"""Swap space."""

from collections.abc import Iterator

from pipeline.collectors.collector import Host, Options, percent
from pipeline.point import Point


class Swap:
    """Writes `swap`, as Telegraf's input of that name."""

    name = "swap"
    series_tag: str | None = None
    default_exclude: tuple[str, ...] = ()
    default_enabled = True

    def __init__(self, host: Host, options: Options) -> None:
        self._host = host

    def collect(self) -> Iterator[Point]:
        """Yield one point, in bytes and percent; all 0 on a host without swap.

        `in` and `out` count since boot: pages of 4 KiB, whatever the host's page, in bytes.
        """
        if self._host.ps.LINUX:  # psutil takes a file that it cannot read for a host at rest
            self._host.read_file(f"{self._host.proc}/vmstat")
        swap = self._host.ps.swap_memory()
        used = swap.total - swap.free
        yield Point(
            "swap",
            {
                "total": swap.total,
                "used": used,
                "free": swap.free,
                "used_percent": percent(used, swap.total),
                "in": swap.sin,
                "out": swap.sout,
            },
        )
