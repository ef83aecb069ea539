"""The guard: runs one collector, and keeps its failures from the others."""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pipeline.clock import Clock
from pipeline.collectors.base import Collector, NoData, Omission, reason, selection
from pipeline.point import Point, PointError, encode
from pipeline.settings import CollectorOptions
from pipeline.trouble import Trouble

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one run of a collector.

    Attributes:
        collector: Its name.
        lines: Its points in line protocol.
        lost_points: Points that should be among the lines but are not: omitted, refused, double,
            beyond `max_series`; or, when the run failed, as many as the last good one had, at
            least 1.
        seconds: How long it took.
        error: Why the run failed as a whole, on one line; None when it did not.
    """

    collector: str
    lines: tuple[str, ...]
    lost_points: int
    seconds: float
    error: str | None


class Guard:
    """Runs one collector: times it, isolates its failure, and keeps its series within bounds.

    It runs in the caller's thread: a thread for each run would cost as much as many a reading. Most
    collectors read the kernel's memory, which answers at once. The few that read what may never
    answer, such as file systems of other machines, do so by a `TimeoutRunner`.

    Two points of one series in one run would overwrite each other in InfluxDB without a word: the
    first one stays, the others count as lost. Trouble is logged once when it begins and once when
    it is over, except a surplus of series, which is logged once and for all.
    """

    def __init__(self, collector: Collector, options: CollectorOptions, clock: Clock) -> None:
        self.name = collector.name
        self._collector = collector
        self._is_selected = selection(collector, options)
        self._max_series = options.max_series
        self._clock = clock
        self._usual_points = 0
        self._troubles: defaultdict[str, Trouble] = defaultdict(Trouble)
        self._omitted: Collection[str] = ()

    def run(self, timestamp_ns: int, tags: Mapping[str, str]) -> Outcome:
        """Run the collector once; `tags` are those that every point gets, such as `host`.

        Returns:
            The lines, or why there are none. Only KeyboardInterrupt and its like are raised.
        """
        started = self._clock.monotonic()
        error = None
        try:
            lines, lost = self._read(timestamp_ns, tags)
            self._usual_points = len(lines) + lost
        except (Exception, SystemExit) as exception:  # noqa: BLE001 - none may cost the others
            lines, lost = [], max(1, self._usual_points)
            error = reason(exception)
            self._report("fails", error, exception)
        else:
            self._report_over("fails")
        seconds = self._clock.monotonic() - started
        return Outcome(self.name, tuple(lines), lost, seconds, error)

    def _read(self, timestamp_ns: int, tags: Mapping[str, str]) -> tuple[list[str], int]:
        """Return the lines of the wanted points, and how many wanted points were lost."""
        points, omissions = self._collect()
        self._log_omissions(omissions)
        series = _by_series(points)
        kept = list(series)[: self._max_series]
        lines: list[str] = []
        refusals: list[str] = []
        for key in kept:
            try:
                line = encode(series[key], timestamp_ns, tags)
            except PointError as error:
                refusals.append(reason(error))
            else:
                lines.extend([line] if line else [])
        surplus = len(series) - len(kept)
        doubles = len(points) - len(series)
        self._log_troubles(refusals, doubles, surplus)
        return lines, len(omissions) + len(refusals) + doubles + surplus

    def _collect(self) -> tuple[list[Point], list[Omission]]:
        points: list[Point] = []
        omissions: list[Omission] = []
        try:
            for item in self._collector.collect():
                if isinstance(item, Omission):
                    omissions.append(item)
                elif self._is_wanted(item):
                    points.append(item)
        except NoData:
            points.clear()
        return points, omissions

    def _is_wanted(self, point: Point) -> bool:
        """Tell whether the user wants a point; one without the series tag always is."""
        tag = self._collector.series_tag
        value = None if tag is None else point.tags.get(tag)
        return value is None or self._is_selected(value)

    def _log_omissions(self, omissions: Collection[Omission]) -> None:
        """Log which omissions are new, and which have ended."""
        if not omissions and not self._omitted:
            return
        reasons = {omission.what: omission.why for omission in omissions}
        for what, why in reasons.items():
            if what not in self._omitted:
                _log.warning("Collector %s leaves out %s: %s", self.name, what, why)
        for what in self._omitted:
            if what not in reasons:
                _log.info("Collector %s no longer leaves out %s", self.name, what)
        self._omitted = reasons.keys()

    def _log_troubles(self, refusals: list[str], doubles: int, surplus: int) -> None:
        if surplus:
            self._report("has too many series", f"{surplus} left out by max_series")
        for trouble, why in (
            ("has points that cannot be written", refusals[0] if refusals else ""),
            ("reads a series twice", f"{doubles} left out" if doubles else ""),
        ):
            if why:
                self._report(trouble, why)
            else:
                self._report_over(trouble)

    def _report(self, trouble: str, why: str, cause: BaseException | None = None) -> None:
        line = f"Collector {self.name} {trouble}: {why}"
        self._troubles[trouble].begins(why, line, error=cause)

    def _report_over(self, trouble: str) -> None:
        self._troubles[trouble].ends(f"Collector {self.name} works again, it no longer {trouble}")


def _by_series(points: Iterable[Point]) -> dict[tuple[str, frozenset[tuple[str, str]]], Point]:
    """Return each series' first point, in order."""
    series: dict[tuple[str, frozenset[tuple[str, str]]], Point] = {}
    for point in points:
        series.setdefault((point.measurement, frozenset(point.tags.items())), point)
    return series
