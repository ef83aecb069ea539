"""Gaps: which readings are missing, and the points `metrics_gap` that tell of them."""

from collections.abc import Iterable, Iterator, Mapping

from pipeline.point import Point, encode
from pipeline.spool import Cause, Gap

MEASUREMENT = "metrics_gap"


def lines(gaps: Iterable[Gap], tags: Mapping[str, str]) -> Iterator[str]:
    """Write each gap as a point at its start."""
    for gap in gaps:
        fields = {"readings": gap.readings, "seconds": (gap.stop_ns - gap.start_ns) / 1e9}
        yield encode(Point(MEASUREMENT, fields, {"cause": gap.cause}), gap.start_ns, tags)


def missed(before_ns: int, now_ns: int, readings: int) -> Iterator[Gap]:
    """Yield the gap of firings that came too late, between two readings."""
    if readings > 0:
        yield Gap(Cause.TICK_MISSED, min(before_ns, now_ns), now_ns, readings)


def down(before_ns: int | None, now_ns: int, interval_s: float) -> Iterator[Gap]:
    """Yield the gap from the last reading before, if there was one, to the first one now."""
    if before_ns is not None:
        readings = round((now_ns - before_ns) / 1e9 / interval_s) - 1
        if readings > 0:
            yield Gap("agent_down", before_ns, now_ns, readings)


def joined(parts: Iterable[Gap]) -> Gap:
    """Return one gap for several of one cause."""
    every = list(parts)
    return Gap(
        every[0].cause,
        min(gap.start_ns for gap in every),
        max(gap.stop_ns for gap in every),
        sum(gap.readings for gap in every),
    )
