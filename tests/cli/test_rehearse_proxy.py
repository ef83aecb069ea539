"""The proxy, between a client and a server of this test, each state of it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from pipeline.cli.rehearse.proxy import Proxy, State
from tests.agents import eventually
from tests.influxd.process import free_port
from tests.servers import serving

# Longer than anything here takes: a hang fails.
WITHIN_S = 20.0


class Echo:
    """Answers every chunk with the same in capitals, and remembers what came."""

    port: int
    heard = b""

    def __call__(self, client: socket.socket, over: threading.Event) -> None:
        while data := client.recv(65_536):
            self.heard += data
            client.sendall(data.upper())


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    with serving(server) as url:
        server.port = urlsplit(url).port or 0
        yield server


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with closing(Proxy("127.0.0.1", echo.port, answers_connect=True)) as opened:
        yield opened


def client_of(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=WITHIN_S)


def ask(client: socket.socket, data: bytes = b"hello") -> bytes:
    client.sendall(data)
    return client.recv(65_536)


def test_open_passes_all_on_and_an_orderly_end_before_which_nothing_is_lost(proxy: Proxy) -> None:
    for _ in range(20):
        with client_of(proxy) as client:
            assert ask(client) == b"HELLO"
            client.sendall(b"again")
            client.shutdown(socket.SHUT_WR)  # upon which the server ends it too
            with client.makefile("rb") as answer:
                assert answer.read() == b"AGAIN"


def test_connect_is_answered_and_then_all_gets_through(proxy: Proxy, echo: Echo) -> None:
    with client_of(proxy) as client:
        client.sendall(b"CONNECT elsewhere:443 HTTP/1.1\r\n")
        assert ask(client, b"Host: elsewhere:443\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        assert ask(client) == b"HELLO"
    assert echo.heard == b"hello"


def test_connect_goes_on_to_a_proxy_of_the_users(echo: Echo) -> None:
    with (
        closing(Proxy("127.0.0.1", echo.port, answers_connect=False)) as proxy,
        client_of(proxy) as client,
    ):
        assert ask(client, b"connect it") == b"CONNECT IT"
        assert ask(client, b"CONNECT a:1 HTTP/1.1\r\n\r\n") == b"CONNECT A:1 HTTP/1.1\r\n\r\n"


def test_refused_resets_what_is_there_and_lets_nobody_in_until_it_is_open_again(
    proxy: Proxy,
) -> None:
    with client_of(proxy) as client:
        assert ask(client) == b"HELLO"
        proxy.turn(State.REFUSED)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            client_of(proxy)
        proxy.turn(State.REFUSED)
    proxy.turn(State.OPEN)
    with client_of(proxy) as client:
        assert ask(client) == b"HELLO"


@pytest.mark.slow  # it waits for what does not come
def test_silent_takes_connections_and_says_nothing(proxy: Proxy, echo: Echo) -> None:
    proxy.turn(State.SILENT)
    with client_of(proxy) as client:
        client.sendall(b"hello")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(WITHIN_S)
        proxy.turn(State.OPEN)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert echo.heard == b""


@pytest.mark.parametrize(
    ("state", "heard"),
    [(State.CUT, b"hellorequesreques"), (State.DEAF, b"hellorequestrequest")],
)
def test_cut_ends_a_request_in_its_midst_and_deaf_loses_the_answer(
    proxy: Proxy, echo: Echo, state: State, heard: bytes
) -> None:
    with client_of(proxy) as old:
        assert ask(old) == b"HELLO"
        proxy.turn(state)
        for client in (old, client_of(proxy)):
            with client, pytest.raises(ConnectionResetError):
                ask(client, b"request")
    assert proxy.broken == 2
    eventually(lambda: echo.heard == heard, "what gets through")


def test_a_server_that_is_not_there_ends_the_connection() -> None:
    with (
        closing(Proxy("127.0.0.1", free_port(), answers_connect=True)) as proxy,
        client_of(proxy) as client,
        pytest.raises(ConnectionResetError),
    ):
        ask(client)


def test_closed_it_leaves_no_thread(echo: Echo) -> None:
    before = set(threading.enumerate())
    proxy = Proxy("127.0.0.1", echo.port, answers_connect=True)
    with client_of(proxy) as client:
        assert ask(client) == b"HELLO"
        proxy.turn(State.SILENT)
        proxy.close()
    eventually(lambda: set(threading.enumerate()) <= before, "that its threads end")
