"""Takes a reading: asks the collectors, and commits what they give to the spool."""

import contextlib
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.agent import gaps
from pipeline.agent.problems import Problems
from pipeline.clock import PLAUSIBLE_NS, Clock, Tick
from pipeline.collectors import Guard, Outcome
from pipeline.health import Health, ReadingStats, subject
from pipeline.point import moved
from pipeline.settings import MAIN
from pipeline.spool import Cause, Gap, Spool, SpoolError

# While the disk takes nothing, readings are held in memory: a few hundred kilobytes at most.
_HELD_TICKS = 360


@dataclass(frozen=True, slots=True)
class _Reading:
    """A reading that is to be committed.

    Attributes:
        time_ns: Its time.
        lines: Its points in line protocol.
        lost: Cause to points that it should have as well.
        gaps: Readings that are missing before it.
        reported: The gaps that some of its lines report.
    """

    time_ns: int
    lines: tuple[str, ...]
    lost: Mapping[str, int]
    gaps: tuple[Gap, ...]
    reported: tuple[Gap, ...]

    def corrected(self, by_ns: int) -> "_Reading":
        """Return it with other times, where it has those of a clock that was not set."""
        return replace(
            self,
            time_ns=gaps.corrected_ns(self.time_ns, by_ns),
            lines=tuple(moved(line, PLAUSIBLE_NS, by_ns) for line in self.lines),
            gaps=gaps.corrected(self.gaps, by_ns),
        )


class Recorder:
    """Makes readings durable, one at a time.

    Args:
        guards: The collectors, each in its guard.
        spool: Where readings are committed.
        clock: The source of time.
        tags: Tags of every point, such as `host`.
        health: Shows how it goes.
        oldest_ns: Tells the oldest time that the point of a gap may have.
    """

    def __init__(
        self,
        guards: Sequence[Guard],
        spool: Spool,
        clock: Clock,
        tags: Mapping[str, str],
        health: Health,
        oldest_ns: Callable[[], int],
    ) -> None:
        self._guards = guards
        self._spool = spool
        self._clock = clock
        self._tags = tags
        self._health = health
        self._oldest_ns = oldest_ns
        self._spool_trouble, self._room_trouble = health.trouble("spool"), health.trouble("room")
        self._problems: dict[str, Problems] = {}  # of each collector
        # The schedule is not the only one to ask for readings: a program that embeds the agent may.
        self._lock = threading.Lock()
        self._closed = False
        self._held: deque[_Reading] = deque()
        self._overflow: Counter[str] = Counter()
        self._usual_points = 0
        self._missed = 0  # readings before the next one that a surprise kept from being taken
        self._finder = gaps.GapFinder()
        self._has_gaps = True  # that are not reported yet, for all that is known
        self._dropped: tuple[Gap, ...] = ()  # the gaps of readings that were held for too long

    def resume(self, interval_s: float) -> None:
        """Take readings by a schedule from now on; the time since the last one is a gap.

        Raises:
            SpoolError: The time of the last one cannot be read.
        """
        with self._lock:
            self._finder.resume(self._spool.resume(interval_s), interval_s)

    def change(self, guards: Sequence[Guard] | None, tags: Mapping[str, str]) -> None:
        """Change the tags and, unless None, the collectors, between two readings."""
        with self._lock:
            self._tags = tags
            if guards is not None:
                for name in self._problems.keys() - {guard.name for guard in guards}:
                    self._problems.pop(name).end()
                self._guards = guards

    def record(self, tick: Tick) -> dict[str, str]:
        """Take one reading, and commit it with those that could not be committed before.

        Args:
            tick: Its time, and how many readings were missed before it.

        Returns:
            The collectors that failed, each with the reason.

        Raises:
            SpoolError: It could not be committed, and is held in memory for the next time.
        """
        with self._lock:
            if self._closed:
                raise SpoolError("the reading came too late: collection was stopped")
            return self._record(tick)

    def _record(self, tick: Tick) -> dict[str, str]:
        begun = self._clock.monotonic()
        missed = self._missed + tick.missed
        self._missed = missed + 1  # if this one fails before it is held
        if tick.jumped_ns:
            self._correct(tick.jumped_ns)
        time_ns = self._unused(tick.timestamp_ns)
        outcomes = [guard.run(time_ns, self._tags) for guard in self._guards]
        lines = tuple(line for outcome in outcomes for line in outcome.lines)
        lost: Counter[str] = Counter({Cause.TICK_MISSED: missed * self._usual_points})
        for outcome in outcomes:
            cause = Cause.COLLECTOR_FAILED if outcome.error else Cause.LEFT_OUT
            lost[cause] += outcome.lost_points
            lost[Cause.COLLECTOR_FAILED] += outcome.silent_points
            self._report(outcome)
        self._usual_points = len(lines)
        if reported := self._reportable(time_ns):
            lines = (*gaps.lines(reported, self._tags, self._oldest_ns()), *lines)
        found = self._finder.before(time_ns, missed)
        self._held.append(_Reading(time_ns, lines, lost, found, reported))
        self._missed = 0
        self._commit()
        seconds = {outcome.collector: outcome.seconds for outcome in outcomes}
        self._health.reading_committed(
            ReadingStats(self._clock.monotonic() - begun, len(lines), seconds)
        )
        return {outcome.collector: outcome.error for outcome in outcomes if outcome.error}

    def _report(self, outcome: Outcome) -> None:
        name = outcome.collector
        if name not in self._problems:
            shown = self._health.trouble(f"collector {name}")
            self._problems[name] = Problems(name, self._clock, shown)
        self._problems[name].report(outcome)

    def _correct(self, by_ns: int) -> None:
        """Correct the times of a clock that was not set before it jumped, as the spool's are."""
        self._held = deque(reading.corrected(by_ns) for reading in self._held)
        self._dropped = gaps.corrected(self._dropped, by_ns)
        self._finder.correct(by_ns)

    def _reportable(self, time_ns: int) -> tuple[Gap, ...]:
        """Return the gaps to report: those that have ended, once nothing is being lost.

        None is reported at the time of a clock that is not set: its fields are never corrected.
        """
        if not self._has_gaps or self._held or time_ns < PLAUSIBLE_NS:
            return ()
        with contextlib.suppress(SpoolError):  # logged when the reading is committed
            return tuple(gap for gap in self._spool.gaps() if not self._is_losing(gap))
        return ()

    def _is_losing(self, gap: Gap) -> bool:
        """Return whether the readings that some server lacks may still become more."""
        troubles = self._health.troubles()
        if gap.cause == Cause.SPOOL_FULL and "room" in troubles:
            return True
        return subject("delivery", gap.server or MAIN) in troubles

    def _unused(self, time_ns: int) -> int:
        """Return the time, or the first later one that no other reading has.

        A clock that was set back can reach the same nanosecond again, and of two points with one
        time InfluxDB keeps only the later. To move past all former times would be worse: it could
        put an hour's readings into the future.
        """
        held = {reading.time_ns for reading in self._held}
        with contextlib.suppress(SpoolError):  # logged when the reading is committed
            while time_ns in held or self._spool.has(time_ns):
                time_ns += 1
        return time_ns

    def close(self, within_s: float) -> None:
        """Commit the held readings for the last time; no further reading is taken.

        Args:
            within_s: Longest wait for a reading in progress, in seconds. One that hangs is lost,
                together with the held ones.
        """
        self._closed = True
        if self._lock.acquire(timeout=within_s):
            try:
                with contextlib.suppress(SpoolError):
                    self._commit()
            finally:
                self._lock.release()

    def _commit(self) -> None:
        try:
            while self._held:
                reading = self._held[0]
                lost = self._overflow + Counter(reading.lost)
                missing = (*self._dropped, *reading.gaps)
                self._has_gaps = self._spool.append(
                    reading.lines, reading.time_ns, lost, missing, reading.reported
                )
                self._overflow.clear()
                self._dropped = ()
                self._held.popleft()
        except SpoolError as error:
            self._spool_trouble.begins(
                str(error),
                f"Readings are held in memory until the spool takes them: {error}",
                level=logging.ERROR,
            )
            raise
        finally:
            self._bound()
        self._spool_trouble.ends("The spool takes readings again")
        if pressure := self._spool.pressure:
            self._room_trouble.begins(
                pressure, f"The oldest readings make room for new ones: {pressure}"
            )
        else:
            self._room_trouble.ends("The spool has room again")

    def _bound(self) -> None:
        while len(self._held) > _HELD_TICKS:
            dropped = self._held.popleft()
            self._overflow.update(dropped.lost)
            self._overflow[Cause.DISK_FULL] += len(dropped.lines)
            gone = Gap(Cause.DISK_FULL, dropped.time_ns, dropped.time_ns, 1)
            self._dropped = gaps.joined([*self._dropped, *dropped.gaps, gone])
