"""What a reading costs: `python -m benchmarks.tick`."""

import gzip
import os
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import click

from benchmarks import measuring
from pipeline.clock import SystemClock
from pipeline.collectors import Host, build
from pipeline.spool import Spool
from tests.influxd import api, ways

# A hot loop would show half of it: caches are cold when an agent wakes.
SPACING_MS = 250
READINGS = 60
RUNS = 3
RUN_READINGS = 50
# By then it has imported what it needs, and delivered.
WARM_READINGS = 8
STARTS = 5


def readings(folder: Path) -> None:
    """Measure the parts of a reading within this process."""
    clock = SystemClock()
    guards = build(Host.system(clock), {})
    spool = Spool(folder, 2**30)
    spent: defaultdict[str, list[float]] = defaultdict(list)
    lines: list[str] = []
    for number in range(READINGS + 1):
        time.sleep(SPACING_MS / 1000)
        now_ns, lines = clock.now_ns(), []
        began = mark = time.process_time()
        for guard in guards:
            lines += guard.run(now_ns, {"host": "bench"}).lines
            before, mark = mark, time.process_time()
            if number:  # the first reading opens files
                spent[f"collect and encode {guard.name}"].append(1000 * (mark - before))
        spool.append(lines, now_ns)
        done = time.process_time()
        if number:
            spent["compress and commit, with fsync"].append(1000 * (done - mark))
            spent["whole reading"].append(1000 * (done - began))
    spool.close()
    size = len("\n".join(lines))
    packed = len(gzip.compress("\n".join(lines).encode(), 6))
    click.echo(f"a reading here: {len(lines)} lines, {size} bytes, {packed} compressed")
    measuring.table(
        f"processor time, ms ({READINGS} readings, {SPACING_MS} ms apart)", spent.items()
    )


def runs(folder: Path, name: str, settings: dict[str, object]) -> None:
    """Measure the running agent from outside."""
    cpu, memory, begin, end = [], [], [], []
    for number in range(RUNS):
        place = folder / f"{name}-{number}"
        pace = {"collection_interval_ms": SPACING_MS, **settings}
        with measuring.running(place, pace) as agent:
            agent.until_ticks(WARM_READINGS, look_s=0.05)
            before = agent.cpu_s()
            agent.until_ticks(WARM_READINGS + RUN_READINGS, look_s=0.05)
            cpu.append(1000 * (agent.cpu_s() - before) / RUN_READINGS)
            memory.append(agent.resident_mib())
            agent.stop()
    for number in range(STARTS):
        with measuring.running(folder / f"{name}-start-{number}", settings) as agent:
            begin.append(agent.until_ticks(1))
            time.sleep(0.5)
            end.append(agent.stop())
    measuring.table(
        f"run, {name}",
        (
            (f"processor time a reading, ms ({RUNS} x {RUN_READINGS})", cpu),
            (f"resident memory, MiB (after {WARM_READINGS + RUN_READINGS} readings)", memory),
            (f"start to first durable reading, s ({STARTS} starts)", begin),
            ("SIGTERM to exit, s", end),
        ),
    )


def main() -> None:
    """Measure, and print a table."""
    measuring.machine()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name).resolve()
        (folder / "spool").mkdir()
        readings(folder / "spool")
        runs(folder, "on its embedded store", {})
        (folder / "influxd").mkdir()
        server = stack.enter_context(ways.disposable(os.environ, folder / "influxd"))
        bucket = api.create_bucket(server, f"bench-{time.time_ns()}")
        stack.callback(api.delete_bucket, server, bucket.name)
        runs(folder, "delivering each second", measuring.delivering(server, bucket.name))


if __name__ == "__main__":
    main()
