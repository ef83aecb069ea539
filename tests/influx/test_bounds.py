"""The connection that requests are made on: kept, closed, bounded, at one of several addresses."""

import gzip
import os
import socket
import threading
from pathlib import Path

import pytest

from tests.influx.conftest import connected
from tests.influx.network import requested
from tests.servers import gateway, last_response, read_request, serving

pytestmark = pytest.mark.slow

NOW = 1_700_000_000_000_000_000
BODY = gzip.compress(b"m f=1i 1\n")
DELIVERED = b"HTTP/1.1 204 No Content\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nlater"


def conversation(
    answers: list[list[bytes]], number: int
) -> tuple[list[int | None], list[list[bytes]]]:
    """Write to a server that gives these answers, connection by connection.

    Returns:
        The status of each write, and the bodies that came on each connection.
    """
    came: list[list[bytes]] = []

    def behave(client: socket.socket, over: threading.Event) -> None:
        bodies: list[bytes] = []
        came.append(bodies)
        for answer in answers[len(came) - 1]:
            if request := read_request(client):
                bodies.append(request.body)
            client.sendall(answer)

    with serving(behave) as url, connected(url) as connection:
        return [connection.write(BODY).status for _ in range(number)], came


def preceded(hint: bytes) -> bytes:
    return b"HTTP/1.1 " + hint + b"\r\nLink: <x>\r\n\r\n" + DELIVERED


def closing_with(answer: bytes) -> bytes:
    return answer.replace(b"\r\n", b"\r\nCONNECTION: Close\r\n", 1)


def delivered(*headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 204 No Content", *headers, b"", body])


@pytest.mark.parametrize(
    ("connections", "statuses"),
    [
        # One follows the other on a connection, until one is not taken.
        ([[DELIVERED, DELIVERED, BUSY], [DELIVERED]], [204, 204, 503, 204]),
        ([[delivered(b"Connection: Keep-Alive", b"Content-Length: 0")] * 3], [204] * 3),
        ([[preceded(b"100 Continue"), BUSY]], [204, 503]),
        ([[preceded(b"102 Processing"), BUSY]], [204, 503]),
        ([[preceded(b"103 Early Hints"), BUSY]], [204, 503]),
        # What follows an answer is no answer to the next write.
        ([[BUSY + DELIVERED], [BUSY], [BUSY]], [503] * 3),
        ([[DELIVERED + DELIVERED], [BUSY], [BUSY]], [204, 503, 503]),
        ([[delivered(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")]] * 3, [204] * 3),
        ([[delivered(b"Content-Length: 2", body=b"{}")]] * 3, [204] * 3),
        # One that crosses the end of a kept connection is made once more.
        ([[DELIVERED, b""], [DELIVERED]], [204, 204]),
        ([[DELIVERED], [DELIVERED, DELIVERED]], [204] * 3),
        # A new connection that is closed at once is no answer.
        ([[b""], [DELIVERED]], [None, 204]),
        ([[closing_with(DELIVERED)], [DELIVERED]], [204, 204]),
        ([[closing_with(BUSY)], [DELIVERED]], [503, 204]),
    ],
)
def test_each_write_has_its_own_answer(
    connections: list[list[bytes]], statuses: list[int | None]
) -> None:
    found, bodies = conversation(connections, len(statuses))
    assert found == statuses
    assert bodies == [[BODY] * len(answers) for answers in connections]


def test_what_a_server_says_unasked_is_no_answer() -> None:
    late = b"HTTP/1.1 408 Request Time-out\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    is_heard, has_said_it = threading.Event(), threading.Event()

    def behave(client: socket.socket, over: threading.Event) -> None:
        read_request(client)
        client.sendall(DELIVERED)
        assert is_heard.wait(60)  # so that it comes by itself
        client.sendall(late)
        has_said_it.set()

    with serving(behave) as url, connected(url) as connection:
        assert connection.write(BODY).status == 204
        is_heard.set()
        assert has_said_it.wait(60)
        assert connection.write(BODY).status == 204


def test_what_tls_holds_of_a_next_answer_is_no_answer(certificate: Path) -> None:
    # The reader takes 8192 bytes; what follows them in the same record stays within TLS.
    head = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nX-Padding: "
    answer = head + b"x" * (8192 - len(head) - 4) + b"\r\n\r\n" + DELIVERED
    with (
        serving(gateway("", lambda _: answer), certificate) as url,
        connected(url, influxdb_ca_cert=certificate) as connection,
    ):
        assert [connection.write(BODY).status for _ in range(2)] == [503, 503]


def test_a_refusal_before_the_whole_body_was_read_is_heard() -> None:
    def refuse(client: socket.socket, over: threading.Event) -> None:
        client.recv(1)
        client.sendall(last_response("413 Too Large"))
        client.shutdown(socket.SHUT_WR)
        while client.recv(65_536):  # as nginx: to close at once would be a reset
            pass

    with serving(refuse) as url, connected(url) as connection:
        assert connection.write(bytes(2**25)).status == 413  # it cannot all be on its way


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own takes root")


@as_root
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("mark", ["%", "%25"])
def test_an_address_of_a_link_names_its_interface_in_either_way(
    mark: str, scheme: str, certificate: Path
) -> None:
    url = f"{scheme}://[fe80::7{mark}d0]:{{port}}"
    assert requested(url, "fe80::7", influxdb_ca_cert=certificate).status == 204


@as_root
@pytest.mark.parametrize("silent", [["2001:db8::2"], ["2001:db8::2", "2001:db8::3", "10.98.0.2"]])
@pytest.mark.parametrize("by_proxy", [False, True])
def test_a_name_is_tried_address_by_address(silent: list[str], by_proxy: bool) -> None:
    name = "xn--bcher-kva.test"
    url = f"http://{name}:{{port}}"
    proxy = {"influxdb_proxy": url} if by_proxy else {}
    answer = requested(url, "10.99.0.1", silent, name, influxdb_timeout_s=2, **proxy)
    assert answer.status == 204


@as_root
def test_all_addresses_of_a_name_that_does_not_answer_are_told() -> None:
    url = "http://influx.test:1"
    answer = requested(url, "10.99.0.1", ["2001:db8::2"], "influx.test", influxdb_timeout_s=1)
    assert answer.status is None
    assert answer.message == (
        f"no answer from {url}: no connection to 2001:db8::2 or 10.99.0.1: connection refused"
    )
