"""The agent's own metrics: `metrics_agent` and `metrics_delivery`, delivered like the rest."""

import math
import resource
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline import __version__
from pipeline.clock import Clock
from pipeline.collectors import AGENT, Collector, NoData
from pipeline.health.health import Health, ServerHealth
from pipeline.point import FieldValue, Point
from pipeline.settings import MAIN
from pipeline.spool import COMMITTED, Cause, Contents, Spool, SpoolError

DELIVERY = "metrics_delivery"
"""The measurement of how each server fares, where there are mirrors."""
# Less than a minute, so that none of the ticks of a minute's interval is passed over.
_EVERY_S = 59.0
_CAUSES = [cause for cause in Cause if cause is not Cause.MIRROR_REMOVED]


class AgentMetrics(Collector):
    """Collects the agent's own metrics once a minute at most: slow graphs need no more of them.

    It is a collector like the others, but reads the agent in place of the host.
    """

    name = AGENT
    series_tag = "collector"

    def __init__(self, health: Health, spool: Spool, clock: Clock) -> None:
        self._health = health
        self._spool = spool
        self._clock = clock
        self._began = clock.monotonic()
        self._yielded = -math.inf

    def collect(self) -> Iterator[Point]:
        """Yield one point for the agent, and for each collector; with mirrors, for each server.

        Raises:
            NoData: A minute has not passed, or the account cannot be read; the commit of the
                reading will report that.
        """
        now = self._clock.monotonic()
        if now - self._yielded < _EVERY_S:
            raise NoData
        try:
            account = self._account()
            servers = self._health.servers
            deliveries = [*map(self._delivery, servers)] if len(servers) > 1 else []
        except SpoolError:
            raise NoData from None
        point = Point(AGENT, {**account, **self._work(now)})
        self._yielded = now
        yield point
        yield from deliveries
        tick = self._health.last_reading
        for name, seconds in (tick.collectors if tick else {}).items():
            yield Point(AGENT, {"collect_ms": 1000.0 * seconds}, {"collector": name})

    def _account(self) -> dict[str, FieldValue]:
        """Return the counters of the store, which a restart does not set back, and the backlog."""
        contents = self._spool.contents()
        return {"ticks": contents.ticks, **self._figures(contents, _CAUSES)}

    def _delivery(self, server: ServerHealth) -> Point:
        """Return what a server has of the store, and how delivery to it goes."""
        contents = self._spool.queue(server.name).contents()
        fields = {**self._figures(contents, COMMITTED), "retries": server.retries}
        if server.last_write_s is not None:
            fields["write_ms"] = 1000.0 * server.last_write_s
        return Point(DELIVERY, fields, {"server": server.name})

    def _figures(self, contents: Contents, causes: Iterable[Cause]) -> dict[str, FieldValue]:
        oldest_ns = contents.backlog_oldest_ns
        age_ns = 0 if oldest_ns is None else max(0, self._clock.now_ns() - oldest_ns)
        return {
            "points": contents.points,
            "delivered_points": contents.delivered_points,
            "backlog_points": contents.backlog_points,
            "backlog_bytes": contents.backlog_bytes,
            "backlog_age_s": age_ns / 1e9,
            "rejected_points": contents.rejected_points,
            **{f"lost_{cause}": contents.lost.get(cause, 0) for cause in causes},
        }

    def _work(self, now: float) -> dict[str, FieldValue]:
        """Return what the agent is, did and used since it started, and in the last reading."""
        used, main = usage(), self._health.server(MAIN)
        fields: dict[str, FieldValue] = {
            "uptime_s": now - self._began,
            "retries": main.retries,
            "cpu_time_s": used.cpu_s,
            "memory_rss": used.resident_bytes,
            "version": __version__,
        }
        if (tick := self._health.last_reading) is not None:
            fields |= {"tick_ms": 1000.0 * tick.seconds, "tick_points": tick.points}
        if main.last_write_s is not None:
            fields["write_ms"] = 1000.0 * main.last_write_s
        return fields


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used.

    Attributes:
        cpu_s: Processor time since its start, in seconds.
        resident_bytes: Memory in use; its peak where /proc cannot be read.
        peak_bytes: The most memory in use since its start.
    """

    cpu_s: float
    resident_bytes: int
    peak_bytes: int


def usage() -> Usage:
    """Return what this process has used.

    psutil cannot tell: where it reads a container's host, it looks for this process there.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss * 1024  # it is in kilobytes: getrusage(2)
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])  # proc_pid_statm(5)
        resident = pages * resource.getpagesize()
    except OSError:
        resident = peak
    return Usage(used.ru_utime + used.ru_stime, resident, peak)
