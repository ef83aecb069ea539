"""A loopback proxy between the agent and InfluxDB that fails on request."""

import contextlib
import random
import socket
import threading

from tests.servers import Request, forward, read_request, reset, response

# Below the range that systems draw the ports of outgoing connections from; see InfluxProcess.
_PORTS = range(20_000, 32_000)
PASS = "pass"
REFUSE = "refuse"
HANG_COUNTS = "hang at each count of points, and take readings"
FAULTS = (
    REFUSE,
    "reset",  # when a request comes
    "cut",  # in the middle of a request
    "lose the answer",  # after the server has done what it was asked
    "hang",
    "500 Internal Server Error",
    "503 Service Unavailable",
    "429 Too Many Requests",
    "200 OK",
)


class Proxy:
    """Passes requests on to a server, or does what `fault` says.

    Args:
        url: The server, which may come and go.

    Attributes:
        writes: How many requests with readings came.
        hanging: How many requests hang now.
    """

    def __init__(self, url: str) -> None:
        self._server = url
        self.writes = self.hanging = 0
        self._fault = PASS
        self._changed = threading.Condition()
        self._clients: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._port = 0
        self._open()
        self.url = f"http://127.0.0.1:{self._port}"

    @property
    def fault(self) -> str:
        return self._fault

    @fault.setter
    def fault(self, fault: str) -> None:
        before = self._fault
        with self._changed:
            self._fault = fault
            self._changed.notify_all()
        if fault == REFUSE and before != REFUSE:
            self._shut()
        elif before == REFUSE and fault != REFUSE:
            self._open()

    def close(self) -> None:
        self.fault = REFUSE
        for thread in self._threads:
            thread.join()

    def _open(self) -> None:
        while True:
            port = self._port or random.choice(_PORTS)  # noqa: S311  # a port, no secret
            try:
                self._listener = socket.create_server(("127.0.0.1", port))
            except OSError:
                if self._port:
                    raise
                continue
            self._port = port
            break
        self._start(self._accept, self._listener)

    def _shut(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _start(self, target: object, *args: object) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=target, args=args)  # type: ignore[arg-type]  # one of ours
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        self._clients.add(client)
        try:
            with client, contextlib.suppress(OSError):
                while request := read_request(client, lambda: self._fault != "cut"):
                    if not self._handle(client, request):
                        return
        finally:
            self._clients.discard(client)

    def _handle(self, client: socket.socket, request: Request) -> bool:
        writes = request.path.startswith("/api/v2/write")
        with self._changed:
            self.writes += writes
            fault = before = self._fault
            if fault == HANG_COUNTS:
                fault = "hang" if b"sum(" in request.body else PASS
            if fault == "hang":
                self.hanging += 1
                self._changed.wait_for(lambda: self._fault != before)
                self.hanging -= 1
        if fault in ("reset", "cut", "hang", REFUSE):
            reset(client)
            return False
        if fault[:1].isdigit():
            client.sendall(response(fault, b"out of order", "Retry-After: 1"))
            return True
        answer = forward(request, self._server)
        if fault == "lose the answer" or answer is None:
            reset(client)
            return False
        client.sendall(answer)
        return True
