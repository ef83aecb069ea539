"""The loopback endpoint: serves routes to this host."""

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

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


class Endpoint:
    """Serves routes to this host only, until `close`.

    Args:
        port: The TCP port; 0 lets the system choose one, see `port`.
        routes: Path to what answers a GET.

    Raises:
        OSError: The port cannot be had.
    """

    def __init__(self, port: int, routes: Routes) -> None:
        self._server = _Server((_LOOPBACK, port), _handler(routes))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving and free the port."""
        self._closing = True
        with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, self.port)):
            self._thread.join()
        self._server.server_close()

    def abandon(self) -> None:
        """Leave the port to the process that this one was forked from."""
        self._server.server_close()

    def _serve(self) -> None:
        # serve_forever would wake twice a second, for as long as the host runs, and take half a
        # second to stop; this sleeps until there is a client, the last of them being `close`.
        while not self._closing:
            self._server.handle_request()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        # Such as a client that is gone; socketserver would print a traceback.
        _log.debug("The endpoint lost a client", exc_info=True)


def _handler(routes: Routes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "metrics-pipeline"
        sys_version = ""
        protocol_version = "HTTP/1.1"
        timeout = _CLIENT_TIMEOUT_S

        def do_GET(self) -> None:  # the name that http.server calls
            self._send(_reply(routes, self.path, self.headers.get("Host", "")))

        def __getattr__(self, name: str) -> Callable[[], None]:
            # http.server looks for do_<METHOD>, and answers 501 where there is none.
            if not name.startswith("do_"):
                raise AttributeError(name)
            return self._refuse_method

        def _refuse_method(self) -> None:
            known = _path(self.path) in routes
            status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
            # A body that nobody reads would be taken for the next request.
            headers = {"Allow": "GET", "Connection": "close"}
            refusal = _error(status, "only GET is served here")
            self._send(replace(refusal, headers=headers))

        def _send(self, reply: Reply) -> None:
            body = reply.body.encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            for name, value in reply.headers.items():
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


def _path(target: str) -> str:
    return target.partition("?")[0]


def _error(status: HTTPStatus, message: str) -> Reply:
    return Reply.json({"error": message}, status)
