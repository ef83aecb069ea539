"""How long the agent takes to start and to stop: `python -m benchmarks.start`."""

import time

from benchmarks import programs
from benchmarks.bench import Bench, Subject, alone
from benchmarks.programs import Agent
from benchmarks.tables import Row, Table, Target

STARTS = 5
_RUNS_S = 0.5

TEXT = f"""\
`metrics-pipeline run` as a process, {STARTS} times, with a new data directory: from the moment it
is started to the moment a reader finds its first reading in the store; and, {_RUNS_S:g} s later,
from SIGTERM to its end, which sends what is left if there is a server."""


def measure(bench: Bench) -> list[Table]:
    """Start and stop it on its embedded store, and delivering."""
    with bench.bucket() as bucket:
        settings = programs.delivering(bench.server, bucket.name) | {"flush_interval_ms": 1000}
        return [
            _measured(bench, "local only", {}, Target(0.5)),
            _measured(bench, "delivering", settings, Target(1.0)),
        ]


def _measured(bench: Bench, name: str, settings: dict[str, object], bound: Target) -> Table:
    bench.say(f"start and stop, {name}")
    begin, end = [], []
    for number in range(STARTS):
        # Untied: to tie it costs its start another interpreter.
        agent = Agent(bench.place(f"start-{name}-{number}"), settings, ties=False)
        with programs.ending(agent):
            begin.append(agent.until_readings(1))
            time.sleep(_RUNS_S)
            end.append(agent.stop())
    return Table(
        f"Start and stop, {name}",
        (
            Row("start to first durable reading", "s", tuple(begin), bound),
            Row("SIGTERM to exit", "s", tuple(end), Target(1.0)),
        ),
    )


SUBJECT = Subject("Start and stop", "start", TEXT, measure)

if __name__ == "__main__":
    alone(SUBJECT)
