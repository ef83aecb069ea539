"""How the running agent fares: its troubles, and how its readings and deliveries go."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from pipeline.clock import Clock
from pipeline.health.trouble import Trouble
from pipeline.settings import MAIN
from pipeline.spool import Fact, SpoolError

# Ticks may be late now and then on a busy host; this many intervals without one are no accident.
_OVERDUE_INTERVALS = 3
_OVERDUE_LEAST_S = 5.0
SUBJECTS = ("delivery", "sweep", "downsampling")
"""What may not work with a server."""


def overdue_s(interval_s: float) -> float:
    """Return after how many seconds without a reading something is wrong."""
    return max(_OVERDUE_INTERVALS * interval_s, _OVERDUE_LEAST_S)


@dataclass(frozen=True, slots=True)
class ReadingStats:
    """How one reading went.

    Attributes:
        seconds: What it took, commit included.
        points: How many it gave.
        collectors: Each collector's seconds.
    """

    seconds: float
    points: int
    collectors: Mapping[str, float]


def label(server: str) -> str:
    """Return what a line of the log about a server begins with: nothing for the main one."""
    return "" if server == MAIN else f"Mirror {server}: "


def subject(what: str, server: str) -> str:
    """Return the name of a server's trouble, or thread: `delivery`, or `delivery:b` for b."""
    return what if server == MAIN else f"{what}:{server}"


class ServerHealth:
    """How one server fares; whoever delivers to it or keeps its data reports here.

    Args:
        name: The server's name.
        trouble: Returns the trouble of a subject, whose lines begin with a label.

    Attributes:
        name: The server's name.
        label: What a line of the log about it begins with.
        last_write_s: What the last write took, in seconds; None before the first one.
        retries: How many tries to deliver failed.
    """

    def __init__(self, name: str, trouble: Callable[[str, str], Trouble]) -> None:
        self.name = name
        self.label = label(name)
        self._trouble = trouble
        self.last_write_s: float | None = None
        self.retries = 0

    def trouble(self, what: str) -> Trouble:
        """Return the trouble with this server's `delivery`, `sweep` or `downsampling`."""
        return self._trouble(subject(what, self.name), self.label)

    def clear(self, *what: str) -> None:
        """End these troubles without a line in the log: they start again."""
        for one in what:
            self.trouble(one).clear()

    def write_failed(self) -> None:
        """A try to deliver failed; another one will follow."""
        self.retries += 1

    def wrote(self, seconds: float) -> None:
        """A batch was written in so many seconds."""
        self.last_write_s = seconds


class Health:
    """How the running agent fares; every worker reports to it.

    Args:
        clock: Measures how long ago the last reading was.
        interval_s: The time from one reading to the next, in seconds.
        note: Keeps facts in the store, for `status`; it may fail.
    """

    def __init__(
        self,
        clock: Clock,
        interval_s: float,
        note: Callable[[Mapping[str, str | None]], object],
    ) -> None:
        self._clock = clock
        self.expect(interval_s)
        self._note = note
        self._noting = threading.Lock()
        self._lock = threading.Lock()
        self._troubles: dict[str, Trouble] = {}
        self._servers: dict[str, ServerHealth] = {}
        self.last_reading: ReadingStats | None = None

    def expect(self, interval_s: float) -> None:
        """Readings are so many seconds apart from now on."""
        self._overdue_s = overdue_s(interval_s)
        self._committed = self._attempted = self._clock.monotonic()

    def reading_committed(self, stats: ReadingStats) -> None:
        """A reading is durable."""
        self.last_reading = stats
        self._committed = self._clock.monotonic()

    def tick_attempted(self) -> None:
        """A tick is over, whether or not its reading is durable."""
        self._attempted = self._clock.monotonic()

    def stalled(self) -> bool:
        """Tell whether ticks have stopped, which only a restart can fix."""
        return self._clock.monotonic() - self._attempted > self._overdue_s

    def server(self, name: str) -> ServerHealth:
        """Return how a server fares, by its name: the same to all who ask."""
        with self._lock:
            if name not in self._servers:
                self._servers[name] = ServerHealth(name, self.trouble)
            return self._servers[name]

    @property
    def servers(self) -> tuple[ServerHealth, ...]:
        """How each server fares, the main one first."""
        with self._lock:
            return tuple(sorted(self._servers.values(), key=lambda one: one.name != MAIN))

    def forget(self, name: str) -> None:
        """A server is gone, and with it its troubles and figures."""
        self.server(name).clear(*SUBJECTS)
        with self._lock:
            del self._servers[name]

    def trouble(self, subject: str, label: str = "") -> Trouble:
        """Return the trouble of a subject, such as `spool`: the same one to all who ask.

        Args:
            subject: The subject.
            label: What its lines in the log begin with.
        """
        with self._lock:
            if subject not in self._troubles:
                self._troubles[subject] = Trouble(
                    lambda _: self._changed(subject), self._clock, label
                )
            return self._troubles[subject]

    def troubles(self) -> dict[str, str]:
        """Return each subject that does not work and the reason, the newest last."""
        with self._lock:
            reasons = {subject: trouble.reason for subject, trouble in self._troubles.items()}
        return {subject: reason for subject, reason in reasons.items() if reason is not None}

    def failure(self) -> str | None:
        """Return why the agent does not do its own part, or None.

        A server that is down is no such reason: the readings are safe, and a restart would not
        help. Readings that do not become durable are one.
        """
        if (reason := self.troubles().get("spool")) is not None:
            return reason
        silent = self._clock.monotonic() - self._committed
        return f"no reading for {silent:.0f} s" if silent > self._overdue_s else None

    def _changed(self, subject: str) -> None:
        with self._lock:
            self._troubles[subject] = self._troubles.pop(subject)  # the newest is the last
        self._remember()

    def _remember(self) -> None:
        with self._noting:  # what is written last is what is true last
            troubles = self.troubles()
            newest = next(reversed(troubles.values()), None)
            facts: dict[str, str | None] = {
                Fact.LAST_ERROR: newest,
                Fact.TROUBLES: json.dumps(troubles) if troubles else None,
            }
            with suppress(SpoolError):  # the recorder reports it, with the next reading
                self._note(facts)
