"""Servers that do their worst: a request ends in bounded time, and leaves nothing behind."""

import gzip
import itertools
import re
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.influx import Answer, Connection, InfluxError, Verdict, verdict
from pipeline.influx.bounds import MOST_BYTES
from pipeline.settings import Settings
from tests import servers
from tests.agents import environment, running
from tests.machine import open_files
from tests.servers import Behaviour, serving

pytestmark = pytest.mark.slow  # much to write, and to break

REQUESTS = 2_000
BODY = gzip.compress(b"m f=1i 1\n")

LATE = "timed out|no whole answer"  # by a wait for the socket, or between two of them
NEVER_S = 60.0  # where something else ends the request


def connected(url: str, timeout_s: float = NEVER_S) -> Connection:
    settings = Settings(
        influxdb_url=url, influxdb_org="o", influxdb_bucket="b", influxdb_token="s3cret"
    )
    return Connection(settings, SystemClock(), timeout_s)


def in_bounded_time(call: Callable[[], Answer]) -> Answer:
    """Without a bound it would not end: these servers do not."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
    thread.start()
    thread.join(2 * NEVER_S)
    assert answers, "the request does not end"
    return answers[0]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (servers.never_answer, LATE),
        (servers.drip(b"HTTP/1.1 204 No Content\r\n", b"X"), LATE),
        (servers.drip(b"HTTP/1.1 503 Busy\r\nContent-Length: 99999\r\n\r\n"), LATE),
        (servers.drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), LATE),
        (servers.pour(b"HTTP/1.1 204 No Content\r\n", b"X-Header: of many\r\n"), "headers"),
        (servers.pour(b"HTTP/1.1 204 No Content\r\nX: ", b"X" * 4096), "header line"),
        (servers.pour(b"HTTP/1.1 200 OK\r\n\r\n", b"X" * 65536), "more than"),
        (servers.reset_in_the_body, "reset|without response"),
        (servers.reset_in_the_answer, "reset"),
        (servers.answer_and_close(b""), "without response"),
    ],
    ids=[
        "silence", "drip-header", "drip-body", "drip-continue", "endless-headers",
        "endless-header", "endless-body", "reset-in-body", "reset-in-answer", "close",
    ],
)  # fmt: skip
def test_a_hostile_server_is_no_answer_in_bounded_time_and_leaves_nothing_behind(
    behaviour: Behaviour, reason: str
) -> None:
    connected("http://127.0.0.1:1").close()  # imports
    threads = set(threading.enumerate())
    with serving(behaviour) as url:
        before = open_files()
        connection = connected(url, 0.5 if reason == LATE else NEVER_S)
        for _ in range(2):
            answer = in_bounded_time(lambda: connection.write(BODY))
            assert answer.status is None
            assert verdict(answer) is Verdict.KEEP
            assert re.search(reason, answer.message.lower()), answer.message
            assert "s3cret" not in answer.message
        connection.close()
        # Those of the server's ends are gone with its threads only.
        assert open_files() <= before + 2
    assert set(threading.enumerate()) <= threads


def test_a_server_that_never_reads_ends_the_sending_of_a_large_body() -> None:
    with serving(servers.never_read) as url, closing(connected(url, 0.2)) as connection:
        # More than the buffers of sockets hold.
        answer = in_bounded_time(lambda: connection.write(bytes(2**24)))
    assert verdict(answer) is Verdict.KEEP


@pytest.fixture(scope="module")
def gzip_bomb() -> bytes:
    return gzip.compress(bytes(2**26))


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "401 Unauthorized", "422 Unprocessable", "503 Busy"]
)
def test_an_answer_that_would_grow_when_unpacked_is_left_packed(
    status: str, gzip_bomb: bytes
) -> None:
    answer = servers.response(status, gzip_bomb, "Content-Encoding: gzip")
    with serving(servers.answer_and_close(answer)) as url, closing(connected(url)) as connection:
        got = in_bounded_time(lambda: connection.write(BODY))
    assert len(got.message) < 1_000
    assert verdict(got) in (Verdict.KEEP, Verdict.UNAUTHORIZED)


def test_an_answer_of_the_largest_size_is_still_read() -> None:
    body = b"x" * (MOST_BYTES - 4096)
    behave = servers.answer_and_close(servers.response("503 Busy", body))
    with serving(behave) as url, closing(connected(url)) as connection:
        assert in_bounded_time(lambda: connection.write(BODY)).status == 503


def test_any_other_request_is_bounded_like_a_write() -> None:
    def ask(connection: Connection) -> Answer:
        with pytest.raises(InfluxError) as failure:
            connection.ask(lambda api: api.buckets.get_buckets())
        return failure.value.answer

    dripping = servers.drip(b'HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{"buckets": ')
    with serving(dripping) as url, closing(connected(url, 0.2)) as connection:
        assert in_bounded_time(lambda: ask(connection)).status is None


def test_thousands_of_requests_to_a_failing_server_cost_no_memory_thread_or_file() -> None:
    """Kept connections, closed ones, resets, cut and broken answers, each in its turn."""
    ok, busy = servers.response("204 No Content"), servers.response("503 Busy", b"busy" * 100)
    turns = itertools.cycle(range(10))

    def behave(client: socket.socket, over: threading.Event) -> None:
        while servers.read_request(client):
            match next(turns):
                case 7:
                    servers.reset(client)
                    return
                case 8:
                    return
                case 9:
                    client.sendall(b"HTTP/1.1 400 Bad\r\nContent-Length: 99\r\n\r\n{")
                    return
                case turn:
                    client.sendall(ok if turn % 2 else busy)

    with serving(behave) as url, closing(connected(url)) as connection:

        def some(number: int) -> tuple[int, set[threading.Thread], int]:
            for _ in range(number):
                connection.write(BODY)
            files = open_files()  # once garbage is collected
            return sys.getallocatedblocks(), set(threading.enumerate()), files

        blocks, threads, files = some(REQUESTS // 5)
        after = some(REQUESTS)
    assert after[0] - blocks < REQUESTS // 2  # less than one object for every second request
    assert len(after[1] - threads) <= 2
    assert after[2] - files <= 2


@pytest.mark.parametrize(
    "behaviour", [servers.never_answer, servers.drip(b"HTTP/1.1 204 No Content\r\n", b"X")]
)
def test_sigterm_during_a_hanging_request_ends_the_agent_and_loses_nothing(
    behaviour: Behaviour, tmp_path: Path
) -> None:
    asked = threading.Event()

    def behave(client: socket.socket, over: threading.Event) -> object:
        asked.set()
        return behaviour(client, over)

    with serving(behave) as url:
        env = environment(
            tmp_path / "data",
            influxdb_url=url,
            influxdb_org="o",
            influxdb_bucket="b",
            influxdb_token="t",
            influxdb_timeout_s=600,
            collection_interval_ms=50,
        )
        with running(env, tmp_path) as agent:
            agent.until(lambda s: s["ticks"] >= 3, "readings")
            assert asked.wait(NEVER_S)
            assert agent.stop() == 0  # `stop` does not wait for as long as the request may last
            status = agent.status()
    assert status["backlog_points"] == status["points"] > 0
    assert set(status["lost"]) <= {"tick_missed"}
