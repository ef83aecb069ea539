"""Stores with an hour, a day and a week of readings a second apart, made in minutes.

`python -m benchmarks.stores FOLDER` makes them, one below the other in a folder.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import programs, waiting
from benchmarks.bench import Bench
from benchmarks.programs import LOG, Program

_HOURS = {"an hour": 1, "a day": 24, "a week": 168}
_WITHIN_S = 900.0


@dataclass(frozen=True)
class Store:
    """Readings that were never delivered.

    Attributes:
        name: How much of them there is.
        folder: The data directory.
        values: How many field values are in it.
    """

    name: str
    folder: Path
    values: int


class Making:
    """Stores that are being made; see `begun`.

    Args:
        bench: Is told how it goes.
        folder: Where they are made.
        program: Makes them.
    """

    def __init__(self, bench: Bench, folder: Path, program: Program) -> None:
        self._bench = bench
        self._folder = folder
        self._program = program

    def wait(self) -> list[Store]:
        """Wait until all are made; return them, the smallest first."""
        self._bench.say("stores with an hour, a day and a week of readings are made")
        self._program.until(
            lambda: len(self._values()) == len(_HOURS), "the stores", 0.5, _WITHIN_S
        )
        pairs = zip(_HOURS.items(), self._values(), strict=True)
        return [Store(name, self._folder / str(hours), values) for (name, hours), values in pairs]

    def _values(self) -> list[int]:
        return [int(line) for line in self._program.lines() if line.isdigit()]


@contextmanager
def begun(bench: Bench) -> Iterator[Making]:
    """Begin to make the stores; they are gone at the end."""
    with bench.swift("stores") as folder:
        command = [sys.executable, "-m", "benchmarks.stores", str(folder)]
        with programs.ending(Program(command, log=folder / LOG)) as program:
            yield Making(bench, folder, program)


def main(folder: Path) -> None:
    """Make them, and print how many values each has."""
    a_reading = len(next(waiting.readings()).lines)
    for hours in _HOURS.values():
        place = folder / str(hours)
        place.mkdir()
        made = waiting.make(place, hours * 3600 * a_reading, 1, keeps_bodies=False)
        print(made.values, flush=True)  # noqa: T201  # for the one that asked


if __name__ == "__main__":
    main(Path(sys.argv[1]))
