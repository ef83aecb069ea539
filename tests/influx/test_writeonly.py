"""Servers that take readings alone, told apart from InfluxDB behind something in the way."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from pipeline.influx.answer import InfluxError
from pipeline.influx.writeonly import WriteOnlyError
from tests.configured import settings_for
from tests.influx.test_target import BODY, Settled
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.influxd.server import InfluxServer
from tests.servers import Request, forward, last_response, read_request, response, scripted, serving


class Front:
    """A proxy of InfluxDB that answers a page of its own to reads, or to all.

    Attributes:
        reads: What it answers to reads; 0 lets them pass.
        writes: The same of writes.
        version: The version of InfluxDB that its own page says.
    """

    def __init__(self, server: InfluxServer) -> None:
        self._server = server
        self.reads, self.writes = 404, 0
        self.version = self.url = ""

    def __call__(self, client: socket.socket, over: threading.Event) -> None:
        while request := read_request(client):
            client.sendall(self._answer(request))

    def _answer(self, request: Request) -> bytes:
        write = request.path.startswith("/api/v2/write")
        status = self.writes if write else self.reads
        if status:
            version = [f"X-Influxdb-Version: {self.version}"] if self.version else []
            return response(f"{status} So", b"<html>no such page</html>", *version)
        return forward(request, self._server.url) or b""


@pytest.fixture
def front(influx_server: InfluxServer) -> Iterator[Front]:
    one = Front(influx_server)
    with serving(one) as one.url:
        yield one


@pytest.mark.parametrize("status", [404, 200, 201, 206, 302])
def test_a_server_that_takes_readings_alone_is_told_once_and_gets_them(
    bucket: Bucket, front: Front, status: int
) -> None:
    front.reads = status
    here = Settled(settings_for(bucket, influxdb_url=front.url))
    with closing(here.target), here.target.connection() as connection:
        here.target.prepare()
        for _ in range(3):
            here.target.look(connection)
        assert here.target.write_only
        assert here.target.write(BODY).status == 204
    (told,) = set(here.left_alone)
    assert told.startswith(f"{front.url} takes readings and has nothing else of InfluxDB 2")
    assert set(here.drifts) == {told}
    assert here.rules == []


def test_influxdb_that_comes_out_from_behind_a_proxy_is_known_by_the_next_look(
    bucket: Bucket, front: Front
) -> None:
    here = Settled(settings_for(bucket, influxdb_url=front.url))
    with closing(here.target), here.target.connection() as connection:
        here.target.prepare()
        front.reads = 0
        here.target.look(connection)
        assert not here.target.write_only
        assert [rule.age_s for rule in here.rules] == [0]  # which `extend` leaves
        assert here.drifts[-1] == ""
        front.reads = 404
        here.target.look(connection)
        assert here.target.write_only


def test_a_server_that_has_no_buckets_any_more_is_not_looked_at_each_minute(
    bucket: Bucket, front: Front
) -> None:
    api.set_age(bucket, 24)
    front.reads = 0
    here = Settled(settings_for(bucket, influxdb_url=front.url))
    with closing(here.target), here.target.connection() as connection:
        here.target.prepare()
        assert here.target.needs_recheck
        front.reads = 404
        here.clock.advance(60)
        here.target.look(connection)
        assert here.target.write_only
        assert not here.target.needs_recheck


@pytest.mark.parametrize("version", ["v2.7.12", "2.0.0-beta.1"])
@pytest.mark.parametrize("status", [200, 404])
def test_influxdb_2_whose_answer_cannot_be_read_is_no_such_server(
    bucket: Bucket, front: Front, status: int, version: str
) -> None:
    front.reads, front.version = status, version
    here = Settled(settings_for(bucket, influxdb_url=front.url))
    with closing(here.target), here.target.connection() as connection:
        with pytest.raises(InfluxError) as caught:
            here.target.look(connection)
        assert here.target.write(BODY).status == 204
    assert not isinstance(caught.value, WriteOnlyError)
    assert not here.target.write_only


@pytest.mark.parametrize("status", [200, 302, 400, 404, 405, 501])
def test_a_proxy_that_lets_no_write_pass_either_is_no_such_server(
    bucket: Bucket, front: Front, status: int
) -> None:
    front.reads = front.writes = status
    here = Settled(settings_for(bucket, influxdb_url=front.url))
    with closing(here.target), here.target.connection() as connection:
        with pytest.raises(InfluxError) as caught:
            here.target.look(connection)
        assert not isinstance(caught.value, WriteOnlyError)
        assert not here.target.write_only


@pytest.mark.parametrize(
    "answer",
    [
        last_response(
            "404 Not Found", b'{"code": "not found", "message": "organization name not found"}'
        ),
        last_response("401 Unauthorized", b"who are you?"),
        last_response("503 Service Unavailable"),
        last_response("204 No Content"),
    ],
)
def test_whatever_else_a_look_up_is_answered_is_no_such_server(
    bucket: Bucket, answer: bytes
) -> None:
    with scripted(answer) as url:
        here = Settled(settings_for(bucket, influxdb_url=url))
        with (
            closing(here.target),
            here.target.connection() as connection,
            contextlib.suppress(InfluxError),
        ):
            here.target.look(connection)
    assert not here.target.write_only
