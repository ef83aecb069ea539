"""Readings of this machine that wait: in a spool, and as prepared bodies."""

import gzip
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.clock import SystemClock
from pipeline.collectors import Host, build
from pipeline.point import decode
from pipeline.spool import Spool

UNBOUND = 2**40
BODY_LINES = 5_000
# Real readings, taken in a row; they are repeated with times of their own.
_SAMPLE = 200


@dataclass(frozen=True)
class Reading:
    """One reading.

    Attributes:
        lines: Its lines without their time.
        values: How many field values they have.
    """

    lines: tuple[str, ...]
    values: int

    def at(self, time_ns: int) -> list[str]:
        """Return its lines with a time."""
        return [f"{line} {time_ns}" for line in self.lines]


@dataclass(frozen=True)
class Backlog:
    """Readings that wait.

    Attributes:
        folder: The data directory with them.
        bodies: The same lines as prepared gzip bodies.
        lines: How many lines.
        values: How many field values.
    """

    folder: Path
    bodies: tuple[bytes, ...]
    lines: int
    values: int


def readings() -> Iterator[Reading]:
    """Yield real readings over and over."""
    guards = build(Host.system(SystemClock()), {})
    sample = []
    for _ in range(_SAMPLE):
        lines = [line for guard in guards for line in guard.run(1, {"host": "bench"}).lines]
        values = sum(len(line.point.fields) for line in decode("\n".join(lines)))
        sample.append(Reading(tuple(line.rpartition(" ")[0] for line in lines), values))
    while True:
        yield from sample


def make(folder: Path, least: int, step_s: int, *, keeps_bodies: bool = True) -> Backlog:
    """Commit readings as the agent does, one by one, up to now.

    Args:
        folder: Where to.
        least: How many lines at least.
        step_s: The time from one reading to the next, in seconds.
        keeps_bodies: Whether the same lines are wanted as bodies.
    """
    bodies: list[bytes] = []
    block: list[str] = []
    total = values = 0
    source = readings()
    first = next(source)
    time_ns = time.time_ns() - least // len(first.lines) * step_s * 10**9
    with Spool(folder, UNBOUND) as spool:
        while total < least:
            reading = next(source)
            time_ns += step_s * 10**9
            lines = reading.at(time_ns)
            spool.append(lines, time_ns)
            total += len(lines)
            values += reading.values
            if not keeps_bodies:
                continue
            block += lines
            if len(block) >= BODY_LINES or total >= least:
                bodies.append(gzip.compress("".join(f"{line}\n" for line in block).encode(), 6))
                block = []
    return Backlog(folder, tuple(bodies), total, values)


def size(folder: Path) -> int:
    """Return what the files of a data directory take, in bytes."""
    return sum(file.stat().st_size for file in folder.iterdir())
