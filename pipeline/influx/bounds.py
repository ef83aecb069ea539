"""Bounds on a request's time, size and addresses, plugged into influxdb-client's pool manager."""

import http.client
import io
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

import urllib3.connection

from pipeline.influx.answer import in_words

MOST_BYTES = 2**23  # of an answer
_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class Bounds:
    """The time and bytes left to a request, its `response`, and whether its connection is new."""

    def __init__(self, monotonic: Callable[[], float], seconds: float) -> None:
        self._monotonic, self._seconds = monotonic, seconds
        self.begin()

    def begin(self) -> None:
        """Begin a request."""
        self.response: urllib3.BaseHTTPResponse | None = None
        self.bytes_left, self.is_new = MOST_BYTES, False
        self._deadline = self._monotonic() + self._seconds

    def remaining_s(self) -> float:
        """Return the seconds that are left, or raise a TimeoutError: none are."""
        if (left := self._deadline - self._monotonic()) <= 0:
            raise TimeoutError(f"no whole answer within {self._seconds:g} s")
        return left

    def plug_into(self, manager: urllib3.PoolManager) -> None:
        """Apply these bounds to every request of a pool manager."""
        pools: Any = {"http": partial(_Pool, bounds=self), "https": partial(_TlsPool, bounds=self)}
        manager.pool_classes_by_scheme = pools


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, bounds: Bounds, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        # A buffer for each answer: what follows it unasked is never the start of the next.
        self.fp = io.BufferedReader(_Reader(sock, self.fp.detach(), bounds))

    def begin(self) -> None:
        super().begin()
        while 101 < self.status < 200:  # http.client passes over 100 alone
            self.headers = None  # type: ignore[assignment]  # as before it began
            super().begin()
        # Lines that are no headers: urllib3 would log them, in the server's words.
        self.headers.defects.clear()
        self.headers.set_payload("")


class _Reader(io.RawIOBase):
    """Reads an answer, within the bounds of its request."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, bounds: Bounds) -> None:
        self._sock, self._raw, self._bounds = sock, raw, bounds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._bounds.remaining_s())
        number = self._raw.readinto(buffer)
        self._bounds.bytes_left -= number or 0
        if self._bounds.bytes_left < 0:
            raise OSError(f"an answer of more than {MOST_BYTES} bytes")
        return number

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connection(urllib3.connection.HTTPConnection):
    def __init__(self, *args: Any, bounds: Bounds, **options: Any) -> None:
        super().__init__(*args, **options)
        self._bounds = bounds
        self.response_class = partial(_Response, bounds=bounds)  # type: ignore[assignment]  # called

    @property
    def is_connected(self) -> bool:
        # The socket does not show what TLS has read of an answer that nobody asked for.
        is_read = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0
        return super().is_connected and not is_read

    def connect(self) -> None:
        """Connect to the first address that answers, each in its share of the time."""
        self._bounds.is_new = True
        name = self.host
        own: Any = self
        if isinstance(own, urllib3.connection.HTTPSConnection) and self.proxy is None:
            own.server_hostname = name  # whatever the address, it has to prove that name
        addresses = _addresses(name, self.port)
        try:
            for number, address in enumerate(addresses, 1):
                shares = len(addresses) - number + 1
                self.host, self.timeout = address, self._bounds.remaining_s() / shares
                try:
                    super().connect()
                    return
                except (OSError, urllib3.exceptions.HTTPError) as error:
                    if self.sock is not None:
                        self.sock.close()
                    if addresses == [name]:
                        raise
                    if number == len(addresses):
                        tried = f"no connection to {' or '.join(addresses)}"
                        raise OSError(f"{tried}: {in_words(error.__cause__ or error)}") from None
        finally:
            self.host = name


def _addresses(name: str, port: int) -> list[str]:
    """Return the addresses of a name, in the order in which to try them."""
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(socket.getnameinfo(one, _NUMERIC)[0] for *_, one in found))


class _TlsConnection(_Connection, urllib3.connection.HTTPSConnection): ...


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection

    def urlopen(self, *args: Any, **options: Any) -> Any:
        (bounds := self.conn_kw["bounds"]).begin()
        options |= {"preload_content": True, "decode_content": False}  # it may be a bomb
        bounds.response = response = super().urlopen(*args, **options)
        if not 200 <= response.status < 300:  # influxdb-client would log it by the root logger
            raise urllib3.exceptions.HTTPError(response.status)
        return response


class _TlsPool(_Pool, urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
