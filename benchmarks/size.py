"""What the spool's operations cost in a large store: `python -m benchmarks.size`."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.bench import Bench, Subject, alone
from benchmarks.tables import Row, Table
from benchmarks.waiting import UNBOUND, readings
from pipeline.spool import Spool
from tests.spool.stores import NOW, many

DELIVERED, WAITING = 600_000, 600_000
TIMES = 30
# Readings in the smaller of the two stores that are at their bound.
_FEW = 6_000
_SECOND_NS = 10**9
_LAST_NS = NOW + (DELIVERED + WAITING) * _SECOND_NS

TEXT = f"""\
Each operation of the spool, {TIMES} times in a process of its own, in an empty store and in one of
{DELIVERED} delivered readings and {WAITING} that wait. **At the bound**, a reading takes the place
of others, in stores of {_FEW} and of {WAITING} readings of which none is delivered. What writes
also syncs. **Memory** is by how much the process's greatest resident size grew meanwhile."""


@dataclass(frozen=True)
class Place:
    """A store to measure.

    Attributes:
        name: What is in it.
        folder: Its data directory.
        max_bytes: Its bound.
    """

    name: str
    folder: Path
    max_bytes: int = UNBOUND


@dataclass(frozen=True)
class Cost:
    """What an operation took.

    Attributes:
        ms: Each time, in milliseconds.
        grown_mib: By how much the process grew.
    """

    ms: tuple[float, ...]
    grown_mib: float


# Each makes ready what is then timed; before it, a reading was appended.
OPERATIONS: dict[str, Callable[[Spool, Callable[[], object]], Callable[[], object]]] = {
    "append": lambda _, append: append,
    "lease": lambda spool, _: partial(spool.queue().lease, 1),
    "settle": lambda spool, _: partial(spool.queue().settle, spool.queue().lease(1), NOW),  # type: ignore[arg-type]  # one waits
    "contents": lambda spool, _: spool.contents,
    "give up nothing": lambda spool, _: partial(spool.queue().give_up, NOW),
    "age nothing": lambda spool, _: partial(spool.aging.remove, 0, NOW, count=True),
}


def measure(bench: Bench) -> list[Table]:
    """Make the stores, and measure."""
    bench.say("stores with no reading and with 1,200,000")
    within = bench.place("size")
    places = [_place(within, "empty", 0, 0), _place(within, "1,200,000", DELIVERED, WAITING)]
    full = [_place(within, f"{n:,}", 0, n, at_bound=True) for n in (_FEW, WAITING)]
    costs = [
        *((name, place, _cost(name, place)) for name in OPERATIONS for place in places),
        *(("append at the bound", place, _cost("append", place)) for place in full),
    ]
    return [
        Table(
            "Time of an operation by the readings in the store",
            tuple(Row(f"{name}, {place.name}", "ms", cost.ms) for name, place, cost in costs),
        ),
        Table(
            "Memory of an operation by the readings in the store",
            tuple(
                Row(f"{name}, {place.name}", "MiB", (cost.grown_mib,))
                for name, place, cost in costs
            ),
        ),
    ]


def _place(
    within: Path, name: str, delivered: int, waiting: int, *, at_bound: bool = False
) -> Place:
    folder = within / f"{name}-{delivered}"
    folder.mkdir()
    lines = next(readings()).at(NOW)[:2]
    many(folder, delivered, waiting, lines)
    size = (folder / "spool.db").stat().st_size
    return Place(name, folder, size if at_bound else UNBOUND)


def _cost(name: str, place: Place) -> Cost:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(_measured, name, place).result()


def _measured(name: str, place: Place) -> Cost:
    source = readings()
    ms = []
    with Spool(place.folder, place.max_bytes) as spool:
        before = _greatest_kib()
        for number in range(TIMES + 1):
            time_ns = max(_LAST_NS, spool.contents().last_ns or 0) + _SECOND_NS
            spool.append(next(source).at(time_ns), time_ns)
            later_ns = time_ns + _SECOND_NS
            append = partial(spool.append, next(source).at(later_ns), later_ns)
            operation = OPERATIONS[name](spool, append)
            began = time.perf_counter()
            operation()
            ms.append(1000 * (time.perf_counter() - began))
            if number == 0:  # the first one makes what is made once, such as statements
                before = _greatest_kib()
        return Cost(tuple(ms[1:]), (_greatest_kib() - before) / 1024)


def _greatest_kib() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


SUBJECT = Subject("The spool, empty and large", "size", TEXT, measure)

if __name__ == "__main__":
    alone(SUBJECT)
