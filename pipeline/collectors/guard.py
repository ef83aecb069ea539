"""The guard: runs one collector, and keeps its failures from the others."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.clock import Clock
from pipeline.collectors.base import Collector, NoData, Omission, reason, selection
from pipeline.point import Point, PointError, encode
from pipeline.settings import CollectorOptions

_log = logging.getLogger(__name__)

_FAILS = "fails"


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
        problems: What is wrong, such as `fails`, and why, on one line.
    """

    collector: str
    lines: tuple[str, ...]
    lost_points: int
    seconds: float
    problems: Mapping[str, str]

    @property
    def error(self) -> str | None:
        """Why the run failed as a whole; None when it did not."""
        return self.problems.get(_FAILS)

    def warnings(self) -> Iterator[tuple[str, str]]:
        """Yield each problem, and a line for the log that says it."""
        for problem, why in self.problems.items():
            yield problem, f"Collector {self.collector} {problem}: {why}"


class Guard:
    """Runs one collector: times it, isolates its failure, and keeps its series within bounds.

    It runs in the caller's thread: a thread for each run would cost as much as many a reading. Most
    collectors read the kernel's memory, which answers at once. The few that read what may never
    answer, such as file systems of other machines, do so by a `TimeoutRunner`.

    Two points of one series in one run would overwrite each other in InfluxDB without a word: the
    first one stays, the others count as lost. A surplus of series is a problem from its first time
    on, since it comes and goes with each process or container.
    """

    def __init__(self, collector: Collector, options: CollectorOptions, clock: Clock) -> None:
        self.name = collector.name
        self._collector = collector
        self._is_selected = selection(collector, options)
        self._max_series = options.max_series
        self._clock = clock
        self._usual_points = 0
        self._largest_surplus = 0

    def run(self, timestamp_ns: int, tags: Mapping[str, str]) -> Outcome:
        """Run the collector once; `tags` are those that every point gets, such as `host`.

        Returns:
            The lines, or why there are none. Only KeyboardInterrupt and its like are raised.
        """
        started = self._clock.monotonic()
        problems: dict[str, str] = {}
        try:
            lines, lost = self._read(timestamp_ns, tags, problems)
            self._usual_points = len(lines) + lost
        except (Exception, SystemExit) as error:  # noqa: BLE001 - none may cost the others
            lines, lost = [], max(1, self._usual_points)
            problems = {_FAILS: reason(error)}
            _log.debug("Collector %s fails", self.name, exc_info=True)
        seconds = self._clock.monotonic() - started
        return Outcome(self.name, tuple(lines), lost, seconds, problems)

    def _read(
        self, timestamp_ns: int, tags: Mapping[str, str], problems: dict[str, str]
    ) -> tuple[list[str], int]:
        """Return the lines of the wanted points, and how many wanted points were lost."""
        points, omissions = self._collect()
        problems.update({f"leaves out {omission.what}": omission.why for omission in omissions})
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
        self._largest_surplus = max(self._largest_surplus, surplus)
        if self._largest_surplus:
            problems["has too many series"] = f"{self._largest_surplus} left out by max_series"
        if refusals:
            problems["has points that cannot be written"] = refusals[0]
        if doubles:
            problems["reads a series twice"] = f"{doubles} left out"
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


def _by_series(points: Iterable[Point]) -> dict[tuple[str, frozenset[tuple[str, str]]], Point]:
    """Return each series' first point, in order."""
    series: dict[tuple[str, frozenset[tuple[str, str]]], Point] = {}
    for point in points:
        series.setdefault((point.measurement, frozenset(point.tags.items())), point)
    return series
