"""The spool, and what it costs as it grows: `python -m benchmarks.history`."""

import resource
import subprocess
import time
from collections.abc import Callable, Sequence

from benchmarks import programs, stores, waiting
from benchmarks.bench import Bench, Subject, alone
from benchmarks.programs import ENV
from benchmarks.readings import SPACING_S, reading
from benchmarks.stores import Store
from benchmarks.tables import Row, Table, Target
from benchmarks.waiting import UNBOUND
from pipeline.clock import SystemClock
from pipeline.collectors import Host, build
from pipeline.spool import Spool, SpoolReader

COMMITS, CHUNKS = 3_000, 5
TIMES = 5
READINGS = 30

TEXT = f"""\
Stores with an hour, a day and a week of this machine's readings, a second apart and none of them
delivered, are made where a sync costs nothing; their size is that of all files in the data
directory. **Opening** one to write is what the agent does at its start, to read what `status` does,
both with the backlog counted. The commands are processes, their figures the processor time of each,
the interpreter's start included. A **reading** is collected and committed to the store.

**Commits** are of readings like these, on the disk, each with its fsync, {COMMITS} in {CHUNKS}
parts."""


def measure(bench: Bench) -> list[Table]:
    """Make the stores, and measure."""
    with stores.begun(bench) as making:
        return measured(bench, making.wait())


def measured(bench: Bench, made: Sequence[Store]) -> list[Table]:
    """Measure with stores that are made."""
    bench.say("the spool: size, commits, opening")
    tables = [_size(made), _commits(bench), _opening(made)]
    bench.say("the spool as it grows: a reading, status, show")
    return [*tables, _growth(bench, made)]


def _size(made: Sequence[Store]) -> Table:
    rows = [
        Row(
            f"{store.name} of readings",
            "bytes",
            (waiting.size(store.folder) / store.values,),
            Target(10) if store is made[-1] else None,
        )
        for store in made
    ]
    return Table("Bytes on disk for each field value", tuple(rows))


def _commits(bench: Bench) -> Table:
    source = waiting.readings()
    rates = []
    with Spool(bench.place("commits"), UNBOUND) as spool:
        for _ in range(CHUNKS):
            lines = [next(source).at(time.time_ns()) for _ in range(COMMITS // CHUNKS)]
            began = time.perf_counter()
            for each in lines:
                spool.append(each, time.time_ns())
            rates.append(COMMITS / CHUNKS / (time.perf_counter() - began))
    return Table("Commits, each with its fsync", (Row("commits", "a second", tuple(rates)),))


def _opening(made: Sequence[Store]) -> Table:
    rows = []
    for store in made:
        bound = Target(0.2) if store is made[-1] else None
        for name, opened in (("write", _to_write), ("read", _to_read)):
            took = tuple(_timed(opened, store) for _ in range(TIMES))
            rows.append(Row(f"to {name}, {store.name} of backlog", "s", took, bound))
    return Table("Opening the store, and counting what waits", tuple(rows))


def _timed(work: Callable[[Store], None], store: Store) -> float:
    began = time.perf_counter()
    work(store)
    return time.perf_counter() - began


def _to_write(store: Store) -> None:
    with Spool(store.folder, UNBOUND) as spool:
        spool.contents()


def _to_read(store: Store) -> None:
    with SpoolReader(store.folder) as spool:
        spool.contents()


def _growth(bench: Bench, made: Sequence[Store]) -> Table:
    rows = [Row(f"a reading, after {store.name}", "ms", _readings(store)) for store in made]
    chart = ("show", "system_metrics", "cpu_usage", "--since")
    for name, words in (
        ("`status`", ("status",)),
        ("`show` of the last hour", (*chart, "1h")),
        ("`show` of all", (*chart, "200h")),
    ):
        for store in made:
            costs = tuple(_command_ms(bench, store, *words) for _ in range(TIMES))
            rows.append(Row(f"{name}, after {store.name}", "ms", costs))
    return Table("Processor time as the store grows", tuple(rows))


def _readings(store: Store) -> tuple[float, ...]:
    guards = build(Host.system(SystemClock()), {})
    costs = []
    with Spool(store.folder, UNBOUND) as spool:
        for _ in range(READINGS + 1):
            time.sleep(SPACING_S)
            costs.append(reading(guards, spool)[0]["whole"])
    return tuple(costs[1:])  # the first one opens files


def _command_ms(bench: Bench, store: Store, *words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(  # noqa: S603  # the agent's own command
        programs.command(bench.empty, *words),
        env=ENV | {"METRICS_DATA_DIR": str(store.folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


SUBJECT = Subject("The spool, as it grows", "history", TEXT, measure)

if __name__ == "__main__":
    alone(SUBJECT)
