"""Swap space."""

import re
from collections.abc import Iterator, Mapping

from pipeline.collectors.base import Collector, Host, percent
from pipeline.collectors.mem import meminfo, number_of
from pipeline.point import Point

_MOVED_RE = re.compile(rb"^pswp(in|out) (\d+)$", re.MULTILINE)
_PAGE = 4096  # whatever the host's own, in psutil as in Telegraf


class Swap(Collector):
    """Writes `swap`, as Telegraf's input of that name."""

    name = "swap"

    def collect(self) -> Iterator[Point]:
        """Yield one point, in bytes and percent; all 0 on a host without swap.

        `in` and `out` count since boot: pages of 4 KiB, whatever the host's page, in bytes.
        """
        swap = _read(self.host)
        used = swap["total"] - swap["free"]
        shares = {"used": used, "used_percent": percent(used, swap["total"])}
        yield Point("swap", {**swap, **shares})


def _read(host: Host) -> Mapping[str, int]:
    """Read what psutil does, which takes a file that it cannot read for a host at rest."""
    sizes = host.recent(meminfo)
    moved = dict(_MOVED_RE.findall(host.read_file(f"{host.proc}/vmstat")))
    return {
        "total": 1024 * number_of(sizes.get(b"SwapTotal")),
        "free": 1024 * number_of(sizes.get(b"SwapFree")),
        "in": _PAGE * int(moved.get(b"in", 0)),
        "out": _PAGE * int(moved.get(b"out", 0)),
    }
