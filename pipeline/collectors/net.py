"""Network interfaces: traffic, errors, speed."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, NoData, printable
from pipeline.point import Point
from pipeline.settings import CollectorOptions

# Telegraf's name to psutil's, and to the column in /proc/net/dev.
_COUNTERS = {
    "bytes_sent": ("bytes_sent", 8),
    "bytes_recv": ("bytes_recv", 0),
    "packets_sent": ("packets_sent", 9),
    "packets_recv": ("packets_recv", 1),
    "err_in": ("errin", 2),
    "err_out": ("errout", 10),
    "drop_in": ("dropin", 3),
    "drop_out": ("dropout", 11),
}

_UP, _LOOPBACK = 0x1, 0x8  # bits of /sys/class/net/*/flags

# Asking costs several system calls an interface, and the answers hardly ever change.
_LINKS_LAST_S = 10.0


class Net(Collector):
    """Writes `net`, as Telegraf's input of that name.

    By default, the ends of containers' cables (veth*) and the bridges of Docker's user-made
    networks (br- and twelve digits) stay out: each run of a container makes new ones.
    """

    name = "net"
    series_tag = "interface"
    default_exclude = ("veth*", "br-" + 12 * "[0-9a-f]")

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._speeds: Mapping[str, int] = {}
        self._asked_for: Collection[str] = ()
        self._asked_at = 0.0

    def collect(self) -> Iterator[Point]:
        """Yield the counters since boot of each interface that is up and no loopback.

        They are the kernel's own, so that a query for the rate sees a restart as such. `speed` is
        in Mbit/s, -1 where it is unknown.
        """
        counters = _read(self.host)
        self._ask_for_links(counters.keys())
        reported = sorted(counters.keys() & self._speeds.keys())
        if not reported:
            raise NoData
        for name in reported:
            fields = {**counters[name], "speed": self._speeds[name]}
            yield Point("net", fields, {"interface": printable(name)})

    def _ask_for_links(self, names: Collection[str]) -> None:
        """Learn again which interfaces to report and how fast they are, if it may have changed."""
        now = self.host.clock.monotonic()
        if names != self._asked_for or now - self._asked_at >= _LINKS_LAST_S:
            self._speeds = _ask(self.host, names)
            self._asked_for, self._asked_at = names, now


def _read(host: Host) -> dict[str, dict[str, int]]:
    """Read the counters of each interface, without `nowrap`, which hides that they began anew."""
    if not host.is_own:
        return _read_around(host)
    return {
        name: {field: getattr(counted, its) for field, (its, _) in _COUNTERS.items()}
        for name, counted in host.ps.net_io_counters(pernic=True, nowrap=False).items()
    }


def _read_around(host: Host) -> dict[str, dict[str, int]]:
    """Read the counters of a container's host, which psutil lacks: it reads /proc/net.

    That is the reader's own network whatever /proc it is in. The host's is its first process's.
    """
    counters = {}
    for line in host.read_file(f"{host.proc}/1/net/dev").splitlines()[2:]:
        name, _, row = line.rpartition(b":")
        counted = row.split()
        counters[os.fsdecode(name.strip())] = {
            field: int(counted[column]) for field, (_, column) in _COUNTERS.items()
        }
    return counters


def _ask(host: Host, names: Collection[str]) -> dict[str, int]:
    """Return the speed of each interface to report, as /sys has it: -1 or none if unknown.

    psutil's `net_if_stats` fails as a whole on a name that is not UTF-8, and knows the reader's
    own network alone.
    """
    speeds = {}
    for name in names:
        folder = f"{host.sys}/class/net/{name}"
        try:
            flags = int(host.read_file(f"{folder}/flags"), 16)
        except (OSError, ValueError):  # a container with another network in its /sys
            flags = _UP if name != "lo" else _LOOPBACK
        if flags & _UP and not flags & _LOOPBACK:
            speeds[name] = -1
            with suppress(OSError, ValueError):  # the kernel refuses to tell of what has none
                speeds[name] = int(host.read_file(f"{folder}/speed"))
    return speeds
