"""Network interfaces: traffic, errors, speed."""

import os
from collections.abc import Collection, Iterator, Mapping
from functools import partial

from pipeline.collectors._host.figures import UNREADABLE, figure, possible, printable, whole
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, NoData, Silence, selection
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

# What drivers say of a link whose speed they do not know is 0 or -1, also as an unsigned number.
_FASTEST = 2**31 - 1

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
        self._is_selected = selection(self, options)
        self._timeout_s = options.timeout_ms / 1000
        self._speeds: Mapping[str, int | str] = {}
        self._asked_for: Collection[str] = ()
        self._asked_at = 0.0

    def collect(self) -> Iterator[Point | Silence]:
        """Yield the counters since boot of each interface that is up and no loopback.

        They are the kernel's own, so that a query for the rate sees a restart as such. `speed` is
        in Mbit/s, and absent where it is unknown: -1, as Telegraf writes it, is no speed, and makes
        every mean and sum wrong.
        """
        counters = {
            name: its
            for name, its in _read(self.host).items()
            if self._is_selected(printable(name))
        }
        self._ask_for_links(counters.keys())
        reported = sorted(counters.keys() & self._speeds.keys())
        if not reported:
            raise NoData
        for name in reported:
            fields, speed = counters[name], self._speeds[name]
            if isinstance(speed, str):
                yield Silence(f"speed of {printable(name)}", speed)
            elif speed:
                fields["speed"] = speed
            yield Point("net", possible(fields), {"interface": printable(name)})

    def _ask_for_links(self, names: Collection[str]) -> None:
        """Learn again which interfaces to report and how fast they are, if it may have changed."""
        now = self.host.clock.monotonic()
        is_told = not any(isinstance(speed, str) for speed in self._speeds.values())
        is_whole = names == self._asked_for and is_told
        if not is_whole or now - self._asked_at >= _LINKS_LAST_S:
            self._speeds = _ask(self.host, names, self._timeout_s)
            self._asked_for, self._asked_at = names, now


def _read(host: Host) -> dict[str, dict[str, float]]:
    """Read the counters of each interface, without `nowrap`, which hides that they restarted.

    psutil lacks those of a container's host: it reads /proc/net.
    """
    if not host.is_own:
        return _parse(host.read_net("dev"))
    try:
        return {
            name: {field: getattr(counted, its) for field, (its, _) in _COUNTERS.items()}
            for name, counted in host.ps.net_io_counters(pernic=True, nowrap=False).items()
        }
    except UNREADABLE:
        return _parse(host.read_net("dev"))


def _parse(table: bytes) -> dict[str, dict[str, float]]:
    """Read the counters one by one, each of which may be none."""
    counters = {}
    for line in table.split(b"\n")[2:]:
        name, _, row = line.rpartition(b":")
        counted = dict(enumerate(row.split()))
        if name := name.strip():
            counters[os.fsdecode(name)] = {
                field: figure(counted.get(column, b"")) for field, (_, column) in _COUNTERS.items()
            }
    return counters


def _ask(host: Host, names: Collection[str], timeout_s: float) -> dict[str, int | str]:
    """Return the speed of each interface to report; 0 if it is unknown, or why nobody answered.

    psutil's `net_if_stats` fails as a whole on a name that is not UTF-8, and knows the reader's
    own network alone. For the speed the driver asks the device, which may take long.
    """
    up = [name for name in names if _is_up(host, name)]
    speed_of = {name: f"{host.sys}/class/net/{name}/speed" for name in up}
    answers = host.runner.run(
        {("speed", path): partial(host.read_file, path) for path in speed_of.values()}, timeout_s
    )
    return {name: _speed(answers["speed", path]) for name, path in speed_of.items()}


def _is_up(host: Host, name: str) -> bool:
    """Tell whether an interface is up, and no loopback."""
    try:
        flags = int(host.read_file(f"{host.sys}/class/net/{name}/flags"), 16)
    except (OSError, ValueError):  # a container with another network in its /sys
        flags = _UP if name != "lo" else _LOOPBACK
    return bool(flags & _UP) and not flags & _LOOPBACK


def _speed(answer: bytes | Exception) -> int | str:
    if isinstance(answer, TimeoutError | RuntimeError):  # the latter without a thread to ask
        return str(answer)
    try:
        speed = whole(answer) if isinstance(answer, bytes) else 0  # of what has none it is refused
    except ValueError:
        return 0
    return speed if 0 < speed < _FASTEST else 0
