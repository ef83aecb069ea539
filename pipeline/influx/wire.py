"""The one request that is made all day: a write, on a connection that is kept.

urllib3 and the client around it take several times as long as the request itself, which is felt on
a host that sends each second. What is not a plain 204 is read by the standard library.
"""

import contextlib
import io
import ssl
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pipeline.influx.bounds import Bounds, Received

_DELIVERED = b"HTTP/1.1 204 "
_LONGEST_LINE, _MOST_HEADERS = 65_536, 100  # http.client's own bounds
_GONE = (ConnectionError, ssl.SSLEOFError)


class Reply(NamedTuple):
    """What a server answered.

    Attributes:
        status: Its status.
        header: Returns what a header says, or None.
        data: The body.
    """

    status: int
    header: Callable[[str], str | None]
    data: bytes


class Wire:
    """A connection for posts to one address, opened when it is needed.

    Args:
        url: The address.
        headers: What each request has besides its length.
        bounds: Those of each request.
        context: Makes what TLS is done by.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        bounds: Bounds,
        context: Callable[[], ssl.SSLContext],
    ) -> None:
        self._url = url
        self._headers = headers
        self._bounds = bounds
        self._context = context
        self._head = b""
        self._server: HTTPConnection | None = None
        self._reader: io.BufferedReader | None = None

    def post(self, body: bytes) -> Reply:
        """Send a body and read the answer.

        Raises:
            OSError, HTTPException: There is none.
        """
        self._bounds.begin()
        kept = self._reader is not None
        try:
            return self._ask(body)
        except BaseException as error:
            self.close()
            # A server closes what was idle for long. To send twice changes nothing.
            if not kept or not isinstance(error, _GONE):
                raise
        return self.post(body)

    def close(self) -> None:
        """Close the connection; the next post opens one."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._server is not None:
            self._server.close()

    def _ask(self, body: bytes) -> Reply:
        reader = self._reader or self._open()
        sock = self._server.sock  # type: ignore[union-attr]  # it is open
        sock.settimeout(self._bounds.remaining_s())
        # What takes no more of a body may have answered all the same, such as 413.
        with contextlib.suppress(*_GONE):
            sock.sendall(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        start = reader.peek(len(_DELIVERED))
        if not start:
            raise ConnectionResetError("the connection was closed without response")
        return self._delivered(reader) if start.startswith(_DELIVERED) else self._other(reader)

    def _open(self) -> io.BufferedReader:
        if self._server is None:
            self._server = self._prepared()
        self._server.timeout = self._bounds.remaining_s()
        self._server.connect()
        self._reader = io.BufferedReader(Received(self._server.sock, self._bounds))
        return self._reader

    def _prepared(self) -> HTTPConnection:
        where = urlsplit(self._url)
        named = {"Host": where.netloc.rpartition("@")[2], **self._headers}
        lines = (f"{name}: {value}" for name, value in named.items())
        start = "\r\n".join((f"POST {where.path}?{where.query} HTTP/1.1", *lines))
        self._head = f"{start}\r\nContent-Length: ".encode()
        host = where.hostname or ""
        if where.scheme == "https":
            return HTTPSConnection(host, where.port or 443, context=self._context())
        return HTTPConnection(host, where.port or 80)

    def _delivered(self, reader: io.BufferedReader) -> Reply:
        """Read a 204, which has no body."""
        reader.readline(_LONGEST_LINE)
        headers: dict[str, str] = {}
        lines = 0
        while (line := reader.readline(_LONGEST_LINE)) not in (b"\r\n", b"\n", b""):
            lines += 1
            if len(line) == _LONGEST_LINE or lines > _MOST_HEADERS:
                raise HTTPException("a header line that is too long, or too many headers")
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.title()] = value.strip()
        if headers.get("Connection", "").lower() == "close":
            self.close()
        return Reply(204, headers.get, b"")

    def _other(self, reader: io.BufferedReader) -> Reply:
        response = HTTPResponse(_Kept(reader), method="POST")  # type: ignore[arg-type]  # all it uses
        response.begin()
        reply = Reply(response.status, response.headers.get, response.read())
        if response.will_close:
            self.close()
        return reply


class _Kept:
    """A connection, for an answer that would close it at its end."""

    def __init__(self, reader: io.BufferedReader) -> None:
        self._reader = reader

    def makefile(self, _: str) -> "_Kept":
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def close(self) -> None:
        pass

    def flush(self) -> None:
        pass
