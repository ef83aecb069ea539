"""HTTP by the standard library's server, on a socket that listens."""

import logging
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_log = logging.getLogger(__name__)

Answer = Callable[[str, str, str], tuple[HTTPStatus, Mapping[str, str], bytes]]
"""Method, target and host of a request to the status, the headers and the body of its answer."""

_CLIENT_TIMEOUT_S = 5.0


class Server(ThreadingHTTPServer):
    """Answers clients, each in a thread of its own.

    Args:
        listener: What they connect to; its owner closes it.
        answer: What they are answered.
    """

    daemon_threads = True

    def __init__(self, listener: socket.socket, answer: Answer) -> None:
        super().__init__(listener.getsockname(), _handler(answer), bind_and_activate=False)
        self.socket.close()
        self.socket = listener

    def handle_error(self, request: object, client_address: object) -> None:
        """Note a client that is gone, or the like; socketserver would print a traceback."""
        _log.debug("The endpoint lost a client", exc_info=True)


def _handler(answer: Answer) -> type[BaseHTTPRequestHandler]:
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
