"""The sweep: removes what is older than its age from each place that holds this host's points."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.health import label
from pipeline.influx import InfluxError, UnreadableError
from pipeline.settings import HOUR_NS, Age, Ages
from pipeline.spool import Aging, Queue

_log = logging.getLogger(__name__)

_DAY_S = 86_400
_MARK = "swept:"


class Points(Protocol):
    """This host's points in one place.

    A span includes its start and excludes its stop, both in nanoseconds since 1970-01-01 UTC.
    """

    def oldest(self, start_ns: int, stop_ns: int, age: Age, /) -> int | None:
        """Return the time of the oldest point of a span that an age covers, or an earlier time.

        None: there is no such point.

        Raises:
            UnreadableError: Some of them cannot be read.
        """
        ...

    def remove_unreadable(self, start_ns: int, stop_ns: int, age: Age, /) -> Sequence[str]:
        """Remove those of a span that cannot be read, uncounted; return their measurements."""
        ...

    def remove(self, start_ns: int, stop_ns: int, age: Age, /) -> int:
        """Remove the points of a span that an age covers; return how many there were."""
        ...


class LocalPoints:
    """The local copy.

    Args:
        aging: Removes what is too old from it.
        delivers: Whether undelivered readings that grow too old are a loss.
    """

    def __init__(self, aging: Aging, *, delivers: bool) -> None:
        self._aging = aging
        self._delivers = delivers

    def oldest(self, start_ns: int, stop_ns: int, _: Age) -> int | None:
        """Return the time of the oldest reading in a span, whatever it holds, or None."""
        return self._aging.oldest(start_ns, stop_ns)

    def remove_unreadable(self, *_: object) -> Sequence[str]:
        """Return nothing: each of them can be read."""
        return ()

    def remove(self, start_ns: int, stop_ns: int, age: Age) -> int:
        """Remove the points of a span that an age is for; return how many that were."""
        return self._aging.remove(start_ns, stop_ns, age, count=self._delivers)


@dataclass(frozen=True, slots=True)
class Place:
    """A place that holds points, and how it is swept.

    Attributes:
        name: Its name, also in the names of the facts that hold how far a sweep came.
        points: The points.
        ages: Their ages.
        scope: Whose points they are, such as server, bucket and host. When the scope or an age
            changes, the next sweep begins at the oldest point again.
        window_s: The longest span that is removed at once, in seconds: in InfluxDB, writes that
            overlap it wait.
        behind_s: How far before the end of the last sweep the next one begins, in seconds: for
            points that came late.
    """

    name: str
    points: Points
    ages: Sequence[Age]
    scope: Sequence[str] = ()
    window_s: int = _DAY_S
    behind_s: int = 0

    def mark(self, age: Age) -> tuple[str, str]:
        """Return the name of the fact that holds how far a sweep came, and the scope in it."""
        return f"{_MARK}{self.name}:{age.measurement or ''}", " ".join(
            (*self.scope, f"{age.hours}h", *age.others)
        )

    def start_ns(self, marked: str, age: Age, cutoff_ns: int) -> int:
        """Return where a sweep begins, given that fact: "<time in ns> <scope>"."""
        until, _, scope = marked.partition(" ")
        # A sweep by a clock that was ahead may have come too far.
        if scope != self.mark(age)[1] or int(until) > cutoff_ns:
            return 0
        return max(0, int(until) - self.behind_s * 10**9)


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed, in points (lines).

    Attributes:
        remote: From InfluxDB.
        local: From the local copy.
        uncounted: Measurements of which InfluxDB cannot read some points, which went uncounted.
    """

    remote: int
    local: int
    uncounted: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        """How many points are gone at least: a point that was in both places counts once."""
        return max(self.remote, self.local)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a removal.

    Attributes:
        until_ns: How far it came.
        points: How many points it removed since the last step.
        uncounted: Measurements of which it also removed what cannot be counted.
    """

    until_ns: int
    points: int
    uncounted: Sequence[str] = ()


def remove_in_windows(
    points: Points, age: Age, start_ns: int, stop_ns: int, window_s: int
) -> Iterator[Step]:
    """Remove the points of a span that an age covers, one window after the other."""
    uncounted: Sequence[str] | None = None
    while start_ns < stop_ns:
        try:
            oldest = points.oldest(start_ns, stop_ns, age)
        except UnreadableError:
            if uncounted is not None:  # they are gone, and it still holds
                raise
            uncounted = points.remove_unreadable(start_ns, stop_ns, age)
            yield Step(start_ns, 0, uncounted)
            continue
        if oldest is None:
            yield Step(stop_ns, 0)
            return
        oldest = max(oldest, start_ns)  # whatever a server says, this must end
        start_ns = min(oldest + window_s * 10**9, stop_ns)
        yield Step(start_ns, points.remove(oldest, start_ns, age))


class Retention:
    """Removes what is older than its age.

    Args:
        queue: The readings that wait for the server; it remembers how far the last sweep came.
        now_ns: Tells the trusted time: what is deleted by a wrong one is gone.
        ages: How long everything is kept.
        local: The local copy; None where the retention of another server sweeps it.
    """

    def __init__(
        self,
        queue: Queue,
        now_ns: Callable[[], int],
        ages: Ages,
        local: LocalPoints | None,
    ) -> None:
        self._queue = queue
        self._now_ns = now_ns
        self._ages = ages
        self._local = local
        self._marks: dict[str, str] = {}

    def is_old(self, time_ns: int, bucket_age_s: int) -> bool:
        """Return whether a part of a reading may be too old to be kept, or for its bucket."""
        now_ns = self._now_ns()
        cutoffs = [age.cutoff_ns(now_ns) for age in self._ages.each]
        return time_ns < max(*cutoffs, now_ns - bucket_age_s * 10**9 if bucket_age_s else 0)

    def trim(self, bucket_age_s: int = 0) -> int:
        """Remove what is too old from the local copy and the queue.

        Nothing is sent any more that InfluxDB would refuse. What was delivered stays as long as the
        rest: the page shows it, and doctor takes a reading in InfluxDB that is not here for one of
        another agent with this host's name.

        Returns:
            How many points were removed from the local copy.
        """
        longest_s = self._ages.longest * 3600
        removed = 0 if self._local is None else self._sweep_here(self._local)
        limit_s = min(filter(None, (bucket_age_s, longest_s)), default=0)
        # What the sweep here has removed is not searched for again in the whole queue.
        if limit_s and (self._local is None or limit_s != longest_s):
            self._queue.give_up(self._now_ns() - limit_s * 10**9)
        return removed

    def _sweep_here(self, points: LocalPoints) -> int:
        # Whole readings first: to take a part out of one, it has to be unpacked.
        longest = Age(self._ages.longest)
        removed = points.remove(0, longest.cutoff_ns(self._now_ns()), longest)
        if len(self._ages.each) == 1:
            return removed
        local = Place("local", points, self._ages.each)
        return removed + sum(step.points for age in local.ages for step in self._sweep(local, age))

    def sweep(
        self, places: Sequence[Place] = (), stopped: Callable[[], bool] = lambda: False
    ) -> Swept:
        """Remove what is older than its age, here and in InfluxDB.

        Args:
            places: Where this host's points are in InfluxDB.
            stopped: Asked after each window; once it says yes, the next sweep does the rest.

        Returns:
            How much was removed.

        Raises:
            InfluxError: InfluxDB did not do its part. This is the first failure; the other places
                were swept.
        """
        local = self.trim()
        remote = 0
        uncounted: list[str] = []
        failures: list[InfluxError] = []
        for place, age in ((each, age) for each in places for age in each.ages):
            # A server that does not answer makes each further request a long wait.
            if stopped() or (failures and failures[-1].answer.status is None):
                break
            try:
                for step in self._sweep(place, age):
                    remote += step.points
                    uncounted += step.uncounted
                    if stopped():
                        break
            except InfluxError as error:
                failures.append(error)
        result = Swept(remote, local, tuple(uncounted))
        if result.points:
            prefix = label(self._queue.name)
            _log.info("%sCleaned up %d old metric records", prefix, result.points)
        if failures:
            raise failures[0]
        return result

    def _sweep(self, place: Place, age: Age) -> Iterator[Step]:
        cutoff = age.cutoff_ns(self._now_ns())
        name, scope = place.mark(age)
        if name not in self._marks:
            self._marks[name] = self._queue.facts().get(name, "")
        start = noted = place.start_ns(self._marks[name], age, cutoff)
        for step in remove_in_windows(place.points, age, start, cutoff, place.window_s):
            self._marks[name] = f"{step.until_ns} {scope}"
            # A note costs an fsync: it is made when points went, or after an hour of empty span.
            if step.points or step.until_ns - noted > HOUR_NS:
                self._queue.note({name: self._marks[name]})
                noted = step.until_ns
            yield step
