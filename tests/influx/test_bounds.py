"""The connection that requests are made on: kept, closed, bounded, at one of several addresses."""

import gzip
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.influx.answer import Answer
from pipeline.influx.connection import Connection
from pipeline.settings import Settings
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influx.network import requested
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.servers import Request, answer_on, last_response, read_request, serving

pytestmark = pytest.mark.slow

NOW = 1_700_000_000_000_000_000
BODY = gzip.compress(b"m f=1i 1\n")
DELIVERED = b"HTTP/1.1 204 No Content\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nlater"


@dataclass
class Server:
    """Answers, connection by connection, with what is listed, and closes each at its end."""

    answers: Sequence[Sequence[bytes]]
    farewell: bytes
    url: str = ""
    connections: list[list[Request]] = field(default_factory=list)
    is_heard: threading.Event = field(default_factory=threading.Event)
    has_said_it: threading.Event = field(default_factory=threading.Event)

    def __call__(self, client: socket.socket, over: threading.Event) -> None:
        asked: list[Request] = []
        self.connections.append(asked)
        for answer in self.answers[len(self.connections) - 1]:
            if request := read_request(client):
                asked.append(request)
            client.sendall(answer)
        if self.farewell and not self.has_said_it.is_set():
            assert self.is_heard.wait(60)  # so that it comes by itself
            client.sendall(self.farewell)
            self.has_said_it.set()

    def say_farewell(self) -> None:
        """Have it said to a client that has its answers."""
        self.is_heard.set()
        assert self.has_said_it.wait(60)

    @property
    def bodies(self) -> list[list[bytes]]:
        return [[request.body for request in asked] for asked in self.connections]


@contextmanager
def answering(connections: Sequence[Sequence[bytes]], farewell: bytes = b"") -> Iterator[Server]:
    server = Server(connections, farewell)
    with serving(server) as server.url:
        yield server
    assert len(server.connections) == len(connections)


def writes(
    server: Server, number: int, after_each: Callable[[], object] = lambda: None
) -> list[Answer]:
    settings = Settings(influxdb_url=server.url, influxdb_org="o", influxdb_bucket="b")
    with closing(Connection(settings, ManualClock())) as connection:
        answers = []
        for _ in range(number):
            answers.append(connection.write(BODY))
            after_each()
        return answers


def test_writes_follow_each_other_on_one_connection_until_one_is_not_taken() -> None:
    with answering([[DELIVERED, DELIVERED, BUSY], [DELIVERED]]) as server:
        answers = writes(server, 4)
    assert [answer.status for answer in answers] == [204, 204, 503, 204]
    assert server.bodies == [[BODY] * 3, [BODY]]
    assert answers[1].date_s == 1_700_000_000
    assert "later" in answers[2].message


def test_a_connection_is_kept_whoever_says_so() -> None:
    kept = b"HTTP/1.1 204 No Content\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n"
    with answering([[kept, kept, kept]]) as server:
        assert [answer.status for answer in writes(server, 3)] == [204] * 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + DELIVERED,
        b"HTTP/1.1 102 Processing\r\n\r\n" + DELIVERED,
        BUSY + DELIVERED,
        DELIVERED + DELIVERED,
    ],
    ids=["after-103", "after-102", "after-503", "twice"],
)
def test_what_follows_an_answer_is_no_answer_to_the_next_write(answer: bytes) -> None:
    with answering([[answer], [BUSY], [BUSY]]) as server:
        answers = writes(server, 3)
    assert [answer.status for answer in answers[1:]] == [503, 503]


@pytest.mark.parametrize(
    "more", [b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"Content-Length: 2\r\n\r\n{}"]
)
def test_a_204_with_a_body_spoils_no_later_write(more: bytes) -> None:
    answer = b"HTTP/1.1 204 No Content\r\n" + more
    with answering([[answer], [answer], [answer]]) as server:
        assert [answer.status for answer in writes(server, 3)] == [204] * 3


def test_what_a_server_says_unasked_is_no_answer() -> None:
    late = b"HTTP/1.1 408 Request Time-out\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with answering([[DELIVERED], [DELIVERED]], farewell=late) as server:
        assert [answer.status for answer in writes(server, 2, server.say_farewell)] == [204, 204]


@pytest.mark.parametrize("hint", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_what_precedes_an_answer_is_passed_over(hint: bytes) -> None:
    preceded = b"HTTP/1.1 " + hint + b"\r\nLink: <x>\r\n\r\n" + DELIVERED
    with answering([[preceded, BUSY]]) as server:
        assert [answer.status for answer in writes(server, 2)] == [204, 503]


def test_what_tls_holds_of_a_next_answer_is_no_answer(certificate: Path) -> None:
    # The reader takes 8192 bytes; what follows them in the same record stays within TLS.
    head = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nX-Padding: "
    answer = head + b"x" * (8192 - len(head) - 4) + b"\r\n\r\n" + DELIVERED
    with serving(answer_on(answer), certificate) as url:
        settings = Settings(influxdb_url=url, influxdb_bucket="b", influxdb_ca_cert=certificate)
        with closing(Connection(settings, ManualClock())) as connection:
            assert [connection.write(BODY).status for _ in range(2)] == [503, 503]


def test_a_write_that_crosses_the_end_of_a_kept_connection_is_made_once_more() -> None:
    with answering([[DELIVERED, b""], [DELIVERED]]) as server:
        assert [answer.status for answer in writes(server, 2)] == [204, 204]
    assert [len(bodies) for bodies in server.bodies] == [2, 1]


def test_a_connection_that_was_closed_meanwhile_is_opened_anew() -> None:
    with answering([[DELIVERED], [DELIVERED, DELIVERED]]) as server:
        assert [answer.status for answer in writes(server, 3)] == [204] * 3
    assert [len(bodies) for bodies in server.bodies] == [1, 2]


def test_a_new_connection_that_is_closed_without_an_answer_is_no_answer() -> None:
    with answering([[b""], [DELIVERED]]) as server:
        assert [answer.status for answer in writes(server, 2)] == [None, 204]


@pytest.mark.parametrize("farewell", [DELIVERED, BUSY])
def test_a_server_that_says_that_it_closes_is_believed(farewell: bytes) -> None:
    farewell = farewell.replace(b"\r\n", b"\r\nCONNECTION: Close\r\n", 1)
    with answering([[farewell], [DELIVERED]]) as server:
        assert writes(server, 2)[1].status == 204
    assert [len(bodies) for bodies in server.bodies] == [1, 1]


def test_a_refusal_before_the_whole_body_was_read_is_heard() -> None:
    def refuse(client: socket.socket, over: threading.Event) -> None:
        client.recv(1)
        client.sendall(last_response("413 Too Large"))
        client.shutdown(socket.SHUT_WR)
        while client.recv(65_536):  # as nginx: to close at once would be a reset
            pass

    with serving(refuse) as url:
        settings = Settings(influxdb_url=url, influxdb_org="o", influxdb_bucket="b")
        with closing(Connection(settings, ManualClock())) as connection:
            assert connection.write(bytes(2**25)).status == 413  # it cannot all be on its way


def test_an_address_with_a_path_and_names_with_odd_characters_are_kept(bucket: Bucket) -> None:
    odd = api.create_bucket(bucket.server, "test-ä&b=c %20/ü?#")
    try:
        settings = settings_for(odd)
        with closing(Connection(settings, ManualClock())) as connection:
            assert connection.write(gzip.compress(f"m f=1i {NOW}\n".encode())).status == 204
    finally:
        api.delete_bucket(bucket.server, odd.name)
    with answering([[DELIVERED]]) as server:
        server.url += "/proxied/influx/"
        assert writes(server, 1)[0].status == 204
    ((request,),) = server.connections
    assert request.method == "POST"
    assert request.path == "/proxied/influx/api/v2/write?org=o&bucket=b&precision=ns"


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own takes root")


@as_root
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("mark", ["%", "%25"])
def test_an_address_of_a_link_names_its_interface_in_either_way(
    mark: str, scheme: str, certificate: Path
) -> None:
    url = f"{scheme}://[fe80::7{mark}d0]:{{port}}"
    assert requested(url, "fe80::7", influxdb_ca_cert=str(certificate)).status == 204


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
