"""Whether the agent's memory grows: `python -m benchmarks.endurance`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import programs
from benchmarks.bench import Bench, Subject, alone
from benchmarks.programs import ENV, LOG, Program
from benchmarks.tables import Row, Table, Target

READINGS, STEP = 100_000, 10_000
# So that readings are deleted too, from before the first look on.
AGE_HOURS = 1
_WITHIN_S = 900.0

TEXT = f"""\
An agent with its own threads takes {READINGS} readings of this machine, commits and delivers them,
and deletes what is older than {AGE_HOURS} hour, here and in InfluxDB. It lives by a clock that
does not wait: time passes when all threads wait for it, so that a day of readings a second apart
takes minutes, where a sync costs nothing. Growth is from the first {STEP} readings to the end."""


class Life:
    """An agent that lives through its readings; see `lived`.

    Args:
        bench: Where it lives.
        program: Its process.
    """

    def __init__(self, bench: Bench, program: Program) -> None:
        self._bench = bench
        self._program = program

    def table(self) -> Table:
        """Wait for its end, and return its memory on the way."""
        wanted = READINGS // STEP
        self._bench.say(f"an agent lives through {READINGS} readings")
        for number in range(1, wanted + 1):
            self._until(number)
            self._bench.say(f"it has taken {number * STEP}")
        seen = self._seen()
        growth = (seen[-1] - seen[0],)
        return Table(
            f"Resident memory over {READINGS} readings",
            (
                Row(f"after {STEP} readings", "MiB", (seen[0],)),
                Row(f"after {READINGS} readings", "MiB", (seen[-1],)),
                Row(f"after each {STEP} readings", "MiB", tuple(seen)),
                Row("growth", "MiB", growth, Target(1)),
            ),
        )

    def _until(self, number: int) -> None:
        self._program.until(lambda: len(self._seen()) >= number, "its readings", 0.5, _WITHIN_S)

    def _seen(self) -> list[float]:
        rows = map(str.split, self._program.lines())
        return [int(row[1]) / 2**20 for row in rows if row and row[0].isdigit()]


@contextmanager
def lived(bench: Bench) -> Iterator[Life]:
    """Start an agent that lives through its readings; it is gone at the end."""
    with bench.bucket() as bucket, bench.swift("lifetime") as folder:
        settings = programs.delivering(bench.server, bucket.name) | {
            "data_dir": folder / "data",
            "collection_interval_ms": 1000,
            "retention_hours": AGE_HOURS,
            "bucket_retention": "off",
            "http_port": 0,
            "config_dir": folder,
        }
        env = {f"METRICS_{name.upper()}": str(value) for name, value in settings.items()}
        command = [sys.executable, "-m", "benchmarks.lifetime", str(READINGS), str(STEP)]
        with programs.ending(Program(command, ENV | env, folder / LOG)) as program:
            yield Life(bench, program)


def measure(bench: Bench) -> list[Table]:
    """Let an agent live."""
    with lived(bench) as life:
        return [life.table()]


SUBJECT = Subject("Over a day of readings", "endurance", TEXT, measure)

if __name__ == "__main__":
    alone(SUBJECT)
