"""Servers that answer as a test says, each on a loopback port of its own."""

import http.client
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

Behaviour = Callable[[socket.socket, threading.Event], object]
"""What is done to a connection that was accepted, until the event says that the test is over."""


@contextmanager
def serving(
    behave: Behaviour, certificate: Path | None = None, address: str = "127.0.0.1"
) -> Iterator[str]:
    """Do the same to every connection, each in its thread; gives the URL.

    Args:
        behave: What is done.
        certificate: A certificate with its key: the server speaks TLS.
        address: Where it listens; `::` is every address.
    """
    over = threading.Event()
    threads: list[threading.Thread] = []
    streams: set[socket.socket] = set()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
    if tls and certificate:
        tls.load_cert_chain(certificate)

    def one(client: socket.socket) -> None:
        with suppress(OSError):  # a client may not like the certificate
            stream = tls.wrap_socket(client, server_side=True) if tls else client
            streams.add(stream)
            try:
                with stream:
                    behave(stream, over)
            finally:
                streams.discard(stream)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.settimeout(60)
            threads[:] = [thread for thread in threads if thread.is_alive()]
            threads.append(threading.Thread(target=one, args=(client,)))
            threads[-1].start()

    everywhere = address == "::"
    family = socket.AF_INET6 if everywhere else socket.AF_INET
    with socket.create_server(
        (address, 0), family=family, backlog=1024, dualstack_ipv6=everywhere
    ) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for stream in tuple(streams):  # of clients that keep their connections
                with suppress(OSError):
                    stream.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


@dataclass(frozen=True)
class Request:
    """A request; the names of its headers are in title case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def read_request(client: socket.socket, whole: Callable[[], bool] = lambda: True) -> Request | None:
    """Read a request to its end, or to that of its headers; return None where there is none."""
    received = bytearray()
    while b"\r\n\r\n" not in received:
        if not (some := client.recv(65536)):
            return None
        received += some
    head, _, body = received.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    method, path, *_ = [*line.split(), "", ""]
    pairs = (each.partition(":") for each in lines)
    headers = {name.title(): value.strip() for name, _, value in pairs}
    length = int(headers.get("Content-Length", 0))
    while whole() and len(body) < length and (some := client.recv(65536)):
        body += some
    return Request(method, path, headers, bytes(body))


def reset(client: socket.socket) -> None:
    """Close the connection the hard way, by RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def response(status: str, body: bytes = b"", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def last_response(status: str, body: bytes = b"", *headers: str) -> bytes:
    """One after which the connection is closed."""
    return response(status, body, "Connection: close", *headers)


def forward(request: Request, url: str) -> bytes | None:
    """Ask another server the same; return its answer, None where there is none."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(request.method, request.path, request.body, request.headers)
        got = connection.getresponse()
        body = got.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    kept = [
        f"{name}: {value}"
        for name, value in got.getheaders()
        if name.lower() not in ("content-length", "transfer-encoding")
    ]
    if got.status == 204:
        return "\r\n".join(["HTTP/1.1 204 No Content", *kept, "", ""]).encode()
    return response(f"{got.status} {got.reason}", body, *kept)


def gateway(url: str, stop: Callable[[Request], bytes | None]) -> Behaviour:
    """Pass each request on to a server, but for those that `stop` answers; b"" is no answer."""

    def behave(client: socket.socket, over: threading.Event) -> None:
        while request := read_request(client):
            answer = stop(request)
            if answer == b"":
                over.wait()
                return
            client.sendall(answer or forward(request, url) or b"")

    return behave


def never_answer(client: socket.socket, over: threading.Event) -> None:
    read_request(client)
    over.wait()


def never_read(client: socket.socket, over: threading.Event) -> None:
    over.wait()


def drip(text: bytes, forever: bytes = b"") -> Behaviour:
    """Answer byte by byte, and never come to an end."""

    def behave(client: socket.socket, over: threading.Event) -> None:
        read_request(client)
        for byte in itertools.chain(text, itertools.cycle(forever or b" ")):
            client.sendall(bytes([byte]))
            if over.wait(0.01):
                return

    return behave


def pour(head: bytes, forever: bytes) -> Behaviour:
    """Answer as fast as the client takes it, and never come to an end."""

    def behave(client: socket.socket, over: threading.Event) -> None:
        read_request(client)
        client.sendall(head)
        while not over.is_set():
            client.sendall(forever)

    return behave


def answer_and_close(answer: bytes) -> Behaviour:
    def behave(client: socket.socket, over: threading.Event) -> None:
        read_request(client)
        client.sendall(answer)

    return behave


def scripted(answer: bytes, certificate: Path | None = None) -> AbstractContextManager[str]:
    """Serve each connection the same bytes, whatever it asks, and close it."""
    return serving(answer_and_close(answer), certificate)


def reset_in_the_body(client: socket.socket, over: threading.Event) -> None:
    client.recv(100)
    reset(client)


def reset_after_the_request(client: socket.socket, over: threading.Event) -> None:
    read_request(client)
    reset(client)


def reset_in_the_answer(client: socket.socket, over: threading.Event) -> None:
    read_request(client)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000\r\n\r\n{")
    reset(client)
