"""The routes of the loopback endpoint."""

import dataclasses
from http import HTTPStatus
from typing import Protocol

from pipeline.clock import Clock, SystemClock
from pipeline.endpoint.page import Page
from pipeline.endpoint.prometheus import text
from pipeline.endpoint.server import Reply, Routes
from pipeline.health import Health, read_status
from pipeline.settings import Settings


class Controls(Protocol):
    """The agent, as far as the endpoint knows it."""

    settings: Settings

    @property
    def health(self) -> Health | None:
        """The state of the collection; None while it is stopped."""
        ...

    def try_start(self) -> str:
        """Start collection if it is not running; return why it cannot start, or ""."""
        ...


def routes(agent: Controls, clock: Clock | None = None) -> Routes:
    """Return what answers each path."""
    page = Page(clock or SystemClock())
    return {
        "/": lambda query: page.reply(agent.settings, query),
        "/health": lambda _: _health(agent.health),
        "/live": lambda _: _live(agent.health),
        "/status": lambda _: Reply.json(dataclasses.asdict(read_status(agent.settings))),
        "/metrics": lambda _: _metrics(agent),
        "/api/internal/init": lambda _: _init(agent),
    }


def _health(health: Health | None) -> Reply:
    failure = "collection is stopped" if health is None else health.failure()
    if failure is not None:
        body = {"status": "fail", "reason": failure}
        return Reply.json(body, HTTPStatus.SERVICE_UNAVAILABLE)
    return Reply.json({"status": "pass", "troubles": health.troubles() if health else {}})


def _live(health: Health | None) -> Reply:
    """Answer whether readings go on. A restart helps against nothing else, such as a full disk."""
    if health is None or health.stalled():
        body = {"status": "fail", "reason": "readings do not go on"}
        return Reply.json(body, HTTPStatus.SERVICE_UNAVAILABLE)
    return Reply.json({"status": "pass"})


def _metrics(agent: Controls) -> Reply:
    figures = text(read_status(agent.settings), agent.health)
    return Reply(HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", figures)


def _init(agent: Controls) -> Reply:
    if error := agent.try_start():
        body = {"success": False, "metricsCollectionRunning": False, "error": error}
        return Reply.json(body, HTTPStatus.INTERNAL_SERVER_ERROR)
    return Reply.json({"success": True, "metricsCollectionRunning": True})
