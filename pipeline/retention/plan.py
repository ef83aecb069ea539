"""The plan: what is older than its age, what removes it and when; and the removal now."""

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.clock import Clock, rfc3339
from pipeline.influx import (
    CLOCK_FIX,
    PATIENCE_S,
    Answer,
    Connection,
    HostPoints,
    InfluxError,
    Rule,
    UnreadableError,
    WriteOnlyError,
    look,
)
from pipeline.point import measurement_of, split_lines
from pipeline.retention.keeper import places
from pipeline.retention.sweep import LocalPoints, Place, remove_in_windows
from pipeline.settings import MAIN, Age, Settings
from pipeline.spool import Aging, SpoolReader

LOCAL = "local copy"
# InfluxDB looks for shard groups that are too old every 30 minutes.
_RULE_LAG_NS = 1800 * 10**9


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One measurement in one place. A point is a line; times are RFC 3339 in UTC.

    Attributes:
        where: The bucket, or `local copy`.
        measurement: The measurement.
        retention_hours: Its age, in hours; 0 is for ever.
        older_points: How many points are older than that.
        oldest: The time of the oldest of them; None when there is none.
        next_sweep_points: How many of them the next sweep removes: not those that came there more
            than a day after a sweep had passed their time.
        rule_removes: When the bucket's own rule will have removed them, whole shard groups at a
            time; None when there is none, when never, or not known.
    """

    where: str
    measurement: str
    retention_hours: int
    older_points: int
    oldest: str | None
    next_sweep_points: int
    rule_removes: str | None


@dataclass(frozen=True, slots=True)
class Uncounted:
    """A measurement that cannot be counted, and the bucket that it is in."""

    where: str
    measurement: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is older than its age.

    Attributes:
        now: The time that it was made at.
        host: The host that it is about.
        bucket: Its bucket; "" without an InfluxDB.
        bucket_retention_hours: The age of the bucket's own rule, in hours; 0 is for ever, None not
            known.
        shard_group_hours: The span of its shard groups, in hours.
        rows: Each measurement in each place.
        left_out: Why there are no rows of the server, in a sentence; "" when there may be.
        uncounted: The measurements that have no row, since InfluxDB cannot read all their points.
    """

    now: str
    host: str
    bucket: str
    bucket_retention_hours: float | None
    shard_group_hours: float | None
    rows: tuple[PlanRow, ...]
    left_out: str
    uncounted: tuple[Uncounted, ...] = ()

    @property
    def older_points(self) -> int:
        """How many points are too old, in all places together."""
        return sum(row.older_points for row in self.rows)


Progress = Callable[[str, str, str, int | None], None]
"""Shows that so many points in a place, of a measurement or of all others (""), are gone up to a
time: place, measurement, time, points, which are None where they cannot be counted."""


def make(settings: Settings, clock: Clock) -> tuple[dict[str, Plan], list[InfluxError]]:
    """Make the plan of each server, that of the local copy with the main one's; change nothing.

    Returns:
        The plans by the names of the servers, and what failed: the plan of such a server says why
        it has no rows.

    Raises:
        SpoolError: The local copy cannot be read.
    """
    plans: dict[str, Plan] = {}
    failures: list[InfluxError] = []
    for name, own in settings.views.items():
        plans[name], failure = _make(own, clock, name)
        if failure is not None:
            failures.append(failure)
    return plans, failures


def _make(settings: Settings, clock: Clock, server: str) -> tuple[Plan, InfluxError | None]:
    now_ns = clock.now_ns()
    rows: list[PlanRow] = []
    uncounted: list[Uncounted] = []
    rule: Rule | None = None
    left_out, failure = "", None
    facts: Mapping[str, str] = {}
    with contextlib.suppress(FileNotFoundError), SpoolReader(settings.data_dir) as spool:
        facts = spool.facts(server)
        rows = _local(spool, settings, now_ns) if server == MAIN else []
    if settings.delivers:
        with (
            contextlib.closing(Connection(settings, clock)) as quick,
            contextlib.closing(Connection(settings, clock, PATIENCE_S)) as connection,
        ):
            try:
                rule = look(quick)  # a server that does not answer is not waited for as a count is
                for place, points in places(connection, settings, rule):
                    its = _Remote(place, points, facts, now_ns, look(connection, points.bucket))
                    found, unread = its.read()
                    rows += found
                    uncounted += (Uncounted(points.bucket, name) for name in unread)
            except WriteOnlyError as only:
                left_out = str(only)
            except InfluxError as error:
                left_out, failure = str(error), error
    made = Plan(
        rfc3339(now_ns),
        settings.host,
        settings.influxdb_bucket,
        rule.age_s / 3600 if rule else None,
        rule.shard_group_s / 3600 if rule else None,
        tuple(rows),
        left_out,
        tuple(uncounted),
    )
    return made, failure


def apply(settings: Settings, clock: Clock, progress: Progress) -> None:
    """Remove what is older than its age now, all of it, of this host alone.

    Raises:
        InfluxError: A server did not answer, did not allow it, or has another time than this
            machine; what went before stays removed. The other servers did their part, unless it is
            the time that differs.
        SpoolError: The local copy cannot be written.
    """
    now_ns = clock.now_ns()
    silent = _silent(settings, clock)
    with contextlib.suppress(FileNotFoundError), Aging.beside(settings.data_dir) as aging:
        place = Place(LOCAL, LocalPoints(aging, delivers=settings.delivers), settings.ages.each)
        _remove(place, LOCAL, now_ns, progress)

    def sweep(name: str, own: Settings) -> None:
        if name in silent:
            raise silent[name]
        with (
            contextlib.suppress(WriteOnlyError),
            contextlib.closing(Connection(own, clock, PATIENCE_S)) as connection,
        ):
            for place, points in places(connection, own, look(connection)):
                where = points.bucket if name == MAIN else f"{name}: {points.bucket}"
                _remove(place, where, now_ns, progress)

    if failures := _failures(settings, sweep):
        raise next(iter(failures.values()))


def _silent(settings: Settings, clock: Clock) -> dict[str, InfluxError]:
    """Return the servers that do not answer, and why.

    It refuses to delete by a clock that no server confirms, or one contradicts: what is deleted is
    gone.
    """
    differences: list[str | None] = []

    def ask(_: str, own: Settings) -> None:
        with contextlib.closing(Connection(own, clock)) as connection:
            differences.append(connection.clock_difference())

    silent = _failures(settings, ask)
    for difference in filter(None, differences):
        why = f"nothing was removed: {difference}; {CLOCK_FIX}"
        raise InfluxError(Answer(None, message=why))
    if silent and not differences:
        raise next(iter(silent.values()))
    return silent


def _failures(settings: Settings, do: Callable[[str, Settings], object]) -> dict[str, InfluxError]:
    """Do something with each server; return with which it failed, and why."""
    failures = {}
    for name, own in settings.servers.items():
        try:
            do(name, own)
        except InfluxError as error:
            failures[name] = error
    return failures


def _remove(place: Place, where: str, now_ns: int, progress: Progress) -> None:
    for age in place.ages:
        cutoff = age.cutoff_ns(now_ns)
        for step in remove_in_windows(place.points, age, 0, cutoff, place.window_s):
            for name in step.uncounted:
                progress(where, name, rfc3339(cutoff), None)
            if not step.uncounted:
                progress(where, age.measurement or "", rfc3339(step.until_ns), step.points)


def _local(spool: SpoolReader, settings: Settings, now_ns: int) -> list[PlanRow]:
    """Return a row for each measurement that the newest reading has, or an old one."""
    ages = settings.ages
    newest_cutoff = max(age.cutoff_ns(now_ns) for age in ages.each)
    older: Counter[str] = Counter()
    oldest: dict[str, int] = {}
    for block in spool.history(0):
        lines = split_lines(block)
        if _time_ns(lines[0]) >= newest_cutoff:
            break
        for line in lines:
            name, time_ns = measurement_of(line), _time_ns(line)
            if time_ns < ages.of(name).cutoff_ns(now_ns):
                older[name] += 1
                oldest.setdefault(name, time_ns)
    newest_ns = spool.contents().last_ns
    for block in spool.history(newest_ns) if newest_ns is not None else ():
        older.update(dict.fromkeys(map(measurement_of, split_lines(block)), 0))
    return [
        PlanRow(LOCAL, name, ages.of(name).hours, points, _text(oldest.get(name)), points, None)
        for name, points in sorted(older.items())
    ]


@dataclass(frozen=True, slots=True)
class _Remote:
    """A place in InfluxDB, and what has to be known for its rows."""

    place: Place
    points: HostPoints
    facts: Mapping[str, str]
    now_ns: int
    rule: Rule | None

    def read(self) -> tuple[list[PlanRow], list[str]]:
        """Return a row for each measurement, and the measurements that cannot be read."""
        rows: list[PlanRow] = []
        unread: list[str] = []
        for age in self.place.ages:
            mark = self.facts.get(self.place.mark(age)[0], "")
            start = self.place.start_ns(mark, age, age.cutoff_ns(self.now_ns))
            try:
                rows += self._rows(age, start)
            except UnreadableError:
                for name in self.points.measurements_ever(age):
                    try:
                        rows += self._rows(Age(age.hours, name), start)
                    except UnreadableError:
                        unread.append(name)
        return sorted(rows, key=lambda row: row.measurement), sorted(unread)

    def _rows(self, age: Age, start: int) -> list[PlanRow]:
        points, cutoff = self.points, age.cutoff_ns(self.now_ns)
        oldest = points.measurements(0, cutoff, age) if cutoff else {}
        older = points.counts(0, cutoff, age) if oldest else {}
        swept = points.counts(start, cutoff, age) if oldest and start else older
        gone = self.rule.removes_ns(cutoff - 1) if self.rule and oldest else None
        return [
            PlanRow(
                points.bucket,
                name,
                age.hours,
                older.get(name, 0),
                _text(oldest.get(name)),
                swept.get(name, 0),
                _text(gone + _RULE_LAG_NS if gone and name in oldest else None),
            )
            for name in points.measurements(0, self.now_ns + 1, age)
        ]


def _time_ns(line: str) -> int:
    return int(line.rpartition(" ")[2])


def _text(time_ns: int | None) -> str | None:
    return None if time_ns is None else rfc3339(time_ns)
