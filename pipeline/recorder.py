"""Takes a reading: asks the collectors, and commits what they give to the spool."""

import contextlib
import logging
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline import health
from pipeline.clock import Clock, Tick
from pipeline.collectors import Guard
from pipeline.health import Health
from pipeline.spool import Spool, SpoolError

_log = logging.getLogger(__name__)

# While the disk takes nothing, readings are held in memory: a few hundred kilobytes at most.
_HELD_TICKS = 360


@dataclass(frozen=True, slots=True)
class _Reading:
    time_ns: int
    lines: tuple[str, ...]
    lost: Mapping[str, int]


class Recorder:
    """Makes readings durable, one at a time.

    Args:
        guards: The collectors, each in its guard.
        spool: Where readings are committed.
        clock: Times them.
        tags: Tags of every point, such as `host`.
        health: Is told how it goes.
    """

    def __init__(
        self,
        guards: Sequence[Guard],
        spool: Spool,
        clock: Clock,
        tags: Mapping[str, str],
        health: Health,
    ) -> None:
        self._guards = guards
        self._spool = spool
        self._clock = clock
        self._tags = tags
        self._health = health
        # The schedule is not the only one to ask for readings: a program that embeds the agent may.
        self._lock = threading.Lock()
        self._closed = False
        self._held: deque[_Reading] = deque()
        self._overflow: Counter[str] = Counter()
        self._usual_points = 0

    def change(self, guards: Sequence[Guard] | None, tags: Mapping[str, str]) -> None:
        """Take other collectors, or None to keep them, and other tags, between two readings."""
        with self._lock:
            self._guards = self._guards if guards is None else guards
            self._tags = tags

    def record(self, tick: Tick) -> frozenset[str]:
        """Take one reading and commit it, with those that could not be committed before.

        Args:
            tick: Its time, and how many readings were missed before it.

        Returns:
            The names of the collectors that failed.

        Raises:
            SpoolError: It could not be committed; it is held in memory for the next time.
        """
        with self._lock:
            if self._closed:
                raise SpoolError("the reading came too late: collection was stopped")
            return self._record(tick)

    def _record(self, tick: Tick) -> frozenset[str]:
        begun = self._clock.monotonic()
        outcomes = [guard.run(tick.timestamp_ns, self._tags) for guard in self._guards]
        lines = tuple(line for outcome in outcomes for line in outcome.lines)
        lost = Counter(tick_missed=tick.missed * self._usual_points)
        for outcome in outcomes:
            lost["collector_failed" if outcome.error else "left_out"] += outcome.lost_points
        self._usual_points = len(lines)
        self._held.append(_Reading(tick.timestamp_ns, lines, lost))
        self._commit()
        seconds = {outcome.collector: outcome.seconds for outcome in outcomes}
        self._health.ticked(health.Tick(self._clock.monotonic() - begun, len(lines), seconds))
        return frozenset(outcome.collector for outcome in outcomes if outcome.error)

    def commit(self) -> None:
        """Commit what is held.

        Raises:
            SpoolError: The spool cannot be written; what it did not take is still held.
        """
        with self._lock:
            self._commit()

    def close(self, within_s: float) -> None:
        """Commit what is held, for the last time; no reading is taken any more.

        Args:
            within_s: Longest wait for a reading that is under way, in seconds. One that hangs is
                lost, with what is held.
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
                self._spool.append(reading.lines, reading.time_ns, lost)
                self._overflow.clear()
                self._held.popleft()
        except SpoolError as error:
            self._bound()
            if self._health.trouble("spool", str(error)):
                _log.error("Readings are held in memory until the spool takes them: %s", error)
            raise
        if self._health.trouble("spool", None):
            _log.info("The spool takes readings again")

    def _bound(self) -> None:
        while len(self._held) > _HELD_TICKS:
            dropped = self._held.popleft()
            self._overflow.update(dropped.lost)
            self._overflow["disk_full"] += len(dropped.lines)
