"""The connection between the rehearsal's agent and the server: a proxy on loopback, to be broken.

It speaks as much of an HTTP proxy as a client needs to go through it: `CONNECT`, after which TLS
goes from end to end, so that the server's certificate is checked as ever; and requests that name
the whole address, which every server understands (RFC 9112, section 3.2.2). Where the settings name
a proxy, all goes to that one as it is. It leads to one place, whatever it is asked for.
"""

import contextlib
import socket
import struct
import threading
from enum import Enum, auto

_LOOPBACK = "127.0.0.1"
_CHUNK = 65_536
_CONNECT_S = 10.0
# So that the end of a connection is a reset and no orderly goodbye.
_RESET = struct.pack("ii", 1, 0)


class State(Enum):
    """What the proxy does to connections and requests."""

    OPEN = auto()
    """Everything gets through."""
    REFUSED = auto()
    """Nobody listens."""
    SILENT = auto()
    """Connections are taken, and nothing ever comes back."""
    CUT = auto()
    """The connection is reset in the midst of a request."""
    DEAF = auto()
    """Requests get through, and the connection is reset in place of the answer."""


class Proxy:
    """A proxy that leads to one place, open at first.

    Args:
        host: Where it leads to.
        port: Its port.
        answers_connect: Whether `CONNECT` is answered here; not where it leads to a proxy.

    Attributes:
        port: The port on loopback at which it begins.
        broken: How many requests were broken by `CUT` or `DEAF`.
    """

    def __init__(self, host: str, port: int, *, answers_connect: bool) -> None:
        self._target = (host, port)
        self._answers_connect = answers_connect
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._state = State.OPEN
        self.broken = 0
        with socket.create_server((_LOOPBACK, 0)) as chosen:
            self.port: int = chosen.getsockname()[1]
        # Bound by its number, the port stays this socket's also while nobody listens.
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._server.bind((_LOOPBACK, self.port))
        self._listen()

    @property
    def url(self) -> str:
        """Its address, for `influxdb_proxy`."""
        return f"http://{_LOOPBACK}:{self.port}"

    def turn(self, state: State) -> None:
        """Change the state, for open connections too."""
        with self._lock:
            before, self._state = self._state, state
            sockets = [] if state in (State.CUT, State.DEAF) else list(self._sockets)
        for one in sockets:
            self._reset(one)
        listened, listens = before is not State.REFUSED, state is not State.REFUSED
        if listened and not listens:
            self._server.shutdown(socket.SHUT_RDWR)
            self._acceptor.join()
        elif listens and not listened:
            self._listen()

    def close(self) -> None:
        """End everything."""
        self.turn(State.REFUSED)
        self._server.close()

    def _listen(self) -> None:
        self._server.listen(16)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self._keep(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self._state is State.SILENT:
            return  # until the next turn
        with contextlib.suppress(OSError):
            head = self._head(client) if self._answers_connect else b""
            with socket.create_connection(self._target, timeout=_CONNECT_S) as server:
                server.settimeout(None)
                self._keep(server)
                if head.startswith(b"CONNECT "):
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    head = b""
                back = threading.Thread(target=self._answer, args=(server, client), daemon=True)
                back.start()
                self._ask(client, server, head)
                back.join()
                for one in (client, server):
                    self._forget(one)
                    one.close()
                return
        self._reset(client)

    def _head(self, client: socket.socket) -> bytes:
        """Return what comes first; all of it where it is a `CONNECT`."""
        head = client.recv(_CHUNK)
        while head.startswith(b"CONNECT ") and not head.endswith(b"\r\n\r\n"):
            more = client.recv(_CHUNK)
            if not more:
                raise ConnectionAbortedError
            head += more
        return head

    def _ask(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        with contextlib.suppress(OSError):
            while data := data or client.recv(_CHUNK):
                if self._state is State.CUT:
                    self.broken += 1
                    server.sendall(data[:-1])
                    break
                if self._state not in (State.OPEN, State.DEAF):
                    break
                server.sendall(data)
                data = b""
            else:
                self._pass_end(client, server)
                return
        self._reset(client)
        self._reset(server)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(_CHUNK):
                if self._state is not State.OPEN:
                    self.broken += self._state is State.DEAF
                    break
                client.sendall(data)
            else:
                self._pass_end(server, client)
                return
        self._reset(client)
        self._reset(server)

    def _pass_end(self, ended: socket.socket, other: socket.socket) -> None:
        with self._lock:
            by_itself = ended in self._sockets
        if not by_itself:
            raise ConnectionAbortedError
        other.shutdown(socket.SHUT_WR)

    def _keep(self, one: socket.socket) -> None:
        with self._lock:
            self._sockets.add(one)

    def _forget(self, one: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(one)

    def _reset(self, one: socket.socket) -> None:
        self._forget(one)
        with contextlib.suppress(OSError):  # it is closed already
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            one.shutdown(socket.SHUT_RD)  # wakes who reads it, and tells the other end nothing
        one.close()
