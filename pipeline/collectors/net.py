"""Network interfaces: traffic, errors, speed."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pipeline.collectors.collector import Host, NoData
from pipeline.point import Point

# Telegraf's name to psutil's.
_COUNTED = {
    "bytes_sent": "bytes_sent",
    "bytes_recv": "bytes_recv",
    "packets_sent": "packets_sent",
    "packets_recv": "packets_recv",
    "err_in": "errin",
    "err_out": "errout",
    "drop_in": "dropin",
    "drop_out": "dropout",
}

# Asking costs several system calls an interface, and the answers hardly ever change.
_LINKS_LAST_S = 10.0


class Net:
    """Writes `net`, as Telegraf's input of that name.

    By default, the ends of containers' cables (veth*) and the bridges of Docker's user-made
    networks (br- and twelve digits) stay out: each run of a container makes new ones.
    """

    name = "net"
    series_tag: str | None = "interface"
    default_exclude: tuple[str, ...] = ("veth*", "br-" + 12 * "[0-9a-f]")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._speeds: Mapping[str, int] = {}
        self._asked_for: Collection[str] = ()
        self._asked_at = 0.0

    def collect(self) -> Iterator[Point]:
        """Yield the counters since boot of each interface that is up and no loopback.

        They are the kernel's own, so that a query for the rate sees a restart as such: psutil's
        `nowrap`, which joins them, is off. `speed` is in Mbit/s, -1 where it is unknown.
        """
        counters = self._host.ps.net_io_counters(pernic=True, nowrap=False)
        self._ask_for_links(counters.keys())
        reported = sorted(counters.keys() & self._speeds.keys())
        if not reported:
            raise NoData
        for name in reported:
            counted = counters[name]
            fields = {field: getattr(counted, attribute) for field, attribute in _COUNTED.items()}
            fields["speed"] = self._speeds[name]
            yield Point("net", fields, {"interface": name})

    def _ask_for_links(self, names: Collection[str]) -> None:
        """Learn again which interfaces to report and how fast they are, if it may have changed."""
        now = self._host.clock.monotonic()
        if names == self._asked_for and now - self._asked_at < _LINKS_LAST_S:
            return
        try:
            links = self._host.ps.net_if_stats()
        except OSError:  # psutil tells of none when it may not ask about one
            self._speeds = {name: -1 for name in names if name != "lo"}
        else:  # what is unknown is 0 for psutil and -1 for Telegraf
            reported = {name: link for name, link in links.items() if _is_reported(link)}
            self._speeds = {name: link.speed or -1 for name, link in reported.items()}
        self._asked_for, self._asked_at = names, now


def _is_reported(link: Any) -> bool:
    """Tell whether Telegraf would write an interface: it is up (a cable or not), no loopback."""
    if not link.flags:  # Windows
        return bool(link.isup)
    flags = link.flags.split(",")
    return "up" in flags and "loopback" not in flags
