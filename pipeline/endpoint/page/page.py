"""What a request for the page costs, and what it is answered."""

import os
import threading
from collections.abc import Mapping
from http import HTTPStatus

from pipeline.clock import Clock
from pipeline.endpoint.page.charts import CHARTS
from pipeline.endpoint.page.html import HOURS, Content, headers, html
from pipeline.endpoint.server import Reply
from pipeline.health import read_status, summarize
from pipeline.settings import Settings
from pipeline.spool import Series, SpoolError, SpoolReader, history

_TYPE = "text/html; charset=utf-8"
# A day at the interval of a minute; of more readings, so many evenly. They take a third of a second
# of processor time at most, whatever the store holds.
_READINGS = 1440
_POINTS = 200
WAIT_S = 5.0


class Page:
    """Makes the page, one at a time, so that no number of readers slows the agent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._making = threading.Lock()

    def reply(self, settings: Settings, query: Mapping[str, str]) -> Reply:
        """Answer a request; anything but the `hours` on offer stands for the least of them."""
        if not self._making.acquire(timeout=WAIT_S):
            return _unavailable("The page is being made for others; try again.")
        try:
            return self._made(settings, query)
        except SpoolError as error:
            return _unavailable(str(error))
        finally:
            self._making.release()

    def _made(self, settings: Settings, query: Mapping[str, str]) -> Reply:
        now_ns = self._clock.now_ns()
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
        return Reply(HTTPStatus.OK, _TYPE, html(content, nonce), headers(nonce))


def _unavailable(why: str) -> Reply:
    return Reply(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", f"{why}\n")


def _read(settings: Settings, since_ns: int) -> tuple[int, list[Series]]:
    wanted = [one for chart in CHARTS for _, one in chart.lines]
    try:
        with SpoolReader(settings.data_dir) as reader:
            step = reader.step(since_ns, _READINGS)
            return step, history.read(reader.history(since_ns, _READINGS), wanted, _POINTS)
    except FileNotFoundError:
        return 1, []
