"""The network protocols' counters: what TCP, UDP and IP retransmitted, refused and dropped."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

from pipeline.collectors._host.figures import figure, printable
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, NoData, Omission, is_default, omission, selection
from pipeline.point import Point
from pipeline.settings import CollectorOptions

# A kernel has ten; they stay the same while it runs.
_HEADS = 32
_ZEROS_EVERY_S = 3600.0

# Written also while they are 0: the number that can fall, and what the dashboard draws, whose rate
# over the hour since the last 0 would be too low to be seen.
_ALWAYS = ("TcpCurrEstab", "TcpRetransSegs", "TcpEstabResets", "TcpExtListenDrops", "UdpInErrors")


class Nstat(Collector):
    """Writes `nstat`, as Telegraf's input of that name: by default a choice of it.

    `include` and `exclude` are of the names of counters. psutil has none of them. On most hosts
    nearly all of the choice is 0. So that this costs nothing, such a counter is written with the
    first reading and once an hour, but for five that always are.
    """

    name = "nstat"
    default_include = (
        *("TcpCurrEstab", "TcpOutSegs", "TcpRetransSegs", "TcpAttemptFails", "TcpEstabResets"),
        *("TcpInErrs", "TcpInCsumErrors", "TcpOutRsts"),
        *("TcpExtListenOverflows", "TcpExtListenDrops", "TcpExtTCPReqQFullDrop"),
        *("TcpExtSyncookiesSent", "TcpExtSyncookiesRecv", "TcpExtSyncookiesFailed"),
        *("TcpExtTCPTimeouts", "TcpExtTCPSynRetrans", "TcpExtTCPLostRetransmit"),
        *("TcpExtTCPRetransFail", "TcpExtTCPAbortOnTimeout", "TcpExtTCPAbortOnMemory"),
        *("TcpExtTCPMemoryPressures", "TcpExtPruneCalled", "TcpExtRcvPruned"),
        *("TcpExtTCPBacklogDrop", "TcpExtTCPRcvQDrop", "TcpExtTCPZeroWindowDrop"),
        *("TcpExtTCPOFOQueue", "TcpExtTCPOFODrop"),
        *("UdpNoPorts", "UdpInErrors", "UdpInCsumErrors", "UdpRcvbufErrors", "UdpSndbufErrors"),
        *("IpInHdrErrors", "IpInAddrErrors", "IpInDiscards", "IpOutDiscards", "IpOutNoRoutes"),
        *("IpReasmFails", "IpFragFails", "IcmpInErrors"),
    )

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._is_selected = selection(self, options)
        self._is_choice = is_default(options)
        # The choice has nothing of the last one.
        self._tables = ("snmp", "netstat", "snmp6")[: 2 if self._is_choice else 3]
        self._wanted = lru_cache(_HEADS)(self._find)
        self._zeros_at = -math.inf  # when they were written, by the monotonic clock

    def collect(self) -> Iterator[Point | Omission]:
        """Yield one point for each of the kernel's tables: counters since boot, but TcpCurrEstab.

        A counter or a table that a kernel does not have is left out.
        """
        is_told = False
        now = self.host.clock.monotonic()
        leaves_zeros = self._is_choice and now - self._zeros_at < _ZEROS_EVERY_S
        if not leaves_zeros:
            self._zeros_at = now
        for table in self._tables:
            try:
                text = self.host.read_net(table)
            except FileNotFoundError:
                continue
            except OSError as error:
                yield omission(table, error)
                continue
            counted = dict(self._pairs(text) if table == "snmp6" else self._columns(text))
            is_told = is_told or bool(counted)
            fields = {
                name: _number(name, told)
                for name, told in counted.items()
                if not (leaves_zeros and told == b"0" and name not in _ALWAYS)
            }
            if fields:
                yield Point("nstat", fields, {"name": table})
        if not is_told:
            raise NoData

    def _columns(self, text: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield the wanted counters of a table that has two lines for each protocol."""
        lines = text.splitlines()
        for head, row in zip(lines[::2], lines[1::2], strict=False):
            wanted = self._wanted(head)
            if wanted and row.startswith(head.partition(b" ")[0]):
                told = row.split(None, wanted[-1][0] + 1)
                for place, name in wanted:
                    yield name, told[place] if place < len(told) else b""

    def _find(self, head: bytes) -> Sequence[tuple[int, str]]:
        """Return the place of each wanted counter, which stands below its name."""
        protocol, *columns = head.split() or [b""]
        names = (printable(protocol[:-1] + column) for column in columns)
        return [(place, name) for place, name in enumerate(names, 1) if self._is_selected(name)]

    def _pairs(self, text: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield the wanted counters of a table that has a line for each."""
        for line in text.splitlines():
            word, _, told = line.replace(b"\t", b" ").partition(b" ")
            name = printable(word)
            if name and self._is_selected(name):
                yield name, told


def _number(name: str, told: bytes) -> float:
    # As many as there may be: RFC 1213.
    return -1 if name == "TcpMaxConn" and told == b"-1" else figure(told)
