"""A wall clock that is wrong: telling it, and not believing it where that would cost data."""

import contextlib
import logging
import threading
from datetime import timedelta

from pipeline.clock import PLAUSIBLE_NS, Clock, Tick, rfc3339
from pipeline.health import Health
from pipeline.spool import Fact, Spool, SpoolError

_log = logging.getLogger(__name__)

_SECOND_NS = 10**9
_HOUR_S = 3600.0
# A server's date has whole seconds, and its answer takes a while.
_TOLERANCE_S = 60.0


class Timekeeper:
    """Watches the wall clock, and tells which time may be believed where points are deleted by age.

    A clock that is far ahead makes everything look old. So a time is believed only if it lies where
    the last believed one and the monotonic clock expect it, if InfluxDB's date confirms it, or if
    nothing contradicted it for an hour. Until then, the age counts from the expected time.

    Args:
        clock: The clocks.
        spool: Keeps the believed time over a restart; its readings may have to be stamped anew.
        health: Is told of a clock that is wrong.
        age_s: The shortest age at which data is deleted, in seconds, 0 being for ever: a tenth of
            it, and an hour at most, need no confirmation.
    """

    def __init__(self, clock: Clock, spool: Spool, health: Health, age_s: float) -> None:
        self._clock = clock
        self._spool = spool
        self._health = health
        self.mind(age_s)
        self._lock = threading.Lock()
        self._held = False
        # While the clock is not set, readings are stamped with what it says; they get their time
        # when it is.
        self._unset = clock.now_ns() < PLAUSIBLE_NS
        self._owed_ns = 0
        self._believe(0)
        with contextlib.suppress(SpoolError):  # told by whoever is the next to need it
            self._believe(int(spool.facts().get(Fact.BELIEVED_NS, 0)))

    def mind(self, age_s: float) -> None:
        """Data is deleted at another age from now on, the shortest being so many seconds."""
        self._slack_ns = round(min(age_s / 10 or _HOUR_S, _HOUR_S) * _SECOND_NS)

    def now_ns(self) -> int:
        """Return the time that may be believed: never later than the wall clock's."""
        now_ns = self._clock.now_ns()
        if self._unset:
            return 0
        with self._lock:
            elapsed_s = self._clock.monotonic() - self._since
            expected_ns = self._base_ns + round(elapsed_s * _SECOND_NS)
            expected = not self._base_ns or now_ns <= expected_ns + self._slack_ns
            if expected or elapsed_s >= _HOUR_S:
                self._believe(now_ns)
                return now_ns
            if not self._held:
                self._held = True
                _log.warning(
                    "The clock says %s, %s later than expected: nothing is deleted by that until "
                    "InfluxDB's date or an hour confirms it",
                    rfc3339(now_ns),
                    _span(now_ns - expected_ns),
                )
            return expected_ns

    def remember(self) -> None:
        """Keep the believed time for the next start.

        Raises:
            SpoolError: It cannot be kept.
        """
        if (believed_ns := self.now_ns()) > 0:
            self._spool.note({Fact.BELIEVED_NS: str(believed_ns)})

    def unset(self) -> str:
        """Return why no reading may be sent at present, or nothing.

        Its stamp would be wrong by years, and what InfluxDB has cannot be stamped anew.
        """
        if not self._unset and self._clock.now_ns() >= PLAUSIBLE_NS:
            return ""
        return f"this machine's clock is not set: it says {rfc3339(self._clock.now_ns())[:4]}"

    def look(self, tick: Tick) -> None:
        """Look at the clock of a tick, before its reading is taken.

        Raises:
            SpoolError: Readings could not be stamped anew.
        """
        if tick.jumped_ns:
            _log.warning(
                "The clock jumped %s by %s: it was set, or the machine slept",
                "forward" if tick.jumped_ns > 0 else "back",
                _span(abs(tick.jumped_ns)),
            )
        if self._unset:
            self._owed_ns += tick.jumped_ns
            self._restamp()
        was_unset, self._unset = self._unset, tick.timestamp_ns < PLAUSIBLE_NS
        if was_unset or self._unset:
            self._health.trouble("clock", self.unset() or None)

    def _restamp(self) -> None:
        if not self._owed_ns:
            return
        moved = self._spool.restamp(PLAUSIBLE_NS, self._owed_ns)
        self._owed_ns = 0
        _log.info("%d readings that were taken before the clock was set got their time", moved)

    def server_says(self, date_s: float) -> None:
        """Compare with InfluxDB's own clock, in seconds since 1970-01-01 UTC."""
        if self._unset:
            return
        now_ns = self._clock.now_ns()
        ahead_s = now_ns / _SECOND_NS - date_s
        with self._lock:
            if abs(ahead_s) <= _TOLERANCE_S:
                self._believe(now_ns)
            else:
                self._believe(min(now_ns, round(date_s * _SECOND_NS)))
        message = None
        if abs(ahead_s) > _TOLERANCE_S:
            which = "ahead of" if ahead_s > 0 else "behind"
            span = _span(round(abs(ahead_s)) * _SECOND_NS)
            message = f"this machine's clock is {span} {which} InfluxDB's; set it, by NTP for one"
        told = "clock" in self._health.troubles()
        if message is not None and told:
            return  # the span changes a little each time
        self._health.trouble("clock", message)
        if message is not None:
            _log.warning("%s", message[0].upper() + message[1:])

    def _believe(self, now_ns: int) -> None:
        self._base_ns, self._since = now_ns, self._clock.monotonic()
        self._held = False


def _span(span_ns: int) -> str:
    return str(timedelta(seconds=span_ns // _SECOND_NS))
