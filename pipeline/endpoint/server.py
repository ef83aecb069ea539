"""The loopback endpoint: serves routes to this host."""

import contextlib
import errno
import json
import logging
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
# What a client on this host calls it. A page from elsewhere whose name was made to point here
# (DNS rebinding) comes with a name of its own.
_OWN_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
_CLIENT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a route answers."""

    status: HTTPStatus
    content_type: str
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: object, status: HTTPStatus = HTTPStatus.OK) -> "Reply":
        """Answer a value as JSON."""
        return cls(status, "application/json", json.dumps(value) + "\n")


Query = Mapping[str, str]
Routes = Mapping[str, Callable[[Query], Reply]]
"""Path to what answers a GET with a query: of a name that comes twice, the last value."""
_Answer = Callable[[str, str, str], tuple[HTTPStatus, Mapping[str, str], bytes]]
"""Method, target and host of a request to the status, the headers and the body of its answer."""


class Endpoint:
    """Serves routes to this host only, until `close`.

    Args:
        port: The TCP port; 0 lets the system choose one, see `port`.
        routes: Path to what answers a GET.

    Raises:
        OSError: The port is taken, or the system starts no thread.
    """

    def __init__(self, port: int, routes: Routes) -> None:
        self._routes = routes
        self._listener = _listener(port)
        self.port: int = self._listener.getsockname()[1]
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._listener.close()
            raise OSError(errno.EAGAIN, str(error)) from error

    def close(self) -> None:
        """Stop serving and free the port."""
        self._closing = True
        with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, self.port)):
            self._thread.join()
        self._listener.close()

    def abandon(self) -> None:
        """Leave the port to the process that this one was forked from."""
        self._listener.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.select()
        if self._closing:
            return
        server = _http_server(self._listener, self._answer)
        # serve_forever would wake twice a second, for as long as the host runs, and take half a
        # second to stop; this sleeps until there is a client, the last of them being `close`.
        while not self._closing:
            server.handle_request()

    def _answer(
        self, method: str, target: str, host: str
    ) -> tuple[HTTPStatus, Mapping[str, str], bytes]:
        if method == "GET":
            reply = _reply(self._routes, target, host)
        else:
            reply = _refuse_method(self._routes, target)
        body = reply.body.encode()
        headers = {
            "Content-Type": reply.content_type,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            **reply.headers,
        }
        return reply.status, headers, body


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_LOOPBACK, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _http_server(listener: socket.socket, answer: _Answer) -> "ThreadingHTTPServer":
    """Return a server of clients that connect to a listener, each in a thread of its own."""
    # An agent that nobody asks does without the 6 MiB of http.server.
    from http.server import ThreadingHTTPServer  # noqa: PLC0415

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            # A client that is gone, or the like: socketserver would print a traceback.
            _log.debug("The endpoint lost a client", exc_info=True)

    server = Server(listener.getsockname(), _handler(answer), bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    return server


def _handler(answer: _Answer) -> "type[BaseHTTPRequestHandler]":
    from http.server import BaseHTTPRequestHandler  # noqa: PLC0415

    class Handler(BaseHTTPRequestHandler):
        server_version = "metrics-pipeline"
        sys_version = ""
        protocol_version = "HTTP/1.1"
        timeout = _CLIENT_TIMEOUT_S

        def __getattr__(self, name: str) -> Callable[[], None]:
            # http.server looks for do_<METHOD>, and answers 501 where there is none.
            if not name.startswith("do_"):
                raise AttributeError(name)
            return self._answer

        def _answer(self) -> None:
            host = self.headers.get("Host", "")
            status, headers, body = answer(self.command, self.path, host)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            _log.debug(format, *args)

    return Handler


def _reply(routes: Routes, target: str, host: str) -> Reply:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name.lower() not in _OWN_NAMES:
        return _error(HTTPStatus.FORBIDDEN, "ask for localhost")
    route = routes.get(_path(target))
    if route is None:
        return _error(HTTPStatus.NOT_FOUND, f"served here: {', '.join(routes)}")
    try:
        return route(dict(parse_qsl(target.partition("?")[2])))
    except Exception as error:  # noqa: BLE001  # no failure of a route may end the thread
        _log.error("The endpoint failed to answer %s: %s", _path(target), error)
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))


def _refuse_method(routes: Routes, target: str) -> Reply:
    known = _path(target) in routes
    status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
    # A body that nobody reads would be taken for the next request.
    headers = {"Allow": "GET", "Connection": "close"}
    return replace(_error(status, "only GET is served here"), headers=headers)


def _path(target: str) -> str:
    return target.partition("?")[0]


def _error(status: HTTPStatus, message: str) -> Reply:
    return Reply.json({"error": message}, status)
