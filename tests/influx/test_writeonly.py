"""Servers that take readings alone, told apart from InfluxDB behind something in the way."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from pipeline.influx.answer import InfluxError
from pipeline.influx.writeonly import WriteOnlyError
from tests.influx.conftest import Settle
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.influxd.server import InfluxServer
from tests.servers import Request, gateway, last_response, response, scripted, serving

PAGE = b"<html>no such page</html>"


class Front:
    """A proxy of InfluxDB that answers a page of its own to all but writes.

    Attributes:
        reads: The status of that page; 0 lets all pass.
        version: The version of InfluxDB that its own page says.
        page: The page.
    """

    reads, page = 404, PAGE
    version = url = ""

    def __call__(self, request: Request) -> bytes | None:
        if request.path.startswith("/api/v2/write") or not self.reads:
            return None
        version = [f"X-Influxdb-Version: {self.version}"] if self.version else []
        return response(f"{self.reads} So", self.page, *version)


@pytest.fixture
def front(influx_server: InfluxServer) -> Iterator[Front]:
    one = Front()
    with serving(gateway(influx_server.url, one)) as one.url:
        yield one


@pytest.mark.parametrize("status", [404, 200, 201, 206, 302])
def test_a_server_that_takes_readings_alone_is_told_once_and_gets_them(
    settle: Settle, front: Front, status: int
) -> None:
    front.reads = status
    here = settle(influxdb_url=front.url)
    here.target.prepare()
    for _ in range(3):
        here.look()
    assert here.target.write_only
    assert here.write() == 204
    (told,) = set(here.left_alone)
    assert told.startswith(f"{front.url} takes readings and has nothing else of InfluxDB 2")
    assert set(here.drifts) == {told}
    assert here.rules == []


@pytest.mark.parametrize("seconds", [0, 60])
def test_influxdb_that_comes_out_from_behind_a_proxy_is_known_by_the_next_look(
    bucket: Bucket, settle: Settle, front: Front, seconds: int
) -> None:
    api.set_age(bucket, 24)
    here = settle(influxdb_url=front.url)
    here.target.prepare()
    front.reads = 0
    here.look()
    assert not here.target.write_only
    assert here.ages_h == [168]
    assert here.drifts[-1] == ""
    assert here.target.needs_recheck
    front.reads = 404
    here.clock.advance(seconds)
    here.look()
    assert here.target.write_only
    assert here.target.needs_recheck == (seconds < 60)  # later, it would be each minute


@pytest.mark.parametrize(
    ("status", "version", "page"),
    [
        (200, "v2.7.12", PAGE),
        (404, "2.0.0-beta.1", PAGE),
        (400, "", b'{"code": "invalid", "message": "no"}'),
    ],
)
def test_influxdb_2_that_answers_otherwise_is_no_such_server(
    settle: Settle, front: Front, status: int, version: str, page: bytes
) -> None:
    front.reads, front.version, front.page = status, version, page
    here = settle(influxdb_url=front.url)
    with pytest.raises(InfluxError) as caught:
        here.look()
    assert here.write() == 204
    assert not isinstance(caught.value, WriteOnlyError)
    assert not here.target.write_only


@pytest.mark.parametrize(
    "answer",
    [
        # A proxy that lets no write pass either.
        *(last_response(f"{status} So", PAGE) for status in (200, 302, 400, 404, 405, 501)),
        last_response(
            "404 Not Found", b'{"code": "not found", "message": "organization name not found"}'
        ),
        last_response("401 Unauthorized", b"who are you?"),
        last_response("503 Service Unavailable"),
        last_response("204 No Content"),
    ],
)
def test_whatever_else_a_look_up_is_answered_is_no_such_server(
    settle: Settle, answer: bytes
) -> None:
    with scripted(answer) as url:
        here = settle(influxdb_url=url)
        with suppress(InfluxError):  # where it is no missing bucket
            here.look()
    assert not here.target.write_only
