import json
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipeline.endpoint.routes import routes
from pipeline.endpoint.server import Endpoint
from pipeline.endpoint.site import Reply, Routes
from pipeline.health import Health
from pipeline.settings import Settings
from pipeline.spool import Spool
from tests.clocks import START_NS, ManualClock
from tests.influxd.http import call


class Agent:
    """What the endpoint knows of an agent."""

    def __init__(self, data_dir: Path) -> None:
        self.settings = Settings(
            data_dir=data_dir, influxdb_url="http://x", influxdb_token="secret"
        )
        self.clock = ManualClock()
        self.health: Health | None = None
        self.refusal = ""
        self.starts = 0

    def try_start(self) -> str:
        if not self.refusal:
            self.starts += 1
            self.health = Health(self.clock, 60, lambda _: None)
        return self.refusal


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


class Hold:
    """Keeps whoever makes a page until `done`; `inside` is set once somebody does."""

    def __init__(self, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inside, self.done = threading.Event(), threading.Event()
        self._now_ns = agent.clock.now_ns
        monkeypatch.setattr(agent.clock, "now_ns", self.now_ns)

    def now_ns(self) -> int:
        self.inside.set()
        assert self.done.wait(30)
        return self._now_ns()


@pytest.fixture
def hold(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> Hold:
    return Hold(agent, monkeypatch)


@pytest.fixture
def served(agent: Agent) -> Routes:
    return routes(agent)


def body(reply: Reply) -> Any:
    assert reply.content_type == "application/json"
    return json.loads(reply.body)


UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE


def test_init_starts_collection_once_or_says_why_it_did_not_start(
    agent: Agent, served: Routes
) -> None:
    init = served["/api/internal/init"].reply
    agent.refusal = why = "the data directory is in use"
    reply = init({})
    assert reply.status == HTTPStatus.INTERNAL_SERVER_ERROR
    assert body(reply) == {"success": False, "metricsCollectionRunning": False, "error": why}
    agent.refusal = ""
    for _ in range(3):
        assert body(init({})) == {"success": True, "metricsCollectionRunning": True}
    assert agent.starts == 1


def test_health_passes_while_readings_are_taken(agent: Agent, served: Routes) -> None:
    def health() -> tuple[HTTPStatus, Any]:
        reply = served["/health"].reply({})
        return reply.status, body(reply)

    assert health() == (UNAVAILABLE, {"status": "fail", "reason": "collection is stopped"})
    agent.try_start()
    assert health() == (HTTPStatus.OK, {"status": "pass", "troubles": {}})
    assert agent.health is not None
    agent.health.server("b").trouble("delivery").begins("connection refused")
    troubles = {"delivery:b": "connection refused"}
    assert health() == (HTTPStatus.OK, {"status": "pass", "troubles": troubles})
    agent.clock.advance(1000)
    assert health() == (UNAVAILABLE, {"status": "fail", "reason": "no reading for 1000 s"})


def test_the_page_status_and_metrics_are_of_the_agents_store_and_show_no_secret(
    agent: Agent, served: Routes
) -> None:
    page = served["/"].reply({"hours": "6"})
    assert (page.status, page.content_type) == (HTTPStatus.OK, "text/html; charset=utf-8")
    for shown in (f"<h1>{agent.settings.host}</h1>", "?hours=6&amp;renew=no", "http://x"):
        assert shown in page.body
    for ticks in (0, 1):
        status, metrics = served["/status"].reply({}), served["/metrics"].reply({})
        assert (status.status, metrics.status) == (HTTPStatus.OK, HTTPStatus.OK)
        assert body(status)["ticks"] == ticks
        assert body(status)["influxdb_url"] == "http://x"
        assert f"\nmetrics_agent_ticks_total {ticks}\n" in metrics.body
        assert metrics.content_type == "text/plain; version=0.0.4; charset=utf-8"
        assert "secret" not in page.body + status.body + metrics.body
        with Spool(agent.settings.data_dir, 2**24) as spool:
            spool.append(["m f=1i"], START_NS)
    assert "metrics_agent_trouble" not in metrics.body
    agent.try_start()
    assert "metrics_agent_trouble" in served["/metrics"].reply({}).body


def test_live_is_an_agent_whose_readings_go_on_whatever_the_disk_does(
    agent: Agent, served: Routes
) -> None:
    assert served["/live"].reply({}).status == UNAVAILABLE
    agent.try_start()
    assert agent.health is not None
    agent.health.trouble("spool").begins("the disk is full")
    agent.clock.advance(3 * 60.0 + 1)
    assert served["/live"].reply({}).status == UNAVAILABLE
    agent.health.tick_attempted()
    assert served["/health"].reply({}).status == UNAVAILABLE
    assert served["/live"].reply({}).status == HTTPStatus.OK


def test_what_reads_the_store_is_answered_one_at_a_time_from_the_first_on(
    agent: Agent, hold: Hold
) -> None:
    agent.try_start()
    served = routes(agent, agent.clock, turn_s=0.01)
    page = served["/"].reply
    with ThreadPoolExecutor() as pool:
        first = pool.submit(page, {})
        assert hold.inside.wait(30)
        others = [served[path].reply({}) for path in ("/", "/status", "/metrics")]
        alive = [served[path].reply({}).status for path in ("/health", "/live")]
        hold.done.set()
        assert first.result(30).status == HTTPStatus.OK
    assert {reply.status for reply in others} == {UNAVAILABLE}
    assert all("try again" in reply.body for reply in others)
    assert {reply.headers["Refresh"] for reply in others} == {"5"}  # a page goes on to renew itself
    assert alive == [HTTPStatus.OK] * 2
    assert page({}).status == HTTPStatus.OK


def test_many_pages_at_once_leave_places_for_who_asks_whether_it_lives(
    agent: Agent, hold: Hold
) -> None:
    agent.try_start()
    with (
        closing(Endpoint(0, routes(agent, agent.clock, turn_s=60.0))) as endpoint,
        ThreadPoolExecutor(20) as pool,
    ):

        def status(path: str) -> int:
            return call("GET", f"http://127.0.0.1:{endpoint.port}{path}").status

        pages = [pool.submit(status, "/") for _ in range(20)]
        try:
            refused = [page.result() for page in islice(as_completed(pages, 10), 17)]
            alive = [status(path) for path in ("/health", "/live")]
        finally:
            hold.done.set()
        assert refused == [UNAVAILABLE] * 17
        assert alive == [HTTPStatus.OK] * 2
        assert [page.result(30) for page in pages].count(HTTPStatus.OK) == 3


@pytest.mark.parametrize("path", ["/", "/status", "/metrics"])
def test_a_store_that_cannot_be_read_is_told(agent: Agent, served: Routes, path: str) -> None:
    (agent.settings.data_dir / "spool.db").write_text("a letter to the editor" * 100)
    reply = served[path].reply({})
    assert reply.status == UNAVAILABLE
    assert "is damaged (file is not a database)" in body(reply)["error"]


def test_only_the_start_of_collection_changes_something(served: Routes) -> None:
    assert [path for path, route in served.items() if route.changes] == ["/api/internal/init"]
