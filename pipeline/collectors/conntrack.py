"""The table of tracked connections: its use, its limit, and what became of packets."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from pipeline.collectors._host.figures import UNKNOWN, figure
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, NoData, Omission, gather, omission
from pipeline.point import FieldValue, Point
from pipeline.settings import CollectorOptions

# The column of the table's use, which is the same in the row of each processor.
_USE = "entries"
_COUNTERS = {
    *(_USE, "searched", "found", "new", "invalid", "ignore", "delete", "delete_list", "insert"),
    *("insert_failed", "drop", "early_drop", "icmp_error", "expect_new", "expect_create"),
    *("expect_delete", "search_restart"),
}
_LIMIT_LASTS_S = 10.0
_HEX_RE = re.compile(rb"[0-9a-f]{1,16}")

_Row = Mapping[str, float]


class Conntrack(Collector):
    """Writes `conntrack`, as Telegraf's input of that name; psutil has nothing of it.

    With the option `per_cpu`, also as with `collect = ["all", "percpu"]`.
    """

    name = "conntrack"
    series_tag = "cpu"

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._per_cpu = options.per_cpu

    def collect(self) -> Iterator[Point | Omission]:
        """Yield the use and the limit of the table; then the counters of all processors, of each.

        They are since boot. What a kernel does not have is left out: newer ones lack `searched` and
        `delete_list`, and all of it is missing where nothing is tracked.
        """
        fields: dict[str, FieldValue] = {}
        parts = {
            "ip_conntrack_count": lambda: _use(self.host),
            "ip_conntrack_max": lambda: self.host.cached(_limit, _LIMIT_LASTS_S),
        }
        yield from gather(fields, parts)
        if not fields:
            raise NoData
        yield Point("conntrack", fields)
        if self._per_cpu:
            yield from self._counters()

    def _counters(self) -> Iterator[Point | Omission]:
        try:
            rows = list(_rows(self.host))
        except OSError as error:
            yield omission("counters", error)
            return
        if rows:
            yield Point("conntrack", _together(rows), {"cpu": "all"})
            for number, row in enumerate(rows):
                yield Point("conntrack", row, {"cpu": f"cpu{number}"})


def _use(host: Host) -> Mapping[str, FieldValue]:
    """Return the use of the table.

    What /proc/sys/net has is of the reader's own network, whatever /proc it is in.
    """
    if host.is_own:
        return _setting(host, "count")
    row = next(_rows(host), None)
    return {} if row is None else {"ip_conntrack_count": float(row.get(_USE, UNKNOWN))}


def _limit(host: Host) -> Mapping[str, FieldValue]:
    """Return the limit of the table, which is the same for all networks."""
    return _setting(host, "max")


def _setting(host: Host, end: str) -> Mapping[str, FieldValue]:
    with suppress(FileNotFoundError):
        text = host.read_file(f"{host.proc}/sys/net/netfilter/nf_conntrack_{end}")
        return {f"ip_conntrack_{end}": float(figure(text))}
    return {}


def _rows(host: Host) -> Iterator[_Row]:
    """Yield the counters of each processor that there may be, by the kernel's names."""
    with suppress(FileNotFoundError):
        head, *lines = host.read_net("stat/nf_conntrack").splitlines() or [b""]
        names = head.decode(errors="replace").split()
        for line in lines:
            yield dict(_counters(names, line.split()))


def _counters(names: Sequence[str], row: Sequence[bytes]) -> Iterator[tuple[str, float]]:
    for name, text in zip(names, row, strict=False):
        if name in _COUNTERS:
            yield name, int(text, 16) if _HEX_RE.fullmatch(text) else UNKNOWN


def _together(rows: Sequence[_Row]) -> _Row:
    """Return the sums; the use of the table is told once for each processor."""
    every = {name for row in rows for name in row}
    return {
        name: rows[0].get(name, UNKNOWN) if name == _USE else sum(row.get(name, 0) for row in rows)
        for name in sorted(every)
    }
