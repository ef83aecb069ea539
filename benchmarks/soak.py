"""Agents that run side by side for a while, and are measured at its end."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from benchmarks.bench import Bench
from benchmarks.contestants import EVERY, Pace, Run
from benchmarks.programs import Program
from benchmarks.tables import Samples

PACES = (Pace(1, 1), Pace(1, 10), Pace(10, 10))
SOAK_S = 600.0
# Parts of the last window, each a whole number of readings and of flushes.
PARTS, PART_S = 3, {1: 20, 10: 40}


@dataclass
class Contestant:
    """One of those that are compared, at one pace.

    Attributes:
        name: Which one.
        pace: Its pace.
        run: What was started; None: it is missing.
        cpu_ms: Processor time of a reading, one sample a part.
        memory_mib: Its resident memory at the end of each part.
    """

    name: str
    pace: Pace
    run: Run | None
    cpu_ms: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)

    def values(self) -> Samples:
        """Return how many values a reading has, once; none where nothing was delivered."""
        found = self.run.values() if self.run and self.run.values else 0
        return (float(found),) if found else ()

    def fail(self) -> None:
        """It ended by itself: it has no samples, and is no longer looked at."""
        self.cpu_ms.clear()
        self.memory_mib.clear()
        self.run = None


def _said(program: Program) -> str:
    return program.log.read_text(errors="replace")[-2000:] if program.log else ""


class Soak:
    """Contestants that have been started.

    Args:
        bench: Where they run.
        stack: Ends them.
        paces: All of them run at each of these.
    """

    def __init__(self, bench: Bench, stack: ExitStack, paces: Sequence[Pace] = PACES) -> None:
        self._bench = bench
        self._began = time.monotonic()
        self.contestants = [
            Contestant(name, pace, self._start(stack, number, name, pace))
            for number, pace in enumerate(paces)
            for name in EVERY
        ]

    def _start(self, stack: ExitStack, number: int, name: str, pace: Pace) -> Run | None:
        folder = self._bench.place(f"{number}-{name}")
        return EVERY[name](self._bench, stack, folder, pace)

    def wait(self, soak_s: float) -> None:
        """Wait until they have run for so long."""
        while (rest := self._began + soak_s - time.monotonic()) > 0:
            self._bench.say(f"the agents run for another {rest:.0f} s")
            time.sleep(min(rest, 60.0))

    def measure(self) -> None:
        """Take the samples, of all of them at once."""
        lengths = sorted({PART_S[each.pace.interval_s] for each in self.contestants})
        self._bench.say(f"the last {PARTS * lengths[-1]} s of the agents, which are measured")
        # Half a second away from all readings and flushes, which are at whole seconds.
        time.sleep(10 - (time.time() - 5.5) % 10)
        moments = sorted({number * length for length in lengths for number in range(PARTS + 1)})
        began, before = time.monotonic(), dict[int, float]()
        for moment in moments:
            time.sleep(max(0.0, began + moment - time.monotonic()))
            for number, each in enumerate(self.contestants):
                part_s = PART_S[each.pace.interval_s]
                if each.run is None or moment % part_s or moment > PARTS * part_s:
                    continue
                program = each.run.program
                if program.ended:
                    self._bench.say(f"{each.name} ended; what it said: {_said(program)}")
                    each.fail()
                    continue
                now = program.cpu_s()
                if moment:
                    readings = part_s / each.pace.interval_s
                    each.cpu_ms.append(1000 * (now - before[number]) / readings)
                    each.memory_mib.append(program.resident_mib())
                before[number] = now


@contextmanager
def begun(bench: Bench, paces: Sequence[Pace] = PACES) -> Iterator[Soak]:
    """Start all contestants; they are gone at the end."""
    with ExitStack() as stack:
        bench.say("starting the agents")
        yield Soak(bench, stack, paces)
