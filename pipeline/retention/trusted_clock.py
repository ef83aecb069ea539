"""The trusted clock: the time to delete by, since the wall clock may be wrong."""

import contextlib
import logging
import threading
from collections import deque
from dataclasses import dataclass
from datetime import timedelta

from pipeline.clock import PLAUSIBLE_NS, Clock, Tick, rfc3339
from pipeline.health import Health, Trouble
from pipeline.influx import LARGEST_SKEW_S
from pipeline.spool import Fact, Spool, SpoolError

_log = logging.getLogger(__name__)

_SECOND_NS = 10**9
_HOUR_S = 3600.0
# With each tick readings of 1970 get their time for so long: there may be those of days.
_RESTAMPED_FOR_S = 0.2


@dataclass(slots=True)
class _Shift:
    """A jump of a clock that was not set, which the readings before it wait for.

    Attributes:
        by_ns: How far it jumped.
        left: The readings that are left to be looked at.
        moved: How many got their time.
        has_gaps: Whether the gaps that no point tells yet wait for it too.
    """

    by_ns: int
    left: range
    moved: int = 0
    has_gaps: bool = True


class TrustedClock:
    """Watches the wall clock, and tells the time that points may be deleted by.

    A clock that is far ahead makes everything look old. So a time is believed only if it lies where
    the last believed one and the monotonic clock expect it, if InfluxDB's date confirms it, or if
    nothing contradicted it for an hour. Until then, the age counts from the expected time.

    Args:
        clock: The wall clock and the monotonic one.
        spool: Keeps the believed time over a restart. Its readings may need another time.
        health: Shows a clock that is wrong.
        age_s: The shortest age at which data is deleted, in seconds, 0 being for ever: a tenth of
            it, and an hour at most, need no confirmation.
    """

    def __init__(self, clock: Clock, spool: Spool, health: Health, age_s: float) -> None:
        self._clock = clock
        self._spool = spool
        self._trouble = health.trouble("clock")
        self.set_shortest_age(age_s)
        self._lock = threading.Lock()
        # Only logged: a clock that was set right jumps too.
        self._unexpected, self._jumps = Trouble(clock=clock), Trouble(clock=clock)
        self._jumped_at = 0.0  # by the monotonic clock
        # A reading that is taken before the clock is set gets its right time afterwards.
        self._unset = clock.now_ns() < PLAUSIBLE_NS
        self._unset_from = spool.next_id
        self._shifts: deque[_Shift] = deque()
        self._believe(0)
        with contextlib.suppress(SpoolError):  # the next one to need the store reports it
            self._believe(int(spool.facts().get(Fact.BELIEVED_NS, 0)))

    def set_shortest_age(self, age_s: float) -> None:
        """Set the shortest age at which data is deleted, in seconds; 0 is for ever."""
        self._slack_ns = round(min(age_s / 10 or _HOUR_S, _HOUR_S) * _SECOND_NS)

    def now_ns(self) -> int:
        """Return the time that may be believed: never later than the wall clock's."""
        now_ns = self._clock.now_ns()
        if self._is_behind:
            return 0
        with self._lock:
            elapsed_s = self._clock.monotonic() - self._since
            expected_ns = self._base_ns + round(elapsed_s * _SECOND_NS)
            expected = not self._base_ns or now_ns <= expected_ns + self._slack_ns
            if expected or elapsed_s >= _HOUR_S:
                self._believe(now_ns)
                self._unexpected.ends()
                return now_ns
            why = (
                f"The clock says {rfc3339(now_ns)}, {_span(now_ns - expected_ns)} later than "
                "expected: nothing is deleted by that until InfluxDB's date or an hour confirms it"
            )
            self._unexpected.begins(why, why)
            return expected_ns

    def remember(self) -> None:
        """Keep the believed time for the next start.

        Raises:
            SpoolError: It cannot be kept.
        """
        if (believed_ns := self.now_ns()) > 0:
            self._spool.note({Fact.BELIEVED_NS: str(believed_ns)})

    def unset(self) -> str:
        """Return why no reading may be sent at present; "" when it may.

        While the clock is not set, a reading's time is wrong by years. Here it can be corrected
        later, in InfluxDB it cannot.
        """
        if not self._unset and self._clock.now_ns() >= PLAUSIBLE_NS:
            late = "readings that were taken before this machine's clock was set get their time"
            return late if self._shifts else ""
        return f"this machine's clock is not set: it says {rfc3339(self._clock.now_ns())[:4]}"

    def look(self, tick: Tick) -> None:
        """Judge the clock by a tick, before its reading is taken.

        Raises:
            SpoolError: The readings could not get their right time.
        """
        self._look_for_jump(tick)
        if self._unset and tick.jumped_ns:
            taken = range(self._unset_from, self._spool.next_id)
            self._shifts.append(_Shift(tick.jumped_ns, taken))
        was_unset, was_behind = self._unset, self._is_behind
        self._unset = tick.timestamp_ns < PLAUSIBLE_NS
        if self._unset and not was_unset:
            self._unset_from = self._spool.next_id
        self._restamp()
        if self._is_behind:
            self._trouble.begins(self.unset())
        elif was_behind:
            self._trouble.ends()

    @property
    def _is_behind(self) -> bool:
        """Whether there are, or will be, readings with the time of a clock that was not set."""
        return self._unset or bool(self._shifts)

    def _look_for_jump(self, tick: Tick) -> None:
        if tick.jumped_ns:
            way = "forward" if tick.jumped_ns > 0 else "back"
            span = _span(abs(tick.jumped_ns))
            line = f"The clock jumped {way} by {span}: it was set, or the machine slept"
            self._jumps.begins(line, line, kind=way)
            self._jumped_at = self._clock.monotonic()
        elif self._clock.monotonic() - self._jumped_at >= _HOUR_S:
            self._jumps.ends()

    def _restamp(self) -> None:
        until = self._clock.monotonic() + _RESTAMPED_FOR_S
        while self._shifts and self._clock.monotonic() <= until:
            shift = self._shifts[0]
            if shift.has_gaps:
                self._spool.restamp_gaps(PLAUSIBLE_NS, shift.by_ns)
                shift.has_gaps = False
            moved, shift.left = self._spool.restamp(shift.left, PLAUSIBLE_NS, shift.by_ns)
            shift.moved += moved
            if not shift.left:
                self._shifts.popleft()
                _log.info(
                    "%d readings that were taken before the clock was set got their time",
                    shift.moved,
                )

    def server_says(self, date_s: float) -> None:
        """Compare with InfluxDB's own clock, in seconds since 1970-01-01 UTC."""
        if self._is_behind:
            return
        now_ns = self._clock.now_ns()
        ahead_s = now_ns / _SECOND_NS - date_s
        # Two bounds, so that a clock that is wrong by about that much is not reported each time.
        bound_s = LARGEST_SKEW_S / 2 if self._trouble.under_way else LARGEST_SKEW_S
        wrong = abs(ahead_s) > bound_s
        with self._lock:
            self._believe(min(now_ns, round(date_s * _SECOND_NS)) if wrong else now_ns)
            if not wrong:
                self._unexpected.ends()
        if not wrong:
            self._trouble.ends()
        elif not self._trouble.under_way:  # not each time with another number
            which = "ahead of" if ahead_s > 0 else "behind"
            span = _span(round(abs(ahead_s)) * _SECOND_NS)
            why = f"this machine's clock is {span} {which} InfluxDB's; set it, by NTP for one"
            self._trouble.begins(why, why[0].upper() + why[1:])

    def _believe(self, now_ns: int) -> None:
        self._base_ns, self._since = now_ns, self._clock.monotonic()


def _span(span_ns: int) -> str:
    return str(timedelta(seconds=span_ns // _SECOND_NS))
