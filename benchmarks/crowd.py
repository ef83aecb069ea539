"""A reading of a host, before and after something is added to it; prints its costs as JSON.

`python -m benchmarks.crowd WHAT NUMBER` adds so many processes, mounts or interfaces. All but
processes are added to namespaces of its own, which its caller has made for it.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.clock import SystemClock
from pipeline.collectors import Host, build
from pipeline.settings import CollectorOptions

SPACING_S = 0.1
READINGS = 20
_MANY = 10_000


def _costs(collector: str) -> tuple[list[float], list[float], int]:
    """Return the processor time of some readings, of one collector's and all, and its lines."""
    names = {name: CollectorOptions(max_series=_MANY) for name in (collector, "disk", "net")}
    guards = build(Host.system(SystemClock()), names)
    own, every, lines = [], [], 0
    for number in range(READINGS + 1):
        time.sleep(SPACING_S)
        began = mark = time.thread_time()
        for guard in guards:
            outcome = guard.run(time.time_ns(), {"host": "bench"})
            before, mark = mark, time.thread_time()
            if guard.name == collector and number:
                own.append(1000 * (mark - before))
                lines = len(outcome.lines)
        if number:  # the first one opens files
            every.append(1000 * (mark - began))
    return own, every, lines


@contextlib.contextmanager
def _processes(number: int) -> Iterator[None]:
    reads, writes = os.pipe()
    children = []
    for _ in range(number):
        if (child := os.fork()) == 0:
            os.close(writes)
            os.read(reads, 1)  # until their parent is gone, however it goes
            os._exit(0)
        children.append(child)
    try:
        yield
    finally:
        os.close(writes)
        for child in children:
            os.waitpid(child, 0)


@contextlib.contextmanager
def _mounts(number: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "source").mkdir()
        for each in range(number):
            place = Path(name) / str(each)
            place.mkdir()
            _run("mount", "--bind", f"{name}/source", str(place))
        try:
            yield
        finally:
            for each in range(number):
                _run("umount", f"{name}/{each}")


@contextlib.contextmanager
def _interfaces(number: int) -> Iterator[None]:
    # Both ends of cables, with names that the agent does not leave out.
    ends = [(f"bench{each}", f"cable{each}") for each in range(number // 2)]
    orders = [f"link add {one} type veth peer name {other}" for one, other in ends]
    orders += [f"link set {name} up" for pair in ends for name in pair]
    subprocess.run(  # with orders of our own
        ["ip", "-batch", "-"],  # noqa: S607  # wherever the system has it
        input="\n".join(orders).encode(),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    time.sleep(1)
    yield  # they go with the namespace


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # our own


COLLECTORS = {"processes": "processes", "mounts": "disk", "interfaces": "net"}
"""What can be added, and the collector that reads it."""
_ADD: dict[str, Callable[[int], contextlib.AbstractContextManager[None]]] = {
    "processes": _processes,
    "mounts": _mounts,
    "interfaces": _interfaces,
}


def main(what: str, number: int) -> None:
    """Measure before and after."""
    collector = COLLECTORS[what]
    before = _costs(collector)
    with _ADD[what](number):
        after = _costs(collector)
    print(json.dumps({"before": before, "after": after}))  # noqa: T201  # for the one that asked


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
