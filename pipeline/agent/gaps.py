"""Gaps: the spans in which readings are missing, and their points `metrics_gap`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pipeline.clock import PLAUSIBLE_NS
from pipeline.point import Point, encode
from pipeline.spool import Cause, Gap

MEASUREMENT = "metrics_gap"


class GapFinder:
    """Finds which readings are missing before each one that is taken."""

    def __init__(self) -> None:
        self._before_ns: int | None = None
        # Until the time without an agent is found, when the interval is None again.
        self._interval_s: float | None = None
        self._last_ns: int | None = None  # of the agent before
        self._first_ns: int | None = None  # of this one

    def resume(self, last_ns: int | None, interval_s: float) -> None:
        """Find the time without an agent, too, which ends with the next reading.

        Args:
            last_ns: The time of the last reading before it; None when there was none.
            interval_s: The collection interval, in seconds.
        """
        self._last_ns, self._interval_s = last_ns, interval_s
        self._first_ns = self._before_ns = None

    def before(self, time_ns: int, missed: int) -> tuple[Gap, ...]:
        """Return the gaps before a reading, before which so many ticks were missed."""
        if self._first_ns is None or self._before_ns is None:
            self._first_ns = self._before_ns = time_ns
        late = Gap(Cause.TICK_MISSED, min(self._before_ns, time_ns), time_ns, missed)
        self._before_ns = time_ns
        return (*self._down(self._first_ns), *([late] if missed else []))

    def _down(self, first_ns: int) -> Iterator[Gap]:
        # Until the clock is set, nobody knows how long no agent ran.
        if self._interval_s is None or first_ns < PLAUSIBLE_NS:
            return
        interval_s, self._interval_s = self._interval_s, None
        if self._last_ns is not None and self._last_ns >= PLAUSIBLE_NS:
            gap = Gap.without_agent(self._last_ns, first_ns, interval_s)
            if gap.readings > 0:
                yield gap

    def correct(self, by_ns: int) -> None:
        """Correct the times of a clock that was not set, and has jumped so far."""
        if self._first_ns is not None and self._before_ns is not None:
            self._first_ns = corrected_ns(self._first_ns, by_ns)
            self._before_ns = corrected_ns(self._before_ns, by_ns)


def lines(gaps: Iterable[Gap], tags: Mapping[str, str], oldest_ns: int) -> Iterator[str]:
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


def joined(parts: Iterable[Gap]) -> tuple[Gap, ...]:
    """Return one gap for each cause and server, which covers all of these."""
    found: dict[tuple[str, str], Gap] = {}
    for gap in parts:
        one = found.setdefault((gap.cause, gap.server), replace(gap, readings=0))
        found[gap.cause, gap.server] = replace(
            one,
            start_ns=min(one.start_ns, gap.start_ns),
            stop_ns=max(one.stop_ns, gap.stop_ns),
            readings=one.readings + gap.readings,
        )
    return tuple(found.values())


def corrected(gaps: Iterable[Gap], by_ns: int) -> tuple[Gap, ...]:
    """Return gaps with other times, where they have those of a clock that was not set."""
    return tuple(
        replace(
            gap,
            start_ns=corrected_ns(gap.start_ns, by_ns),
            stop_ns=corrected_ns(gap.stop_ns, by_ns),
        )
        for gap in gaps
    )


def corrected_ns(time_ns: int, by_ns: int) -> int:
    """Return another time if this is that of a clock that was not set."""
    return time_ns + by_ns if time_ns < PLAUSIBLE_NS else time_ns
