"""Gaps: the spans in which readings are missing, and their points `metrics_gap`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.point import Point, encode
from pipeline.spool import Cause, Gap

MEASUREMENT = "metrics_gap"


def lines(gaps: Iterable[Gap], tags: Mapping[str, str], oldest_ns: int = 0) -> Iterator[str]:
    """Write each gap as a point at its start; its field `start_ns` always has the true one.

    Args:
        gaps: The gaps.
        tags: Tags of every point, such as `host`.
        oldest_ns: The oldest time that a point may have, in nanoseconds since 1970-01-01 UTC: a gap
            that began before is written there, since InfluxDB refuses what is beyond its age.
    """
    for gap in gaps:
        fields = {
            "readings": gap.readings,
            "seconds": (gap.stop_ns - gap.start_ns) / 1e9,
            "start_ns": gap.start_ns,
        }
        server = {"server": gap.server} if gap.server else {}
        point = Point(MEASUREMENT, fields, {"cause": gap.cause, **server})
        yield encode(point, max(gap.start_ns, oldest_ns), tags)


def missed(before_ns: int, now_ns: int, readings: int) -> Iterator[Gap]:
    """Yield the gap between two readings if ticks were missed."""
    if readings > 0:
        yield Gap(Cause.TICK_MISSED, min(before_ns, now_ns), now_ns, readings)


def down(before_ns: int | None, now_ns: int, interval_s: float) -> Iterator[Gap]:
    """Yield the gap in which no agent ran.

    Args:
        before_ns: The time of the last reading before it; None when there was none.
        now_ns: The time of the first reading after it.
        interval_s: The collection interval, in seconds.
    """
    if before_ns is not None:
        gap = Gap.without_agent(before_ns, now_ns, interval_s)
        if gap.readings > 0:
            yield gap


def joined(parts: Iterable[Gap]) -> list[Gap]:
    """Return one gap for each cause and server, which covers all of these."""
    every = list(parts)
    kinds = dict.fromkeys((gap.cause, gap.server) for gap in every)
    return [_one([gap for gap in every if (gap.cause, gap.server) == kind]) for kind in kinds]


def _one(every: Sequence[Gap]) -> Gap:
    return Gap(
        every[0].cause,
        min(gap.start_ns for gap in every),
        max(gap.stop_ns for gap in every),
        sum(gap.readings for gap in every),
        every[0].server,
    )
