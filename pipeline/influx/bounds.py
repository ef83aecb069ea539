"""Bounds on a request that influxdb-client does not set, plugged into its urllib3 pool manager.

A socket's timeout holds for each read alone, an answer may be as large as its sender likes, and an
address that swallows packets takes the time of the other addresses of its name.
"""

import http.client
import io
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

MOST_BYTES = 2**23  # of an answer


class Bounds:
    """What is left of the time and the bytes of a request, and its `response` once that is whole.

    Args:
        monotonic: The clock, in seconds.
        seconds: The time of a request, from its beginning to the last byte of the answer.
    """

    def __init__(self, monotonic: Callable[[], float], seconds: float) -> None:
        self._monotonic, self._seconds = monotonic, seconds
        self.begin()

    def begin(self) -> None:
        """Begin with a request."""
        self.response: urllib3.BaseHTTPResponse | None = None
        self._deadline, self.bytes_left = self._monotonic() + self._seconds, MOST_BYTES

    def remaining_s(self) -> float:
        """Return the seconds that are left, or raise a TimeoutError: none are."""
        if (left := self._deadline - self._monotonic()) <= 0:
            raise TimeoutError(f"no whole answer within {self._seconds:g} s")
        return left

    def plug_into(self, manager: urllib3.PoolManager) -> None:
        """Let all that a pool manager requests be within these bounds."""
        pools: Any = {"http": partial(_Pool, bounds=self), "https": partial(_TlsPool, bounds=self)}
        manager.pool_classes_by_scheme = pools


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, bounds: Bounds, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        # One for each answer: what follows it unasked is never the start of the next.
        self.fp = io.BufferedReader(_Reader(sock, self.fp.detach(), bounds))


class _Reader(io.RawIOBase):
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


class _Connection(HTTPConnection):
    def __init__(self, *args: Any, bounds: Bounds, **options: Any) -> None:
        super().__init__(*args, **options)
        self._bounds = bounds
        self.response_class = partial(_Response, bounds=bounds)  # type: ignore[assignment]  # called

    def connect(self) -> None:
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        self.timeout = self._bounds.remaining_s() / len(addresses)
        try:
            super().connect()
        except (NewConnectionError, ConnectTimeoutError) as error:
            if addresses == [self.host]:
                raise
            raise OSError(f"no connection to {' or '.join(addresses)}: {error.__cause__}") from None
        self.sock.settimeout(self._bounds.remaining_s())

    def send(self, data: Any) -> None:
        if self.sock is not None:  # a kept one still has the time of the request before
            self.sock.settimeout(self._bounds.remaining_s())
        super().send(data)


class _TlsConnection(_Connection, HTTPSConnection): ...


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection

    def urlopen(self, *args: Any, **options: Any) -> Any:
        bounds: Bounds = self.conn_kw["bounds"]
        bounds.begin()
        # Nobody asks for a packed answer, and a small one can become very large.
        options |= {"decode_content": False, "preload_content": True}
        bounds.response = super().urlopen(*args, **options)
        return bounds.response


class _TlsPool(_Pool, urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
