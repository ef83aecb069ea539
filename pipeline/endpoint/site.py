"""From the head of a request to the bytes of its answer: HTTP/1.1, one GET a connection."""

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl

from pipeline.clock import Clock
from pipeline.health import Trouble

# What a client on this host calls it. A page from elsewhere whose name was made to point here
# (DNS rebinding) comes with a name of its own.
_OWN_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  # a token of RFC 9110, no secret
_REQUEST_RE = re.compile(rf"({_TOKEN}) (/[!-~]*) HTTP/1\.[01]")
_HEADER_RE = re.compile(rf"({_TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_ALWAYS = {
    "Server": "metrics-pipeline",
    "Connection": "close",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a route."""

    status: HTTPStatus
    content_type: str
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(
        cls,
        value: object,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
    ) -> "Reply":
        """Answer a value as JSON."""
        return cls(status, "application/json", json.dumps(value) + "\n", headers or {})


Query = Mapping[str, str]
"""In it, the last value of a name counts."""


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a GET of a path.

    Attributes:
        reply: Makes the answer.
        changes: Whether it changes something, which no other site's page may ask for.
    """

    reply: Callable[[Query], Reply]
    changes: bool = False


Routes = Mapping[str, Route]


@dataclass(frozen=True, slots=True)
class _Request:
    """A request; the names of its headers are in lower case, those that come twice are joined."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def is_from_elsewhere(self) -> bool:
        """Whether a page of another site asks; only browsers say from where they come."""
        own = f"http://{self.headers['host']}"
        return (
            self.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
            or self.headers.get("origin", own).lower() != own.lower()
        )


class Site:
    """Answers requests by its routes.

    Args:
        routes: Path to what answers a GET.
        clock: Measures how often the log says that a route fails.
    """

    def __init__(self, routes: Routes, clock: Clock) -> None:
        self._routes = routes
        self._troubles = {path: Trouble(clock=clock) for path in routes}

    def answer(self, head: bytes) -> bytes:
        """Return the whole answer to a request, of which no body is read."""
        request = _parsed(head)
        if request is None:
            return _written(_error(HTTPStatus.BAD_REQUEST, "this is no request of HTTP/1.1"))
        return _written(self._reply(request), with_body=request.method != "HEAD")

    def _reply(self, request: _Request) -> Reply:
        route = self._routes.get(request.path)
        if request.method != "GET":
            status = HTTPStatus.METHOD_NOT_ALLOWED if route else HTTPStatus.NOT_FOUND
            return _error(status, "only GET is served here", Allow="GET")
        host = request.headers.get("host", "")
        if "," in host:
            return _error(HTTPStatus.BAD_REQUEST, "a request has one Host")
        if re.sub(r":\d*$", "", host).lower() not in _OWN_NAMES:
            return _error(HTTPStatus.FORBIDDEN, "ask for localhost")
        if route is None:
            return _error(HTTPStatus.NOT_FOUND, f"served here: {', '.join(self._routes)}")
        if route.changes and request.is_from_elsewhere:
            return _error(HTTPStatus.FORBIDDEN, "no page of another site may ask for this")
        return self._made(request, route)

    def _made(self, request: _Request, route: Route) -> Reply:
        trouble = self._troubles[request.path]
        try:
            reply = route.reply(dict(parse_qsl(request.target.partition("?")[2])))
        except Exception as error:  # noqa: BLE001  # a client is told whatever fails
            line = f"The endpoint failed to answer {request.path}: {error}"
            trouble.begins(str(error), line, level=logging.ERROR, error=error)
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        trouble.ends(f"The endpoint answers {request.path} again")
        return reply


def _parsed(head: bytes) -> _Request | None:
    """Read a request strictly: what may be read in two ways is none."""
    whole, end, _ = head.partition(b"\r\n\r\n")
    first, *lines = whole.decode("latin-1").split("\r\n")
    found = _REQUEST_RE.fullmatch(first) if end else None
    headers: dict[str, str] = {}
    for line in lines:
        header = _HEADER_RE.fullmatch(line)
        if header is None:
            return None
        name, value = header[1].lower(), header[2]
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return _Request(found[1], found[2], headers) if found else None


def _written(reply: Reply, *, with_body: bool = True) -> bytes:
    body = reply.body.encode(errors="backslashreplace")
    own = {"Content-Type": reply.content_type, "Content-Length": str(len(body)), **reply.headers}
    lines = [
        f"HTTP/1.1 {reply.status.value} {reply.status.phrase}",
        *(f"{name}: {value}" for name, value in {**_ALWAYS, **own}.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body if with_body else b"")


def _error(status: HTTPStatus, message: str, **headers: str) -> Reply:
    return Reply.json({"error": message}, status, headers)
