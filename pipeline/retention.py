"""The max-age rule: this host's points in InfluxDB by a sweep, the local copy by the same age."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pipeline.spool import Spool

_log = logging.getLogger(__name__)

_BEHIND_NS = 86_400 * 10**9
_SWEPT_UNTIL, _SWEPT_FOR = "swept_until_ns", "swept_for"


class Now(Protocol):
    """What tells the time that points are deleted by."""

    def now_ns(self) -> int:
        """Return it in nanoseconds since 1970-01-01 UTC."""
        ...


class RemotePoints(Protocol):
    """This host's points in InfluxDB; a span holds its start and not its stop, in nanoseconds."""

    def oldest(self, start_ns: int, stop_ns: int) -> int | None:
        """Return the time of the oldest point in a span, or None."""
        ...

    def count(self, start_ns: int, stop_ns: int) -> int:
        """Return how many points a span holds."""
        ...

    def delete(self, start_ns: int, stop_ns: int) -> None:
        """Delete the points of a span."""
        ...


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


class Retention:
    """Keeps the age.

    Args:
        spool: The local copy; it also remembers how far the last sweep came.
        clock: Tells now, as far as it may be believed: what is deleted by a wrong time is gone.
        retention_hours: The age; 0 keeps everything.
        delivers: Whether undelivered readings that grow too old are a loss.
    """

    def __init__(self, spool: Spool, clock: Now, retention_hours: int, *, delivers: bool) -> None:
        self._spool = spool
        self._clock = clock
        self._hours = retention_hours
        self._delivers = delivers

    def trim(self, bucket_age_s: int = 0) -> int:
        """Remove what is too old from the local copy, and send nothing that InfluxDB would refuse.

        Args:
            bucket_age_s: The age of the bucket's own rule, in seconds; 0 is for ever.

        Returns:
            How many points were removed.
        """
        now = self._clock.now_ns()
        removed = 0
        if self._hours:
            cutoff = now - self._hours * 3600 * 10**9
            removed = self._spool.expire(cutoff, count=self._delivers)
        # What the own age took needs no second search, which is one of the whole queue.
        if bucket_age_s and not 0 < self._hours * 3600 <= bucket_age_s:
            self._spool.give_up(now - bucket_age_s * 10**9)
        return removed

    def sweep(self, remote: RemotePoints | None, scope: str, window_s: int) -> Swept:
        """Remove what is older than the age, here and in InfluxDB.

        Args:
            remote: This host's points in InfluxDB, or None to sweep only the local copy.
            scope: What was swept, such as server, bucket and host. When it or the age differs from
                the last sweep's, the sweep begins at the oldest point again.
            window_s: The longest span of one delete, in seconds: writes that overlap it wait.

        Returns:
            How much was removed.

        Raises:
            InfluxError: InfluxDB did not do its part; the local copy is swept all the same.
        """
        if self._hours == 0:
            return Swept(0, 0)
        local = self.trim()
        deleted = 0
        try:
            if remote is not None:
                for some in self._sweep_remote(remote, f"{scope} {self._hours}h", window_s):
                    deleted += some
        finally:
            result = Swept(deleted, local)
            if result.points:
                _log.info("Cleaned up %d old metric records", result.points)
        return result

    def _sweep_remote(self, remote: RemotePoints, scope: str, window_s: int) -> Iterator[int]:
        cutoff = self._clock.now_ns() - self._hours * 3600 * 10**9
        facts = self._spool.facts()
        start = int(facts.get(_SWEPT_UNTIL, 0)) if facts.get(_SWEPT_FOR) == scope else 0
        # What was delivered late may lie behind the mark; and a clock that was ahead set it ahead.
        start = max(0, start - _BEHIND_NS) if start <= cutoff else 0
        while start < cutoff:
            oldest = remote.oldest(start, cutoff)
            begin = cutoff if oldest is None else oldest
            start = min(begin + window_s * 10**9, cutoff)
            if begin < start:
                # The server's answer to a delete counts nothing.
                before = remote.count(begin, start)
                remote.delete(begin, start)
                yield before - remote.count(begin, start)
            self._spool.note({_SWEPT_UNTIL: str(start), _SWEPT_FOR: scope})
