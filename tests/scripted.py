"""A server that gives the same answer to everybody."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def read_request(stream: socket.socket) -> None:
    """Reads a request to its end: to close before is to reset the connection."""
    with stream.makefile("rb") as file:
        length = 0
        while (line := file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        file.read(length)


@contextmanager
def scripted(answer: bytes, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answers each connection with the same bytes, whatever it asks, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                client.settimeout(5)
                with client, suppress(OSError):  # a client may not like the certificate
                    stream = tls.wrap_socket(client, server_side=True) if tls else client
                    with stream:
                        read_request(stream)
                        stream.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body
