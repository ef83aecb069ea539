"""Swap space."""

from collections.abc import Iterator
from operator import attrgetter

from pipeline.collectors._host.figures import UNREADABLE, figure, part, percent, possible
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, Omission, omission
from pipeline.collectors.mem import meminfo, size
from pipeline.point import Point

_PAGE = 4096

_told = attrgetter("total", "free", "sin", "sout")


class Swap(Collector):
    """Writes `swap`, as Telegraf's input of that name."""

    name = "swap"

    def collect(self) -> Iterator[Point | Omission]:
        """Yield one point, in bytes and percent; all 0 on a host without swap.

        `in` and `out` count since boot: pages of 4 KiB, whatever the host's page, in bytes.
        """
        # psutil takes a file that it cannot read for a host that never swapped: two counters at 0.
        moved = None
        try:
            moved = self.host.read_file(f"{self.host.proc}/vmstat")
        except OSError as error:
            yield omission("in, out", error, points=2)
        try:
            total, free, come, gone = _told(self.host.ps.swap_memory())
        except UNREADABLE:
            total, free, come, gone = _read(self.host, moved or b"")
        fields = {
            "total": total,
            "free": part(free, total),
            "used": part(total - free, total),
            "used_percent": percent(total - free, total),  # psutil rounds it
        }
        if moved is not None:
            fields |= {"in": come, "out": gone}
        yield Point("swap", possible(fields))


def _read(host: Host, moved: bytes) -> tuple[float, float, float, float]:
    """Read the same figures one by one, each of which may be none."""
    space = meminfo(host)
    pages = dict(line.partition(b" ")[::2] for line in moved.splitlines())
    come, gone = (figure(pages.get(key, b"0"), _PAGE) for key in (b"pswpin", b"pswpout"))
    return size(space, b"SwapTotal"), size(space, b"SwapFree"), come, gone
