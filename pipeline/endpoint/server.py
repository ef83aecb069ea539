"""The loopback endpoint: serves this host, and takes nothing that the agent needs."""

import contextlib
import errno
import logging
import resource
import socket
import threading

from pipeline.clock import Clock, SystemClock
from pipeline.endpoint.site import Routes, Site

_log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_MOST_CLIENTS = 16
# Of the files that the process may have open, clients get one in so many.
_FILES_A_CLIENT = 16
_CLIENT_S = 5.0
_PAUSE_S = 1.0
# Within it, whoever means it has sent its request.
_SOON_S = 0.05
_LONGEST_HEAD = 16 * 1024


class Endpoint:
    """Serves routes to this host only, until `close`.

    It serves 16 clients at a time at most, and each one request. When all places are taken, those
    that have sent no whole request make room, so that slow clients keep nobody out.

    Args:
        port: The TCP port; 0 lets the system choose one, see `port`.
        routes: Path to what answers a GET.
        clock: Ends what takes too long.
        client_s: How long a client may take for its request, and again for the answer, in seconds.

    Raises:
        OSError: The port is taken, or the system starts no thread.
    """

    def __init__(
        self,
        port: int,
        routes: Routes,
        clock: Clock | None = None,
        client_s: float = _CLIENT_S,
    ) -> None:
        self._clock = clock or SystemClock()
        self._site = Site(routes, self._clock)
        self._client_s = client_s
        self._places = threading.Semaphore(_most_clients())
        self._lock = threading.Lock()
        self._asking: set[socket.socket] = set()  # who has not sent a whole request yet
        self._closing = threading.Event()
        self._listener = _listener(port)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._listener.close()
            raise OSError(errno.EAGAIN, str(error)) from error

    def close(self) -> None:
        """Stop serving and free the port."""
        self._closing.set()
        self._places.release()  # for a client that is waiting for one
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # which ends `accept`
        self._thread.join()
        self._listener.close()

    def abandon(self) -> None:
        """Close this process's copy of the socket, which a fork made."""
        self._listener.close()

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
                self._admit(client)
            except Exception:  # noqa: BLE001  # nothing may end the serving
                # Where there is no file or thread for it, the next try would fail at once, too.
                _log.debug("The endpoint could not take a client", exc_info=True)
                self._clock.wait(self._closing, _PAUSE_S)

    def _admit(self, client: socket.socket) -> None:
        """Serve a client in a thread of its own, as soon as there is a place for it."""
        if not self._places.acquire(timeout=_SOON_S):
            self._send_away()
            if not self._places.acquire(timeout=self._client_s):
                client.close()
                return
        with self._lock:
            self._asking.add(client)
        try:
            threading.Thread(target=self._attend, args=(client,), daemon=True).start()
        except RuntimeError:
            self._leave(client)
            raise

    def _send_away(self) -> None:
        """End the connections of all who have sent no whole request."""
        with self._lock:
            for silent in self._asking:
                with contextlib.suppress(OSError):
                    silent.shutdown(socket.SHUT_RDWR)
            self._asking.clear()

    def _attend(self, client: socket.socket) -> None:
        try:
            if head := self._head(client):
                answer = self._site.answer(head)
                client.settimeout(self._client_s)  # for the answer as a whole
                client.sendall(answer)
                client.shutdown(socket.SHUT_WR)
        except Exception:  # noqa: BLE001  # no client may end more than its own connection
            _log.debug("The endpoint lost a client", exc_info=True)
        finally:
            self._leave(client)

    def _head(self, client: socket.socket) -> bytes:
        """Receive the head of a request, or what there is of one."""
        deadline = self._clock.monotonic() + self._client_s
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _LONGEST_HEAD:
            client.settimeout(max(0.0, deadline - self._clock.monotonic()))
            some = client.recv(_LONGEST_HEAD - len(head))
            if not some:
                break
            head += some
        with self._lock:
            self._asking.discard(client)
        return head

    def _leave(self, client: socket.socket) -> None:
        with self._lock:
            self._asking.discard(client)
            client.close()
        self._places.release()


def _most_clients() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _MOST_CLIENTS
    return max(1, min(_MOST_CLIENTS, files // _FILES_A_CLIENT))


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
