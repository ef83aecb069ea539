"""The one request that is made all day: a write, on a connection that is kept.

urllib3, which makes all other requests, takes several times as long as the request itself: on a
host that sends each second it is felt. What is not a plain 204 is read by the standard library, and
ends the connection.
"""

import contextlib
import io
import re
import ssl
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from pipeline.influx.bounds import Bounds, Received

_DELIVERED = b"HTTP/1.1 204 "
_LONGEST_LINE, _MOST_HEADERS = 65_536, 100  # http.client's own bounds
_GONE = (ConnectionError, ssl.SSLEOFError)
_SAFE = "/%:@!$&'()*+,;=~"  # of a path, what needs no quoting (RFC 3986)


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
        url: Makes the address.
        headers: What each request has besides its length.
        bounds: Those of each request.
        context: Makes what TLS is done by.
    """

    def __init__(
        self,
        url: Callable[[], str],
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
        self._received: Received | None = None

    def post(self, body: bytes) -> Reply:
        """Send a body and read the answer.

        Raises:
            OSError, HTTPException: There is none.
        """
        self._bounds.begin()
        kept = self._received is not None
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
        if self._received is not None:
            self._received.close()
            self._received = None
        if self._server is not None:
            self._server.close()

    def _ask(self, body: bytes) -> Reply:
        if self._received is not None and not self._is_quiet():
            self.close()
        received = self._received or self._open()
        sock = self._server.sock  # type: ignore[union-attr]  # it is open
        sock.settimeout(self._bounds.remaining_s())
        # What takes no more of a body may have answered all the same, such as 413.
        with contextlib.suppress(*_GONE):
            sock.sendall(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        # One for each answer, so that what is left of one is never the start of the next.
        reader = io.BufferedReader(received)
        start = reader.peek(len(_DELIVERED))
        if not start:
            raise ConnectionResetError("the connection was closed without response")
        if not start.startswith(_DELIVERED):
            reply = _other(reader)
            self.close()
            return reply
        reply, size = _delivered(reader)
        reader.detach()
        if size != self._bounds.received_bytes or not _is_complete(reply):
            self.close()
        return reply

    def _is_quiet(self) -> bool:
        """Tell whether a kept connection has neither ended nor brought what nobody asked for."""
        sock = self._server.sock  # type: ignore[union-attr]  # it is open
        sock.settimeout(0)
        try:
            sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def _open(self) -> Received:
        if self._server is None:
            self._server = self._prepared()
        self._server.timeout = self._bounds.remaining_s()
        try:
            self._server.connect()
        except ssl.SSLError:
            self._server = None  # a certificate that is exchanged is read anew
            raise
        self._received = Received(self._server.sock, self._bounds)
        return self._received

    def _prepared(self) -> HTTPConnection:
        where = urlsplit(self._url())
        named = {"Host": where.netloc.rpartition("@")[2], **self._headers}
        lines = (f"{name}: {value}" for name, value in named.items())
        path = quote(where.path, safe=_SAFE)
        start = "\r\n".join((f"POST {path}?{where.query} HTTP/1.1", *lines))
        self._head = f"{start}\r\nContent-Length: ".encode()
        # RFC 6874: so before the name of a link.
        host = re.sub("%25(?=.)", "%", where.hostname or "", count=1)
        if where.scheme == "https":
            return _Tls(host, where.port or 443, self._context())
        return HTTPConnection(host, where.port or 80)


class _Tls(HTTPSConnection):
    """Expects what urllib3 does: a certificate of the name alone, without a link and a last dot."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(host, port, context=context)
        self._expects = context

    def connect(self) -> None:
        """Connect, and prove who it is."""
        HTTPConnection.connect(self)
        name = self.host.partition("%")[0].rstrip(".")
        self.sock = self._expects.wrap_socket(self.sock, server_hostname=name)


def _delivered(reader: "io.BufferedReader[Received]") -> tuple[Reply, int]:
    """Read a 204, which has no body; return it and how many bytes it is."""
    size = len(reader.readline(_LONGEST_LINE))
    headers: dict[str, str] = {}
    for _ in range(_MOST_HEADERS):
        line = reader.readline(_LONGEST_LINE)
        size += len(line)
        if line in (b"\r\n", b"\n", b""):
            return Reply(204, headers.get, b""), size
        if not line.endswith(b"\n"):
            raise HTTPException("a header line that is too long or cut off")
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.title()] = value.strip()
    raise HTTPException("too many headers")


def _is_complete(reply: Reply) -> bool:
    """Tell whether nothing of a 204 follows, and the server keeps the connection."""
    kept = (reply.header("Connection") or "keep-alive").lower() == "keep-alive"
    return kept and reply.header("Transfer-Encoding") is None


def _other(reader: "io.BufferedReader[Received]") -> Reply:
    response = HTTPResponse(_Answer(reader), method="POST")  # type: ignore[arg-type]  # all it uses
    response.begin()
    return Reply(response.status, response.headers.get, response.read())


class _Answer:
    """What `HTTPResponse` takes for a socket."""

    def __init__(self, reader: "io.BufferedReader[Received]") -> None:
        self._reader = reader

    def makefile(self, _: str) -> "io.BufferedReader[Received]":
        return self._reader
