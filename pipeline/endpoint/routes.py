"""The routes of the loopback endpoint."""

import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from pipeline.clock import Clock, LogLimit, SystemClock
from pipeline.endpoint.page import page_reply
from pipeline.endpoint.prometheus import text
from pipeline.endpoint.site import Query, Reply, Route, Routes
from pipeline.health import Health, read_status
from pipeline.settings import Settings
from pipeline.spool import SpoolError

_TURN_S = 5.0
# One that is being answered, and those that wait for it: more would take the places of `/health`.
_AT_ONCE = 3
_BUSY = "Others are being answered; try again."


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


def routes(agent: Controls, clock: Clock | None = None, turn_s: float = _TURN_S) -> Routes:
    """Return what answers each path.

    Args:
        agent: The agent.
        clock: Time.
        turn_s: How long a question to the store waits for its turn, in seconds.
    """
    now = clock or SystemClock()
    reading, admitted = threading.Lock(), threading.Semaphore(_AT_ONCE)
    limit = LogLimit()

    def in_turn(reply: Callable[[Query], Reply], query: Query) -> Reply:
        if not reading.acquire(timeout=turn_s):
            return _unavailable(_BUSY)
        try:
            return reply(query)
        except SpoolError as error:
            return _unavailable(str(error))
        finally:
            reading.release()

    def from_store(reply: Callable[[Query], Reply]) -> Route:
        """Make one answer at a time, since each takes files and memory that the agent needs."""

        def made(query: Query) -> Reply:
            if not admitted.acquire(blocking=False):
                return _unavailable(_BUSY)
            try:
                return in_turn(reply, query)
            finally:
                admitted.release()

        return Route(made)

    return {
        "/": from_store(lambda query: page_reply(agent.settings, now, query, limit)),
        "/health": Route(lambda _: _health(agent.health)),
        "/live": Route(lambda _: _live(agent.health)),
        "/status": from_store(lambda _: _status(agent.settings)),
        "/metrics": from_store(lambda _: _metrics(agent)),
        "/api/internal/init": Route(lambda _: _init(agent), changes=True),
    }


def _unavailable(why: str) -> Reply:
    # A browser whose page renews itself would stay here else.
    again = {"Refresh": str(round(_TURN_S))}
    return Reply.json({"error": why}, HTTPStatus.SERVICE_UNAVAILABLE, again)


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


def _status(settings: Settings) -> Reply:
    return Reply.json(read_status(settings).as_json())


def _metrics(agent: Controls) -> Reply:
    figures = text(read_status(agent.settings), agent.health)
    return Reply(HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", figures)


def _init(agent: Controls) -> Reply:
    # A start that finds it running would say so in the log, with each request.
    if agent.health is None and (error := agent.try_start()):
        body = {"success": False, "metricsCollectionRunning": False, "error": error}
        return Reply.json(body, HTTPStatus.INTERNAL_SERVER_ERROR)
    return Reply.json({"success": True, "metricsCollectionRunning": True})
