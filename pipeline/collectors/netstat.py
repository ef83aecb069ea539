"""Sockets: those of TCP by their state, and those of UDP."""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial

from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, Omission, gather
from pipeline.point import FieldValue, Point
from pipeline.settings import CollectorOptions

# The kernel's number of a state, as include/net/tcp_states.h has it, to Telegraf's field.
_STATES = {
    b"01": "tcp_established",
    b"02": "tcp_syn_sent",
    b"03": "tcp_syn_recv",
    b"04": "tcp_fin_wait1",
    b"05": "tcp_fin_wait2",
    b"06": "tcp_time_wait",
    b"07": "tcp_close",
    b"08": "tcp_close_wait",
    b"09": "tcp_last_ack",
    b"0A": "tcp_listen",
    b"0B": "tcp_closing",
}
_OTHER = "tcp_none"
_STATE = 3  # its column

_States = Mapping[bytes, int]
"""The kernel's number of a state, to how many sockets are in it."""


class Netstat(Collector):
    """Writes `netstat`, as Telegraf's input of that name.

    psutil would hold a list of all connections, and look at each file of each process for it. The
    kernel takes a microsecond for each socket, so that a million of them take a second: hence the
    `TimeoutRunner`.
    """

    name = "netstat"
    default_enabled = False

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._timeout_s = options.timeout_ms / 1000

    def collect(self) -> Iterator[Point | Omission]:
        """Yield one point: how many sockets there are, of IPv4 and IPv6 together.

        Raises:
            OSError: None of them can be counted.
        """
        paths = [f"{self.host.net}/{name}" for name in ("tcp", "tcp6", "udp", "udp6")]
        calls = {("sockets", path): partial(self._count, path) for path in paths}
        answers = self.host.runner.run(calls, self._timeout_s)
        tcp, tcp6, udp, udp6 = answers.values()
        fields: dict[str, FieldValue] = {}
        parts = {"TCP": lambda: _by_state(_both(tcp, tcp6)), "UDP": lambda: _all(_both(udp, udp6))}
        yield from gather(fields, parts)
        yield Point("netstat", fields)

    def _count(self, path: str) -> Counter[bytes]:
        until = self.host.clock.monotonic() + self._timeout_s
        counted: Counter[bytes] = Counter()
        rest = b""
        for block in self.host.read_blocks(path):
            if self.host.clock.monotonic() > until:
                # Nobody waits for the rest of it.
                raise self.host.runner.no_answer(self._timeout_s)
            rows, end, rest = (rest + block).rpartition(b"\n")
            counted.update(_states(rows + end))
        return counted


def _states(rows: bytes) -> Iterator[bytes]:
    """Yield the state of each row, after its number and the addresses of both ends: proc_net(5)."""
    for row in rows.split(b"\n"):
        words = row.split(None, _STATE + 1)
        if len(words) > _STATE and words[0].endswith(b":"):
            yield words[_STATE]


def _both(of_ipv4: _States | Exception, of_ipv6: _States | Exception) -> _States:
    """Return the sockets of both families, of which IPv6 may be missing."""
    answers = (of_ipv4, {} if isinstance(of_ipv6, FileNotFoundError) else of_ipv6)
    counted: Counter[bytes] = Counter()
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
        counted.update(answer)
    return counted


def _by_state(counted: _States) -> dict[str, int]:
    fields = dict.fromkeys((*_STATES.values(), _OTHER), 0)
    for state, number in counted.items():
        fields[_STATES.get(state, _OTHER)] += number
    return fields


def _all(counted: _States) -> dict[str, int]:
    return {"udp_socket": sum(counted.values())}
