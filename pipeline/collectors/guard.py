"""The guard: runs one collector, and keeps its failures from the others."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.clock import Clock
from pipeline.collectors.base import Collector, NoData, Omission, Silence, reason, selection
from pipeline.point import Point, PointError, encode, series_of, writable
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
            least 1. A figure that is missing from its point counts as one.
        seconds: How long it took.
        problems: What is wrong, such as `fails`, and why, on one line.
        silent_points: Points and figures that are missing since nobody answered for them in time;
            they are not among `lost_points`.
    """

    collector: str
    lines: tuple[str, ...]
    lost_points: int
    seconds: float
    problems: Mapping[str, str]
    silent_points: int = 0

    @property
    def error(self) -> str | None:
        """Why the run failed as a whole; None when it did not."""
        return self.problems.get(_FAILS)

    def warnings(self) -> Iterator[tuple[str, str]]:
        """Yield each problem, and a line for the log that says it."""
        for problem, why in self.problems.items():
            yield problem, f"Collector {self.collector} {problem}: {why}"


class _Written(NamedTuple):  # made for each point of each reading
    """A point as it is written.

    Attributes:
        point: The point; as long as it is kept, no other has its id.
        series: The first part of its line.
        head: The line up to its time; "" if nothing of it can be written.
        refusals: Why each figure that is missing in it cannot be written.
    """

    point: Point
    series: str
    head: str
    refusals: Sequence[str] = ()


class Guard:
    """Runs one collector: times it, isolates its failure, and keeps its series within bounds.

    It runs in the caller's thread: a thread for each run would cost as much as most runs do. Most
    collectors read the kernel's memory, which answers at once. The few that read what may never
    answer, such as sensors and file systems of other machines, do so by the host's `TimeoutRunner`.

    Two points of one series in one run would overwrite each other in InfluxDB without a word: the
    first one stays, the others count as lost. So does a figure that line protocol cannot carry,
    which costs none of its point's others. A surplus of series remains a problem once there was
    one, since it comes and goes with each process or container.

    Args:
        collector: The collector.
        options: The user's options.
        clock: Time.
        begins: Called with the time of the reading before the collector runs.
    """

    def __init__(
        self,
        collector: Collector,
        options: CollectorOptions,
        clock: Clock,
        begins: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.name = collector.name
        self._collector = collector
        self._is_selected = selection(collector, options)
        self._max_series = options.max_series
        self._clock = clock
        self._begins = begins
        self._usual_points = 0
        self._largest_surplus = 0
        self._repeats_points = getattr(collector, "repeats_points", False)
        self._written: Mapping[int, _Written] = {}
        self._tags: Mapping[str, str] = {}

    def run(self, timestamp_ns: int, tags: Mapping[str, str]) -> Outcome:
        """Run the collector once; `tags` are those that every point gets, such as `host`.

        Returns:
            The lines, or why there are none. Only KeyboardInterrupt and its like are raised.
        """
        started = self._clock.monotonic()
        try:
            self._begins(timestamp_ns)
            return self._read(timestamp_ns, tags, started)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - none may cost the others
            lost, problems = max(1, self._usual_points), {_FAILS: reason(error)}
            _log.debug("Collector %s fails", self.name, exc_info=True)
            return Outcome(self.name, (), lost, self._clock.monotonic() - started, problems)

    def _read(self, timestamp_ns: int, tags: Mapping[str, str], started: float) -> Outcome:
        """Return the lines of the wanted points, and how many wanted points were lost."""
        points, omissions = self._collect()
        lines: dict[str, str] = {}
        refusals: list[str] = []
        doubles = surplus = 0
        before, written = self._written_with(tags), {}
        for point in points:
            if len(lines) == self._max_series:
                surplus += 1
                continue
            one = written[id(point)] = before.get(id(point)) or _write(point, tags)
            if one.series in lines:
                doubles += 1
                continue
            refusals += one.refusals
            if one.head:
                lines[one.series] = f"{one.head}{timestamp_ns}"
        self._written = written if self._repeats_points else {}
        silent = sum(one.points for one in omissions if isinstance(one, Silence))
        left_out = doubles + surplus + sum(one.points for one in omissions) - silent
        self._usual_points = len(lines) + left_out + silent
        problems = self._problems(omissions, refusals, doubles, surplus)
        lost = left_out + len(refusals)
        seconds = self._clock.monotonic() - started
        return Outcome(self.name, (*lines.values(),), lost, seconds, problems, silent)

    def _written_with(self, tags: Mapping[str, str]) -> Mapping[int, _Written]:
        """Return the points that were written with these tags the last time, each by its id."""
        before = self._written if tags == self._tags else {}
        self._tags = tags
        return before

    def _problems(
        self, omissions: Sequence[Omission], refusals: Sequence[str], doubles: int, surplus: int
    ) -> dict[str, str]:
        problems = {f"leaves out {omission.what}": omission.why for omission in omissions}
        self._largest_surplus = max(self._largest_surplus, surplus)
        if self._largest_surplus:
            problems["has too many series"] = f"{self._largest_surplus} left out by max_series"
        if refusals:
            problems["has figures that cannot be written"] = refusals[0]
        if doubles:
            problems["reads a series twice"] = f"{doubles} left out"
        return problems

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


def _write(point: Point, tags: Mapping[str, str]) -> _Written:
    try:
        return _with_line(point, encode(point, 0, tags), ())
    except PointError:  # some of it cannot be written
        return _write_rest(point, tags)


def _write_rest(point: Point, tags: Mapping[str, str]) -> _Written:
    name = f"{point.measurement} {dict(point.tags) or ''}".rstrip()
    name = name[:200].encode(errors="backslashreplace").decode()  # it may be no text
    try:
        rest, reasons = writable(point, tags)
        return _with_line(point, encode(rest, 0, tags), [f"{name}: {why}" for why in reasons])
    except PointError as error:  # it is the name of all of them
        return _with_line(point, "", [f"{name}: {error}"])


def _with_line(point: Point, line: str, refusals: Sequence[str]) -> _Written:
    return _Written(point, series_of(line), line.removesuffix("0"), refusals)
