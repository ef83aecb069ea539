"""Servers that behave badly, each on a loopback port of its own."""

import itertools
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Behaviour = Callable[[socket.socket, threading.Event], object]
"""What is done to a connection that was accepted, until the event says that the test is over."""


@contextmanager
def serving(behave: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Do the same to every connection, each in its thread; gives the URL."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def one(client: socket.socket) -> None:
        with suppress(OSError):
            stream = tls.wrap_socket(client, server_side=True) if tls else client
            with stream:
                behave(stream, over)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.settimeout(10)
            threads[:] = [thread for thread in threads if thread.is_alive()]
            threads.append(threading.Thread(target=one, args=(client,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for thread in threads:
                thread.join()


def read_request(client: socket.socket) -> bool:
    """Read one request to its end; return whether there was one."""
    received = b""
    while b"\r\n\r\n" not in received:
        some = client.recv(65536)
        if not some:
            return False
        received += some
    head, _, body = received.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            missing = int(value) - len(body)
            while missing > 0 and (some := client.recv(65536)):
                missing -= len(some)
    return True


def reset(client: socket.socket) -> None:
    """Close the connection the hard way, by RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def response(status: str, body: bytes = b"", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


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


def answer_on(answer: bytes) -> Behaviour:
    """Answer every request of a connection."""

    def behave(client: socket.socket, over: threading.Event) -> None:
        while read_request(client):
            client.sendall(answer)

    return behave


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
