"""The page at `/`: what a request reads from the store, and what it may cost."""

import os
from collections.abc import Mapping
from http import HTTPStatus

from pipeline.clock import Clock, LogLimit
from pipeline.endpoint.page.charts import CHARTS
from pipeline.endpoint.page.html import Content, History, html, policy
from pipeline.endpoint.page.tiles import TILES
from pipeline.endpoint.page.window import HOUR, SPANS, Span, window
from pipeline.endpoint.site import Reply
from pipeline.health import read_status, summarize
from pipeline.settings import Settings
from pipeline.spool import SpoolReader, history

_TYPE = "text/html; charset=utf-8"
# A day at an interval of two minutes; of more readings, this many are read, evenly spaced. So a
# page takes a third of a second of processor time at most, whatever the store holds.
_READINGS = 720
_POINTS = 200
_HOUR_READINGS = 120  # for the small lines of the tiles
_LEAST_RENEWAL_S = 5


def page_reply(
    settings: Settings, clock: Clock, query: Mapping[str, str], limit: LogLimit | None = None
) -> Reply:
    """Answer a request.

    Args:
        settings: Where the store is.
        clock: Time.
        query: `hours` says how far back; any value that is not offered means an hour. `renew=no`
            makes a page that does not renew itself.
        limit: Limits what the log says of damaged readings.

    Raises:
        SpoolError: The store cannot be read.
    """
    now_ns = clock.now_ns()
    span = next((one for one in SPANS if query.get("hours") == one.hours), HOUR)
    state = read_status(settings)
    interval_ms = state.collection_interval_ms
    content = Content(
        host=settings.host,
        span=span,
        now_ns=now_ns,
        state=summarize(state, now_ns),
        lost={name: one.lost for name, one in state.servers.items()} or {"": state.main.lost},
        renewal_s=max(_LEAST_RENEWAL_S, -(-interval_ms // 1000)),
        paused=query.get("renew") == "no",
        history=_read(settings, now_ns, span, interval_ms * 10**6, limit),
    )
    nonce = os.urandom(16).hex()
    headers = {"Content-Security-Policy": policy(nonce)}
    return Reply(HTTPStatus.OK, _TYPE, html(content, nonce), headers)


def _read(
    settings: Settings, now_ns: int, span: Span, interval_ns: int, limit: LogLimit | None
) -> History | None:
    lines = [one for chart in CHARTS for _, one in chart.lines]
    figures = [one for tile in TILES for one in tile.filters()]
    try:
        with SpoolReader(settings.data_dir, limit=limit) as reader:
            held = reader.contents()
            if held.first_ns is None or held.last_ns is None:
                return None
            since_ns, hour_ns = now_ns - span.ns, now_ns - HOUR.ns
            part = reader.step(since_ns, _READINGS)
            times = reader.times(since_ns, _READINGS)
            hour_part = reader.step(hour_ns, _HOUR_READINGS)
            hour = reader.times(hour_ns, _HOUR_READINGS)
            return History(
                first_ns=held.first_ns,
                last_ns=held.last_ns,
                part=part,
                window=window(span.ns, now_ns, held.first_ns, times, part, interval_ns),
                series=history.read(reader.history(since_ns, _READINGS), lines, _POINTS),
                hour=window(HOUR.ns, now_ns, held.first_ns, hour, hour_part, interval_ns),
                newest=history.read(reader.history(hour_ns, _HOUR_READINGS), figures, _POINTS),
            )
    except FileNotFoundError:
        return None
