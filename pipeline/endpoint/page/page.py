"""The page at `/`: what a request reads from the store, and what it may cost."""

import os
from collections.abc import Mapping
from http import HTTPStatus

from pipeline.clock import Clock
from pipeline.endpoint.page.charts import CHARTS
from pipeline.endpoint.page.html import HOURS, Content, html, policy
from pipeline.endpoint.site import Reply
from pipeline.health import read_status, summarize
from pipeline.settings import Settings
from pipeline.spool import Series, SpoolReader, history

_TYPE = "text/html; charset=utf-8"
# A day at an interval of a minute; of more readings, this many are read, evenly spaced. So a page
# takes a third of a second of processor time at most, whatever the store holds.
_READINGS = 1440
_POINTS = 200


def page_reply(settings: Settings, clock: Clock, query: Mapping[str, str]) -> Reply:
    """Answer a request.

    Args:
        settings: Where the store is.
        clock: Time.
        query: `hours` says how far back; any value that is not offered means the least.

    Raises:
        SpoolError: The store cannot be read.
    """
    now_ns = clock.now_ns()
    hours = next((each for each in HOURS if query.get("hours") == str(each)), HOURS[0])
    state = read_status(settings)
    step, series = _read(settings, now_ns - hours * 3600 * 10**9)
    content = Content(
        host=settings.host,
        hours=hours,
        now_ns=now_ns,
        state=summarize(state, now_ns),
        lost=tuple(state.lost.items()),
        interval_ms=state.collection_interval_ms,
        series=series,
        step=step,
    )
    nonce = os.urandom(16).hex()
    headers = {"Content-Security-Policy": policy(nonce)}
    return Reply(HTTPStatus.OK, _TYPE, html(content, nonce), headers)


def _read(settings: Settings, since_ns: int) -> tuple[int, list[Series]]:
    wanted = [one for chart in CHARTS for _, one in chart.lines]
    try:
        with SpoolReader(settings.data_dir) as reader:
            step = reader.step(since_ns, _READINGS)
            return step, history.read(reader.history(since_ns, _READINGS), wanted, _POINTS)
    except FileNotFoundError:
        return 1, []
