"""Bounds on a request's time, size and addresses, plugged into influxdb-client's pool manager."""

import http.client
import io
import socket
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
        # One for each answer: what follows it unasked is never the start of the next.
        self.fp = io.BufferedReader(_Reader(sock, self.fp.detach(), bounds))

    def begin(self) -> None:
        super().begin()
        while 101 < self.status < 200:  # http.client passes over 100 alone
            self.headers = None  # type: ignore[assignment]  # as before it began
            super().begin()
        self.headers.defects.clear()  # urllib3 would log them, in the server's words
        self.headers.set_payload("")


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, raw: io.RawIOBase, bounds: Bounds) -> None:
        self._sock, self._raw, self._bounds = sock, raw, bounds
        self.readable, self.close = raw.readable, raw.close  # type: ignore[method-assign]  # its own

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._bounds.remaining_s())
        self._bounds.bytes_left -= (number := self._raw.readinto(buffer)) or 0
        if self._bounds.bytes_left < 0:
            raise OSError(f"an answer of more than {MOST_BYTES} bytes")
        return number


class _Connection(urllib3.connection.HTTPConnection):
    def __init__(self, *args: Any, bounds: Bounds, **options: Any) -> None:
        super().__init__(*args, **options)
        self._bounds = bounds
        self.response_class = partial(_Response, bounds=bounds)  # type: ignore[assignment]  # called

    @property
    def is_connected(self) -> bool:
        return super().is_connected and not getattr(self.sock, "pending", int)()  # within TLS

    def connect(self) -> None:
        name, self._bounds.is_new = self.host, True
        own: Any = self
        if isinstance(own, urllib3.connection.HTTPSConnection) and self.proxy is None:
            own.server_hostname = name  # whatever the address, it has to prove that name
        found = socket.getaddrinfo(name, self.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(socket.getnameinfo(one, _NUMERIC)[0] for *_, one in found))
        for left in range(len(addresses), 0, -1):
            self.host, self.timeout = addresses[-left], self._bounds.remaining_s() / left
            try:
                super().connect()
                return
            except (OSError, urllib3.exceptions.HTTPError) as error:
                getattr(self.sock, "close", int)()  # there may be none
                if addresses == [name]:
                    raise
                if left == 1:
                    tried = f"no connection to {' or '.join(addresses)}"
                    raise OSError(f"{tried}: {in_words(error.__cause__ or error)}") from None
            finally:
                self.host = name


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
