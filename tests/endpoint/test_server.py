import http.client
import json
import logging
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus

import pytest

from pipeline.endpoint.server import Endpoint, Query, Reply
from tests.agents import eventually

TIMEOUT_S = 30


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self) -> object:
        return json.loads(self.body)


def broken(_: Query) -> Reply:
    raise RuntimeError("out of order")


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def endpoint(calls: list[str]) -> Iterator[Endpoint]:
    def count(_: Query) -> Reply:
        calls.append("count")
        return Reply.json({"calls": len(calls), "text": "ü"})

    def told(query: Query) -> Reply:
        return Reply(HTTPStatus.OK, "text/plain", str(dict(query)), {"X-Own": "yes"})

    with closing(Endpoint(0, {"/count": count, "/broken": broken, "/told": told})) as one:
        yield one


@pytest.fixture
def connection(endpoint: Endpoint) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection("127.0.0.1", endpoint.port, TIMEOUT_S)) as one:
        yield one


def ask(connection: http.client.HTTPConnection, target: str, method: str = "GET") -> Answer:
    connection.request(method, target)
    return Answer(connection.getresponse())


def raw(endpoint: Endpoint, request: str) -> str:
    """Send a request as it is; return all that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", endpoint.port), TIMEOUT_S) as client:
        client.sendall(request.encode())
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b"")).decode()


def test_a_route_is_answered_whole_and_not_to_be_stored(
    connection: http.client.HTTPConnection,
) -> None:
    answer = ask(connection, "/count")
    assert (answer.status, answer.json()) == (200, {"calls": 1, "text": "ü"})
    assert answer.headers["Content-Type"] == "application/json"
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Python" not in answer.headers["Server"]


def test_a_connection_serves_many_requests(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "/count").status == 200
    client = connection.sock
    assert [ask(connection, "/count").json() for _ in range(2)] == [
        {"calls": 2, "text": "ü"},
        {"calls": 3, "text": "ü"},
    ]
    assert connection.sock is client


@pytest.mark.parametrize("target", ["/count?", "/count?a=b", "/count?a=/broken?&c"])
def test_a_query_does_not_change_the_path(
    connection: http.client.HTTPConnection, target: str
) -> None:
    assert ask(connection, target).status == 200


def test_a_route_is_told_the_query_and_may_add_headers(
    connection: http.client.HTTPConnection,
) -> None:
    answer = ask(connection, "/told?hours=6&x=%3Cb%3E&hours=24&empty=&nothing")
    assert answer.body == b"{'hours': '24', 'x': '<b>'}"
    assert answer.headers["X-Own"] == "yes"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("target", ["/", "/count/", "/COUNT", "/count/../count", "/x?y"])
def test_any_other_path_is_404_and_says_what_there_is(
    connection: http.client.HTTPConnection, target: str
) -> None:
    answer = ask(connection, target)
    assert (answer.status, answer.json()) == (404, {"error": "served here: /count, /broken, /told"})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get"])
def test_any_other_method_is_405_and_calls_nothing(
    connection: http.client.HTTPConnection, calls: list[str], method: str
) -> None:
    answer = ask(connection, "/count", method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert answer.json() == {"error": "only GET is served here"}
    assert ask(connection, "/nowhere", method).status == 404
    assert calls == []


def test_head_is_405_without_a_body(endpoint: Endpoint, calls: list[str]) -> None:
    answer = raw(endpoint, "HEAD /count HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith("HTTP/1.1 405 ")
    assert answer.endswith("\r\n\r\n")
    assert calls == []


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_is_not_taken_for_the_next_request(
    endpoint: Endpoint, calls: list[str], method: str
) -> None:
    body = "GET /count HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"{method} /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = raw(endpoint, head + body)
    assert answer.startswith("HTTP/1.1 405 ")
    assert "\r\nConnection: close\r\n" in answer
    assert answer.count("HTTP/1.1") == 1
    assert calls == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:{port}", "localhost", "localhost:{port}", "[::1]:{port}"]
)
def test_this_hosts_own_names_are_served(endpoint: Endpoint, host: str) -> None:
    request = f"GET /count HTTP/1.1\r\nHost: {host.format(port=endpoint.port)}\r\n\r\n"
    assert raw(endpoint, request).startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "header",
    [
        "Host: evil.example\r\n",
        "Host: evil.example:8687\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: evil.example#localhost\r\n",
        "Host: 10.0.0.1:8687\r\n",
        "Host:\r\n",
        "",
    ],
)
def test_a_page_whose_name_was_made_to_point_here_is_refused(
    endpoint: Endpoint, calls: list[str], header: str
) -> None:
    answer = raw(endpoint, f"GET /count HTTP/1.1\r\n{header}\r\n")
    assert answer.startswith("HTTP/1.1 403 ")
    assert calls == []


@pytest.mark.parametrize("request_line", ["", "\r\n", "GET\r\n\r\n", "GET /count HTTP/9.9\r\n\r\n"])
def test_nonsense_is_no_request_and_the_next_client_is_served(
    endpoint: Endpoint, connection: http.client.HTTPConnection, calls: list[str], request_line: str
) -> None:
    raw(endpoint, request_line)
    assert calls == []
    assert ask(connection, "/count").status == 200


def test_clients_that_say_nothing_block_nobody(
    endpoint: Endpoint, connection: http.client.HTTPConnection
) -> None:
    address = ("127.0.0.1", endpoint.port)
    with socket.create_connection(address), socket.create_connection(address) as halfway:
        halfway.sendall(b"GET /cou")
        assert ask(connection, "/count").status == 200


def test_a_client_that_goes_away_leaves_no_traceback(
    endpoint: Endpoint,
    connection: http.client.HTTPConnection,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_connection(("127.0.0.1", endpoint.port)) as client:
        client.sendall(b"GET /count HTTP/1.1\r\nHost: localhost\r\n")
        # To close with this option is to reset: the server's next read fails.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: "The endpoint lost a client" in caplog.messages, "that it was noticed")
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
    assert ask(connection, "/count").status == 200
    assert capfd.readouterr() == ("", "")


def test_a_route_that_fails_is_500_and_the_server_goes_on(
    connection: http.client.HTTPConnection, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask(connection, "/broken")
    assert (answer.status, answer.json()) == (500, {"error": "out of order"})
    assert ask(connection, "/count").status == 200
    assert caplog.messages == ["The endpoint failed to answer /broken: out of order"]


def test_only_this_host_is_served(endpoint: Endpoint) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", endpoint.port), TIMEOUT_S)


def test_a_port_that_is_taken_is_an_error(endpoint: Endpoint) -> None:
    with pytest.raises(OSError, match="in use"):
        Endpoint(endpoint.port, {})


def test_a_close_frees_the_port_even_when_a_client_is_connected() -> None:
    with closing(Endpoint(0, {})) as endpoint:
        client = socket.create_connection(("127.0.0.1", endpoint.port))
    with client, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", endpoint.port))
    with closing(Endpoint(endpoint.port, {})) as again:
        assert again.port == endpoint.port


UNASKED = """
import sys
from pipeline.endpoint.server import Endpoint
endpoint = Endpoint(0, {})
assert "http.server" not in sys.modules
endpoint.close()
assert "http.server" not in sys.modules
"""


def test_an_endpoint_that_nobody_asks_does_without_http_server() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", UNASKED], check=True, timeout=TIMEOUT_S)
