import gc
import json
import logging
import os
import resource
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from http import HTTPStatus
from pathlib import Path
from threading import Event

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clock import SystemClock
from pipeline.endpoint.server import Endpoint
from pipeline.endpoint.site import Query, Reply, Route, Routes, Site
from tests.agents import environment, eventually, running, ticks
from tests.clocks import ManualClock
from tests.influxd.http import call
from tests.influxd.process import free_port

TIMEOUT_S = 30
PLACES = 16
GET = b"GET /count HTTP/1.1\r\nHost: localhost\r\n\r\n"


def broken(_: Query) -> Reply:
    raise RuntimeError("out of order")


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def routes(calls: list[str]) -> Routes:
    def count(_: Query) -> Reply:
        calls.append("count")
        return Reply.json({"calls": len(calls), "text": "ü"})

    def told(query: Query) -> Reply:
        return Reply(HTTPStatus.OK, "text/plain", str(dict(query)), {"X-Own": "yes"})

    return {
        "/count": Route(count),
        "/broken": Route(broken),
        "/told": Route(told),
        "/change": Route(count, changes=True),
    }


@pytest.fixture
def endpoint(routes: Routes) -> Iterator[Endpoint]:
    with closing(Endpoint(0, routes)) as one:
        yield one


def connect(endpoint: Endpoint) -> socket.socket:
    return socket.create_connection(("127.0.0.1", endpoint.port), TIMEOUT_S)


def rest(client: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def raw(endpoint: Endpoint, request: bytes = GET) -> str:
    """Send a request as it is; return the whole answer."""
    with connect(endpoint) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return rest(client).decode()


def test_a_route_is_answered_whole(endpoint: Endpoint) -> None:
    head, _, body = raw(endpoint).partition("\r\n\r\n")
    first, *headers = head.split("\r\n")
    assert (first, json.loads(body)) == ("HTTP/1.1 200 OK", {"calls": 1, "text": "ü"})
    length = f"Content-Length: {len(body.encode())}"
    assert {"Server: metrics-pipeline", "Content-Type: application/json", length} <= set(headers)


OWN = "Host: localhost:8687"
SERVED = "served here: /count, /broken, /told, /change"


def answered(site: Site, request: str, *headers: str) -> tuple[int, list[str], str]:
    """Ask without a connection; return the status, the headers and the body."""
    head = "\r\n".join([f"{request} HTTP/1.1", *headers, "", ""])
    got, _, body = site.answer(head.encode()).decode().partition("\r\n\r\n")
    first, *lines = got.split("\r\n")
    return int(first.split()[1]), lines, body


@pytest.fixture
def site(routes: Routes) -> Site:
    return Site(routes, SystemClock())


@pytest.mark.parametrize(
    ("request_line", "status", "told"),
    [
        *((f"GET /count{query}", 200, None) for query in ("", "?", "?a=b", "?a=/broken?&c")),
        *((f"GET {path}", 404, SERVED) for path in ("/", "/count/", "/COUNT", "/count/.", "/x?y")),
        ("GET /broken", 500, "out of order"),
        ("GET /ü", 400, "this is no request of HTTP/1.1"),
        ("PUT /count", 405, "only GET is served here"),
    ],
)
def test_every_answer_forbids_other_sites_what_it_can(
    site: Site, calls: list[str], request_line: str, status: int, told: str | None
) -> None:
    found, headers, body = answered(site, request_line, OWN)
    assert (found, json.loads(body).get("error")) == (status, told)
    assert len(calls) == (status == 200)
    assert {
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Resource-Policy: same-origin",
        "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
        "Cache-Control: no-store",
        "Connection: close",
    } <= set(headers)


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "PROPFIND", "get", "HEAD"])
def test_any_other_method_calls_nothing_and_a_head_has_no_body(
    site: Site, calls: list[str], method: str
) -> None:
    for path, status in (("/count", 405), ("/nowhere", 404)):
        found, headers, body = answered(site, f"{method} {path}", OWN)
        assert found == status
        assert "Allow: GET" in headers
        assert bool(body) is (method != "HEAD")
    assert calls == []


def test_a_route_is_told_the_query_and_may_add_headers(site: Site) -> None:
    target = "/told?hours=6&x=%3Cb%3E&hours=24&empty=&nothing"
    status, headers, body = answered(site, f"GET {target}", OWN)
    assert (status, body) == (200, "{'hours': '24', 'x': '<b>'}")
    assert {"X-Own: yes", "Cache-Control: no-store"} <= set(headers)


@pytest.mark.parametrize(
    ("method", "status", "number"), [("POST", 405, 0), ("PUT", 405, 0), ("GET", 200, 1)]
)
def test_a_body_is_not_taken_for_the_next_request(
    endpoint: Endpoint, calls: list[str], method: str, status: int, number: int
) -> None:
    head = f"{method} /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(GET)}\r\n\r\n"
    answer = raw(endpoint, head.encode() + GET)
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert answer.count("HTTP/1.1") == 1
    assert len(calls) == number


OWN_NAMES = ("127.0.0.1", "127.0.0.1:8687", "localhost", "LocalHost:8687", "[::1]:8687")
OTHERS = ("evil.example", "localhost.evil.example", "evil.example#localhost", "10.0.0.1:8687", "")


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        *(([host], 200) for host in OWN_NAMES),
        *(([host], 403) for host in OTHERS),
        *(([], 403), (["localhost", "evil.example"], 400), (["localhost", "localhost"], 400)),
    ],
)
def test_a_page_whose_name_was_made_to_point_here_is_refused(
    site: Site, calls: list[str], hosts: list[str], status: int
) -> None:
    assert answered(site, "GET /count", *(f"Host: {host}" for host in hosts))[0] == status
    assert len(calls) == (status == 200)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        (["Origin: http://localhost:8687"], 200),
        (["Origin: http://LOCALHOST:8687", "Sec-Fetch-Site: same-origin"], 200),
        (["Sec-Fetch-Site: none"], 200),
        (["Origin: http://evil.example"], 403),
        (["Origin: null"], 403),
        (["Origin: http://localhost:3000"], 403),  # another program on this host
        (["Origin: https://localhost:8687"], 403),
        (["Sec-Fetch-Site: cross-site"], 403),
        (["Sec-Fetch-Site: same-site"], 403),
        (["Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"], 403),
    ],
)
def test_a_page_of_another_site_changes_nothing(
    site: Site, calls: list[str], headers: list[str], status: int
) -> None:
    assert answered(site, "GET /change", OWN, *headers)[0] == status
    assert len(calls) == (status == 200)
    # A link to what only shows something may be anywhere.
    assert answered(site, "GET /count", OWN, *headers)[0] == 200


@pytest.mark.parametrize(
    "request_line",
    [
        *("", "\r\n", "GET\r\n\r\n", "GET /count HTTP/9.9\r\n\r\n", "GET count HTTP/1.1\r\n\r\n"),
        "GET /count HTTP/1.1\r\nHost: localhost\r\n folded: yes\r\n\r\n",
        "GET /count HTTP/1.1\r\nHost : localhost\r\n\r\n",
        "GET /count HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n",
        f"GET /count HTTP/1.1\r\nHost: localhost\r\nX: {'x' * 20_000}\r\n\r\n",
    ],
    ids=range(9),
)
def test_nonsense_is_no_request_and_the_next_client_is_served(
    endpoint: Endpoint, calls: list[str], request_line: str
) -> None:
    with suppress(OSError):  # what is too long is not read to its end
        raw(endpoint, request_line.encode())
    assert calls == []
    assert raw(endpoint).startswith("HTTP/1.1 200 ")


def test_clients_that_say_nothing_or_little_keep_nobody_out(routes: Routes) -> None:
    # Longer than this test's clients wait: only by being sent away do the silent ones make room.
    with closing(Endpoint(0, routes, client_s=600.0)) as endpoint, ExitStack() as stack:
        silent = [stack.enter_context(connect(endpoint)) for _ in range(2 * PLACES)]
        for client in silent[::2]:
            client.sendall(b"GET /cou")
        assert raw(endpoint).startswith("HTTP/1.1 200 ")
        assert [rest(client) for client in silent[:PLACES]] == [b""] * PLACES


def test_a_client_has_its_time_for_a_request_and_no_more(routes: Routes) -> None:
    def send_slowly(client: socket.socket) -> None:
        for _ in range(TIMEOUT_S * 100):
            client.sendall(b"G")
            Event().wait(0.01)

    with (
        closing(Endpoint(0, routes, client_s=0.05)) as endpoint,
        connect(endpoint) as client,
        pytest.raises(OSError, match=r"reset|Broken pipe"),
    ):
        send_slowly(client)


def test_a_client_that_takes_no_answer_is_left_after_its_time() -> None:
    huge = Reply(HTTPStatus.OK, "text/plain", "x" * 2**24)
    with closing(Endpoint(0, {"/count": Route(lambda _: huge)}, client_s=0.05)) as endpoint:
        without_clients = set(threading.enumerate())
        with ExitStack() as stack:

            def is_answered() -> bool:  # on a busy machine the request itself may come too late
                client = stack.enter_context(connect(endpoint))
                with suppress(OSError):
                    client.sendall(GET)
                    return client.recv(1) == b"H"
                return False

            eventually(is_answered, "an answer begins")
            eventually(lambda: set(threading.enumerate()) <= without_clients, "that it is left")


def test_as_many_are_answered_at_a_time_as_there_are_places() -> None:
    inside, go_on, most, lock = 0, Event(), 0, threading.Lock()

    def slow(_: Query) -> Reply:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        assert go_on.wait(TIMEOUT_S)
        with lock:
            inside -= 1
        return Reply.json({})

    with closing(Endpoint(0, {"/count": Route(slow)})) as endpoint, ExitStack() as stack:
        clients = []
        for _ in range(2 * PLACES):
            clients.append(stack.enter_context(connect(endpoint)))
            clients[-1].sendall(GET)
        eventually(lambda: inside == PLACES, "that all places are taken")
        go_on.set()
        assert all(rest(client).startswith(b"HTTP/1.1 200 ") for client in clients)
    assert most == PLACES


@pytest.mark.slow  # it collects the garbage of all tests before it
def test_where_files_end_it_pauses_and_goes_on_when_there_are_some(routes: Routes) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    clock = ManualClock()
    clock.on_wait = lambda _: resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    gc.collect()  # which closes files
    with ExitStack() as stack:
        endpoint = stack.enter_context(closing(Endpoint(0, routes, clock)))
        clients = [stack.enter_context(socket.socket()) for _ in range(8)]
        free = os.dup(clients[0].fileno())
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limit[1]))
        try:
            for client in clients:  # the first may get a file that something else has closed
                client.settimeout(TIMEOUT_S)
                client.connect(("127.0.0.1", endpoint.port))
            eventually(lambda: clock.waits, "the pause")
            client.sendall(GET)
            assert rest(client).startswith(b"HTTP/1.1 200 ")
            assert clock.waits == [1.0]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def refuse(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_where_threads_end_it_pauses_and_goes_on_when_there_are_some(
    routes: Routes, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="can't start new thread"):
            Endpoint(port, routes)
    start = threading.Thread.start
    clock = ManualClock()
    clock.on_wait = lambda _: monkeypatch.setattr(threading.Thread, "start", start)
    with closing(Endpoint(port, routes, clock)) as endpoint:  # the port is free again
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with connect(endpoint) as client:
            assert rest(client) == b""
        with connect(endpoint) as client:
            client.sendall(GET)
            assert rest(client).startswith(b"HTTP/1.1 200 ")
        assert clock.waits == [1.0]


@pytest.mark.slow
def test_a_thousand_slow_clients_cost_no_reading_and_keep_nobody_out(tmp_path: Path) -> None:
    port = free_port()
    data_dir = tmp_path / "data"
    env = environment(data_dir, collection_interval_ms=100, http_port=port)
    url = f"http://127.0.0.1:{port}/health"
    before = ("prlimit", "--nofile=64", "--")
    with running(env, tmp_path, before=before) as agent, ExitStack() as stack:
        eventually(lambda: ticks(data_dir), "the first reading")
        threads = psutil.Process(agent.process.pid).num_threads()
        for _ in range(1_000):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        then = ticks(data_dir) + 10
        eventually(lambda: ticks(data_dir) >= then, "readings meanwhile")
        assert call("GET", url).status == 200
        # One for each of the four that it may have, and what a busy machine's collectors need.
        assert psutil.Process(agent.process.pid).num_threads() < threads + 16
        assert set(agent.status()["lost"]) <= {"tick_missed"}  # of a busy machine
        assert agent.stop() == 0


def test_a_client_that_goes_away_leaves_no_traceback(
    endpoint: Endpoint,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_connection(("127.0.0.1", endpoint.port)) as client:
        client.sendall(b"GET /count HTTP/1.1\r\nHost: localhost\r\n")
        # To close with this option is to reset: the server's next read fails.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: "The endpoint lost a client" in caplog.messages, "that it was noticed")
    own = [record for record in caplog.records if record.name.startswith("pipeline.endpoint")]
    assert {record.levelname for record in own} == {"DEBUG"}
    assert raw(endpoint).startswith("HTTP/1.1 200 ")
    assert capfd.readouterr() == ("", "")


@given(
    st.lists(
        st.sampled_from([b"GET", b" ", b"/", b"HTTP/1.1", b"\r\n", b"Host", b":", b"localhost"])
        | st.binary(max_size=9)
    ).map(b"".join)
)
def test_whatever_comes_is_answered(head: bytes) -> None:
    site = Site({"/": Route(lambda _: Reply.json({}))}, SystemClock())
    first, *_ = site.answer(head + b"\r\n\r\n").split(b"\r\n")
    assert first.startswith(b"HTTP/1.1 ")


def test_a_route_that_fails_a_thousand_times_is_told_once_and_when_it_works_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    fails = True

    def reply(_: Query) -> Reply:
        return broken(_) if fails else Reply.json({})

    site = Site({"/count": Route(reply)}, SystemClock())
    for _ in range(1_000):
        status, _, body = answered(site, "GET /count", OWN)
        assert (status, json.loads(body)) == (500, {"error": "out of order"})
    fails = False
    for _ in range(1_000):
        assert answered(site, "GET /count", OWN)[0] == 200
    assert caplog.messages == [
        "The endpoint failed to answer /count: out of order",
        "The endpoint answers /count again",
    ]


def test_the_port_is_taken_on_this_host_alone_and_free_after_a_close() -> None:
    with closing(Endpoint(0, {})) as endpoint:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", endpoint.port), TIMEOUT_S)
        with pytest.raises(OSError, match="in use"):
            Endpoint(endpoint.port, {})
        client = connect(endpoint)
    with client, pytest.raises(ConnectionRefusedError):
        connect(endpoint)
    with closing(Endpoint(endpoint.port, {})) as again:
        assert again.port == endpoint.port
