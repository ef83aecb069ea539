"""The max-age rule: one sweep of every place that holds this host's points, each by its ages."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.influx import InfluxError
from pipeline.settings import HOUR_NS, Age
from pipeline.spool import Aging, Spool

_log = logging.getLogger(__name__)

_DAY_S = 86_400
_MARK = "swept:"


class Now(Protocol):
    """What tells the time that points are deleted by."""

    def now_ns(self) -> int:
        """Return it in nanoseconds since 1970-01-01 UTC."""
        ...


class Points(Protocol):
    """This host's points in one place; a span holds its start and not its stop, in nanoseconds."""

    def oldest(self, start_ns: int, stop_ns: int, age: Age, /) -> int | None:
        """Return a time in a span before which it holds no point that an age is for, or None."""
        ...

    def remove(self, start_ns: int, stop_ns: int, age: Age, /) -> int:
        """Remove the points of a span that an age is for; return how many that were."""
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

    def remove(self, start_ns: int, stop_ns: int, age: Age) -> int:
        """Remove the points of a span that an age is for; return how many that were."""
        return self._aging.remove(start_ns, stop_ns, age, count=self._delivers)


@dataclass(frozen=True, slots=True)
class Place:
    """Where points are, and how they are swept there.

    Attributes:
        name: Its name, which the marks of how far a sweep came are kept under.
        points: The points.
        ages: Their ages.
        scope: What they are, such as server, bucket and host. When it or an age differs from the
            last sweep's, the sweep begins at the oldest point again.
        window_s: The longest span that is removed at once, in seconds: in InfluxDB, writes that
            overlap it wait.
        behind_s: How far behind the mark to look again, in seconds, for what came late.
    """

    name: str
    points: Points
    ages: Sequence[Age]
    scope: Sequence[str] = ()
    window_s: int = _DAY_S
    behind_s: int = 0

    def mark(self, age: Age) -> tuple[str, str]:
        """Return the name of a fact, how far the sweep came, and what must stand beside that."""
        return f"{_MARK}{self.name}:{age.measurement or ''}", " ".join(
            (*self.scope, f"{age.hours}h", *age.others)
        )

    def start_ns(self, marked: str, age: Age, cutoff_ns: int) -> int:
        """Return where a sweep begins, given what the mark says: "<time in ns> <scope>"."""
        until, _, scope = marked.partition(" ")
        # A clock that was ahead set the mark ahead.
        if scope != self.mark(age)[1] or int(until) > cutoff_ns:
            return 0
        return max(0, int(until) - self.behind_s * 10**9)


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed, in points (lines).

    Attributes:
        remote: From InfluxDB.
        local: From the local copy.
    """

    remote: int
    local: int

    @property
    def points(self) -> int:
        """How many points are gone, at least: one that lay in both places is one point."""
        return max(self.remote, self.local)


def windows(
    points: Points, age: Age, start_ns: int, stop_ns: int, window_s: int
) -> Iterator[tuple[int, int]]:
    """Remove the points of a span that an age is for, one window after the other.

    Yields:
        How far it came, and how many points went since the last time.
    """
    while start_ns < stop_ns:
        oldest = points.oldest(start_ns, stop_ns, age)
        if oldest is None:
            yield stop_ns, 0
            return
        oldest = max(oldest, start_ns)  # whatever a server says: it goes on, and comes to an end
        start_ns = min(oldest + window_s * 10**9, stop_ns)
        yield start_ns, points.remove(oldest, start_ns, age)


class Retention:
    """Keeps the ages.

    Args:
        spool: The local copy; it also remembers how far the last sweep came.
        clock: Tells now, as far as it may be believed: what is deleted by a wrong time is gone.
        ages: The ages.
        delivers: Whether undelivered readings that grow too old are a loss.
    """

    def __init__(self, spool: Spool, clock: Now, ages: Sequence[Age], *, delivers: bool) -> None:
        self._spool = spool
        self._clock = clock
        self._ages = ages
        self._longest = Age(0 if any(not a.hours for a in ages) else max(a.hours for a in ages))
        self._delivers = delivers
        self._marks: dict[str, str] = {}

    def is_old(self, time_ns: int, bucket_age_s: int = 0) -> bool:
        """Tell whether something of a reading may be too old to be kept, or to be sent.

        Args:
            time_ns: The reading's time, in nanoseconds since 1970-01-01 UTC.
            bucket_age_s: The age of the bucket's own rule, in seconds; 0 is for ever.
        """
        now_ns = self._clock.now_ns()
        limits = [age.cutoff_ns(now_ns) for age in self._ages]
        return time_ns < max(*limits, now_ns - bucket_age_s * 10**9 if bucket_age_s else 0)

    def trim(self, bucket_age_s: int = 0) -> int:
        """Remove what is too old from the local copy, and send nothing that InfluxDB would refuse.

        Args:
            bucket_age_s: The age of the bucket's own rule, in seconds; 0 is for ever.

        Returns:
            How many points were removed.
        """
        longest = self._longest
        points = LocalPoints(self._spool.aging, delivers=self._delivers)
        removed = points.remove(0, longest.cutoff_ns(self._clock.now_ns()), longest)
        local = Place("local", points, () if longest in self._ages else self._ages)
        removed += sum(n for age in local.ages for n in self._sweep(local, age))
        # What the own age took needs no second search, which is one of the whole queue.
        if bucket_age_s and not 0 < self._longest.hours * 3600 <= bucket_age_s:
            self._spool.give_up(self._clock.now_ns() - bucket_age_s * 10**9)
        return removed

    def sweep(
        self, places: Sequence[Place] = (), stopped: Callable[[], bool] = lambda: False
    ) -> Swept:
        """Remove what is older than its age, here and in InfluxDB.

        Args:
            places: Where this host's points are in InfluxDB.
            stopped: Asked after each window; the rest is left to the next sweep.

        Returns:
            How much was removed.

        Raises:
            InfluxError: InfluxDB did not do its part, the first of them; the rest was swept.
        """
        local = self.trim()
        remote = 0
        failures: list[InfluxError] = []
        for place, age in ((each, age) for each in places for age in each.ages):
            # Who does not answer would not the next time either, and the wait is long.
            if stopped() or (failures and failures[-1].answer.status is None):
                break
            try:
                for points in self._sweep(place, age):
                    remote += points
                    if stopped():
                        break
            except InfluxError as error:
                failures.append(error)
        result = Swept(remote, local)
        if result.points:
            _log.info("Cleaned up %d old metric records", result.points)
        for failure in failures:
            raise failure
        return result

    def _sweep(self, place: Place, age: Age) -> Iterator[int]:
        cutoff = age.cutoff_ns(self._clock.now_ns())
        name, scope = place.mark(age)
        if name not in self._marks:
            self._marks[name] = self._spool.facts().get(name, "")
        start = noted = place.start_ns(self._marks[name], age, cutoff)
        for until, points in windows(place.points, age, start, cutoff, place.window_s):
            self._marks[name] = f"{until} {scope}"
            # Each note is an fsync: it is worth that where points went, or for an hour of looking.
            if points or until - noted > HOUR_NS:
                self._spool.note({name: self._marks[name]})
                noted = until
            yield points
