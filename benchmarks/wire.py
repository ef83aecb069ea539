"""Between a client and a server on 127.0.0.1: what goes over the wire, and when."""

import gzip
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_LOOPBACK = "127.0.0.1"
_CHUNK = 2**16


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        line: Its first line.
        size: All its bytes.
        body: Its body, as the server decompresses it.
    """

    line: str
    size: int
    body: bytes

    @property
    def points(self) -> int:
        """How many lines it writes; 0 where it does something else."""
        return sum(1 for line in self.body.splitlines() if line) if self.is_write else 0

    @property
    def is_write(self) -> bool:
        """Whether it writes."""
        return self.line.startswith("POST /api/v2/write")


def requests(stream: bytes) -> Iterator[Request]:
    """Yield the whole requests that one connection carried, in HTTP/1.1."""
    at = 0
    while (end := stream.find(b"\r\n\r\n", at)) >= 0:
        line, *rows = stream[at:end].decode("latin-1").split("\r\n")
        pairs = (row.partition(":") for row in rows)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        if headers.get("transfer-encoding") == "chunked":
            body, after = _chunks(stream, end + 4)
        else:
            after = end + 4 + int(headers.get("content-length", 0))
            body = stream[end + 4 : after]
        if after > len(stream):
            return
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        yield Request(line, after - at, plain)
        at = after


def _chunks(stream: bytes, at: int) -> tuple[bytes, int]:
    """Return a chunked body and where it ends; beyond the stream where that is cut off."""
    body = b""
    while found := re.compile(rb"([0-9a-fA-F]+)[^\r\n]*\r\n").match(stream, at):
        size, begin = int(found[1], 16), found.end()
        at = begin + size + 2
        body += stream[begin : begin + size]
        if size == 0:
            return body, at
    return body, len(stream) + 1


@dataclass
class Traffic:
    """What went through.

    Attributes:
        first: When the first byte came from a client, by the monotonic clock; 0 before that.
        last: When the last one came from the server.
        streams: What each connection carried to the server.
    """

    first: float = 0.0
    last: float = 0.0
    streams: list[bytearray] = field(default_factory=list)

    def requests(self) -> list[Request]:
        """Return the requests of all connections."""
        return [each for stream in self.streams for each in requests(bytes(stream))]


class Forwarder:
    """Listens on a port of its own, once it is opened, and passes all on to a server.

    Args:
        url: The server.

    Attributes:
        url: Where the client is to go.
        traffic: What went through since it was opened last.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (str(parts.hostname), int(parts.port or 80))
        self._listener = self._bound(0)
        self._port = self._listener.getsockname()[1]
        self._connected: set[socket.socket] = set()
        self.url = f"http://{_LOOPBACK}:{self._port}"
        self.traffic = Traffic()

    def _bound(self, port: int) -> socket.socket:
        # Bound but not listening, it keeps the port, and whoever connects is refused.
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_LOOPBACK, port))
        return listener

    def open(self) -> None:
        """Take connections from now on."""
        self.traffic = Traffic()
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        """Refuse connections from now on, and break those that there are."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._connected):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener = self._bound(self._port)

    def close(self) -> None:
        """End it."""
        self.shut()
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # it was shut
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._server) as server:
            for one in (client, server):  # a request in two parts must not wait for an ACK
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connected |= {client, server}
            down = threading.Thread(target=_down, args=(client, server, self.traffic), daemon=True)
            down.start()
            _up(client, server, self.traffic)
            down.join()
            self._connected -= {client, server}


def _up(client: socket.socket, server: socket.socket, traffic: Traffic) -> None:
    stream = bytearray()
    traffic.streams.append(stream)
    with suppress(OSError):
        while chunk := client.recv(_CHUNK):
            traffic.first = traffic.first or time.monotonic()
            stream += chunk
            server.sendall(chunk)
    with suppress(OSError):
        server.shutdown(socket.SHUT_WR)


def _down(client: socket.socket, server: socket.socket, traffic: Traffic) -> None:
    with suppress(OSError):
        while chunk := server.recv(_CHUNK):
            traffic.last = time.monotonic()
            client.sendall(chunk)
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


@contextmanager
def forwarding(url: str, *, is_open: bool = True) -> Iterator[Forwarder]:
    """Give a forwarder to a server; it is gone at the end."""
    forwarder = Forwarder(url)
    if is_open:
        forwarder.open()
    try:
        yield forwarder
    finally:
        forwarder.close()
