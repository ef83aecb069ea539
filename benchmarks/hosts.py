"""The hosts of a fleet: what they send, and the sending."""

import contextlib
import itertools
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from benchmarks.scale import INTERVAL_S
from pipeline.clock import SystemClock
from pipeline.collectors import Host, build
from pipeline.point import decode
from pipeline.spool import joined, pack
from tests.influxd.server import InfluxServer

SAMPLES, SAMPLES_S = 60, 0.1
GIVE_UP_S = 3.0
_PLACE = "host=bench"

Body = bytes


class Bodies:
    """What hosts send: real readings, each line with a host and a time of its own."""

    def __init__(self) -> None:
        clock = SystemClock()
        guards = build(Host.system(clock), {})
        self._samples = []
        for _ in range(SAMPLES):
            lines = [line for g in guards for line in g.run(1, {"host": "bench"}).lines]
            self._samples.append([line.rpartition(" ")[0] for line in lines])
            time.sleep(SAMPLES_S)
        last = self._samples[-1]
        self.lines = len(last)
        self.series = sum(len(x.point.fields) for x in decode("\n".join(f"{y} 1" for y in last)))

    def one(self, host: int, time_ns: int) -> Body:
        """Return a host's reading as its agent sends it."""
        return pack(self._text(host, time_ns))

    def _text(self, host: int, time_ns: int) -> str:
        lines = self._samples[(host + time_ns // (INTERVAL_S * 10**9)) % SAMPLES]
        tag = f"host=host-{host:07}"
        return joined(f"{line.replace(_PLACE, tag)} {time_ns}" for line in lines)

    def flush(self, host: int, time_ns: int, readings: int) -> Body:
        """Return so many readings of a host, the last one of that time."""
        step = INTERVAL_S * 10**9
        return pack("".join(self._text(host, time_ns - n * step) for n in range(readings)))


class Line:
    """One connection that is kept, and the request on it.

    It does less than the agent's influxdb-client: what the hosts take of the processor is taken
    from the server that is measured.
    """

    def __init__(self, server: InfluxServer, bucket: str) -> None:
        where = urlsplit(server.url)
        query = urlencode({"org": server.org, "bucket": bucket, "precision": "ns"})
        self._head = (
            f"POST /api/v2/write?{query} HTTP/1.1\r\nHost: {where.netloc}\r\n"
            f"Authorization: Token {server.token}\r\nContent-Encoding: gzip\r\nContent-Length: "
        ).encode()
        self._address = (where.hostname or "", where.port or 0)
        self._socket: socket.socket | None = None

    def post(self, body: Body) -> None:
        """Send a body and wait for the answer."""
        answer = b""
        if self._socket is not None:
            with contextlib.suppress(ConnectionError):
                answer = self._ask(self._socket, body)
        if not answer:  # the first, or the server ended a connection that was idle for minutes
            self.close()
            self._socket = socket.create_connection(self._address, 60)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answer = self._ask(self._socket, body)
        if not answer.startswith(b"HTTP/1.1 204 "):
            raise RuntimeError(f"the server answered {answer.decode(errors='replace')}")

    def _ask(self, there: socket.socket, body: Body) -> bytes:
        there.sendall(b"%s%d\r\n\r\n%s" % (self._head, len(body), body))
        answer = b""
        while b"\r\n\r\n" not in answer and (part := there.recv(4096)):
            answer += part
        return answer

    def close(self) -> None:
        """Close it."""
        if self._socket is not None:
            self._socket.close()


@dataclass(frozen=True)
class Request:
    """A body and when it is due, on the monotonic clock."""

    due: float
    body: Body


def send(lines: Sequence[Line], requests: Sequence[Request]) -> tuple[list[float], int]:
    """Send each request when it is due, or as soon as a connection is free then.

    Returns:
        The seconds from when each was due to its answer, and how many were answered: one that is
        too late already is given up, and counts with the seconds until then.
    """
    order = itertools.count()
    took = [0.0] * len(requests)
    answered = [False] * len(requests)

    def work(line: Line) -> None:
        for number in order:
            if number >= len(requests):
                return
            due, body = requests[number].due, requests[number].body
            late = time.monotonic() - due
            if late < 0:
                time.sleep(-late)
            if late < GIVE_UP_S:
                line.post(body)
                answered[number] = True
            took[number] = time.monotonic() - due

    with ThreadPoolExecutor(len(lines)) as pool:
        for done in [pool.submit(work, line) for line in lines]:
            done.result()
    return took, sum(answered)
