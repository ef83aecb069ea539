"""Agents that run side by side for a while, and are measured at its end."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from benchmarks.bench import Bench
from benchmarks.contestants import AGENT, COLLECTD, EVERY, GLANCES, TELEGRAF, Pace, Run
from benchmarks.programs import Program
from benchmarks.tables import Samples
from benchmarks.wire import Request

_EACH, _SECOND, _TEN = Pace(1, 1), Pace(1, 10), Pace(10, 10)
_PACES = (_EACH, _SECOND, _TEN)
# Whose processor time is measured, and not their memory alone.
TIMED = {
    _EACH: (AGENT, TELEGRAF, COLLECTD),
    _SECOND: (AGENT, TELEGRAF, COLLECTD, GLANCES),
    _TEN: (AGENT, TELEGRAF, COLLECTD),
}
SOAK_S = 600.0
# Parts of what is measured, each a whole number of readings and of flushes.
PARTS, PART_S = 3, {_EACH: 5, _SECOND: 10, _TEN: 20}
# When the others have come to a stand, and what was due meanwhile has been done.
SETTLED_S = 2.0
# From one look at the memory to the next.
WEIGHED_S = 5.0


@dataclass
class Contestant:
    """One of those that are compared, at one pace.

    Attributes:
        name: Which one.
        pace: Its pace.
        run: What was started; None: it is missing.
        cpu_ms: Processor time of a reading, one sample a part.
        memory_mib: Its resident memory at the end, looked at so many times.
        sent: The requests that it made while nothing was measured.
        sent_s: In how many seconds it made them.
    """

    name: str
    pace: Pace
    run: Run | None
    cpu_ms: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)
    sent: tuple[Request, ...] = ()
    sent_s: float = 0.0

    def count(self) -> None:
        """Count what it has sent so far."""
        if self.run is not None and self.run.forwarder is not None:
            traffic = self.run.forwarder.traffic
            if traffic.first:
                self.sent = tuple(traffic.requests())
                self.sent_s = time.monotonic() - traffic.first

    def values(self) -> Samples:
        """Return how many values a reading has, once; none where nothing was delivered."""
        found = self.run.values() if self.run and self.run.values else 0
        return (float(found),) if found else ()

    def fail(self) -> None:
        """It ended by itself: it has no samples, and is no longer looked at."""
        self.cpu_ms.clear()
        self.memory_mib.clear()
        self.run = None


class Soak:
    """Contestants that have been started.

    Args:
        bench: Where they run.
        stack: Ends them.
        paces: All of them run at each of these.
    """

    def __init__(self, bench: Bench, stack: ExitStack, paces: Sequence[Pace]) -> None:
        self._bench = bench
        self._began = time.monotonic()
        self.contestants = [
            Contestant(name, pace, self._start(stack, number, name, pace))
            for number, pace in enumerate(paces)
            for name in (TIMED[pace] if pace == _EACH else EVERY)
        ]

    def _start(self, stack: ExitStack, number: int, name: str, pace: Pace) -> Run | None:
        folder = self._bench.place(f"{number}-{name}")
        return EVERY[name](self._bench, stack, folder, pace)

    def wait(self, soak_s: float) -> None:
        """Wait until they have run for so long."""
        while (rest := self._began + soak_s - time.monotonic()) > 0:
            self._bench.say(f"the agents run for another {rest:.0f} s")
            time.sleep(min(rest, 60.0))

    def measure(self, soak_s: float) -> None:
        """Take the samples: of processor time one by one, of memory once they have run so long."""
        for each in self.contestants:
            each.count()
        for each in self.contestants:
            if each.name in TIMED[each.pace] and self._runs(each):
                self._bench.say(f"the processor time of {each.name}: {each.pace}")
                self._time(each)
        self.wait(soak_s)
        for number in range(PARTS):
            time.sleep(WEIGHED_S if number else 0)
            for each in self.contestants:
                if each.run is not None and self._runs(each):
                    each.memory_mib.append(each.run.program.resident_mib())

    def _runs(self, contestant: Contestant) -> bool:
        if contestant.run is None:
            return False
        if contestant.run.program.ended:
            self._bench.say(f"{contestant.name} ended: {contestant.run.program.said()}")
            contestant.fail()
        return contestant.run is not None

    def _time(self, contestant: Contestant) -> None:
        """Measure one while the others stand still."""
        if contestant.run is None:
            return
        program, interval_s = contestant.run.program, contestant.pace.interval_s
        part_s = PART_S[contestant.pace]
        others = [c.run.program for c in self.contestants if c is not contestant and c.run]
        with _standing(others):
            # Half an interval away from the readings, which are at whole multiples of it.
            time.sleep(SETTLED_S)
            time.sleep(interval_s - (time.time() - interval_s / 2) % interval_s)
            for _ in range(PARTS):
                before = program.cpu_s()
                time.sleep(part_s)
                spent = program.cpu_s() - before
                contestant.cpu_ms.append(1000 * spent * interval_s / part_s)


@contextmanager
def _standing(programs: Sequence[Program]) -> Iterator[None]:
    """Have programs stand still."""
    try:
        for program in programs:
            program.pause()
        yield
    finally:
        for program in programs:
            program.go_on()


@contextmanager
def begun(bench: Bench) -> Iterator[Soak]:
    """Start all contestants; they are gone at the end."""
    with ExitStack() as stack:
        bench.say("starting the agents")
        yield Soak(bench, stack, _PACES)
