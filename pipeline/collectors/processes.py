"""The processes as a whole: how many there are, and what they do."""

from collections.abc import Iterator

from pipeline.collectors._host.figures import figure
from pipeline.collectors._host.process_table import STATE, THREADS, columns, process_table
from pipeline.collectors.base import Collector
from pipeline.point import Point

# The kernel's letter to Telegraf's name. D is mostly waiting for a disk, I a kernel thread's sleep.
_STATES = {
    b"R": "running",
    b"S": "sleeping",
    b"D": "blocked",
    b"Z": "zombies",
    b"T": "stopped",
    b"t": "stopped",
    b"X": "dead",
    b"x": "dead",
    b"W": "paging",
    b"I": "idle",
}


class Processes(Collector):
    """Writes `processes`, as Telegraf's input of that name on Linux."""

    name = "processes"

    def collect(self) -> Iterator[Point]:
        """Yield one point: how many processes are in each state, and how many threads there are.

        `unknown` are those in another state, and those that this user may not look at.
        """
        table = self.host.cached(process_table)
        fields: dict[str, float] = {"total": len(table), "total_threads": 0, "unknown": 0}
        fields |= dict.fromkeys(_STATES.values(), 0)
        for stat in table.values():
            state, threads = _look(stat)
            fields[_STATES.get(state, "unknown")] += 1
            fields["total_threads"] += threads
        yield Point("processes", fields)


def _look(stat: bytes | None) -> tuple[bytes, float]:
    """Return a process's state and how many threads it has; b"" and 0 if that is not told."""
    try:
        its = columns(stat or b"", THREADS)
    except ValueError:
        return b"", 0
    return its[STATE], figure(its[THREADS])
