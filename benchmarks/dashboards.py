"""How long the cells of the dashboards take to fill: `python -m benchmarks.dashboards`."""

import statistics
import time
from collections.abc import Iterator

from benchmarks.bench import Bench, Subject, alone
from benchmarks.tables import Row, Table, Target
from pipeline.influx.dashboards.cells import Cell, Dashboard
from pipeline.influx.dashboards.template import DASHBOARDS
from tests.influx import simulated
from tests.influxd import api
from tests.influxd.api import Bucket

HOSTS = (1, 30)
_MINUTES = 60
_TIMES = 5
_BOUND_MS = 500
_BATCH = 5_000

TEXT = f"""\
Every cell of every dashboard is filled {_TIMES} times, one after the other, with an hour of
readings a minute apart, of one host and of {HOSTS[-1]}; each host has every field that an agent can
write. The time is that of the request and its answer."""


def measure(bench: Bench) -> list[Table]:
    """Write the readings, and fill the cells."""
    return [_measured(bench, hosts) for hosts in HOSTS]


def _measured(bench: Bench, hosts: int) -> Table:
    with bench.bucket() as bucket:
        bench.say(f"readings of {hosts} of the hosts")
        lines = [*simulated.lines(hosts, _MINUTES, time.time_ns())]
        for begin in range(0, len(lines), _BATCH):
            body = "\n".join(lines[begin : begin + _BATCH]).encode()
            status, why = api.write(bench.server, bucket.name, body)
            if status != 204:
                raise RuntimeError(f"the readings were not taken: {status} {why}")
        bench.say(f"dashboards of {hosts} of the hosts")
        rows = [row for board in DASHBOARDS for row in _rows(bucket, board)]
    return Table(f"Time to fill a cell, {hosts} host{'s' * (hosts > 1)}", tuple(rows))


def _rows(bucket: Bucket, board: Dashboard) -> Iterator[Row]:
    took = {cell.title: tuple(_ms(bucket, cell) for _ in range(_TIMES)) for cell in board.cells}
    medians = tuple(map(statistics.median, took.values()))
    yield Row(f"{board.name}, its {len(medians)} cells", "ms", medians)
    slowest = max(took, key=lambda title: statistics.median(took[title]))
    yield Row(f"{board.name}, {slowest}", "ms", took[slowest], Target(_BOUND_MS))


def _ms(bucket: Bucket, cell: Cell) -> float:
    query = simulated.chosen(cell.query, bucket.name, simulated.name(0))
    began = time.perf_counter()
    api.query(bucket.server, query)
    return 1000 * (time.perf_counter() - began)


SUBJECT = Subject("The dashboards", "dashboards", TEXT, measure)

if __name__ == "__main__":
    alone(SUBJECT)
