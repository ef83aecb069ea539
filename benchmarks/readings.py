"""What a reading costs within this process, part by part: `python -m benchmarks.readings`."""

import resource
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from benchmarks.bench import Bench, Subject, alone
from benchmarks.tables import Row, Table
from benchmarks.waiting import UNBOUND
from pipeline.clock import SystemClock
from pipeline.collectors import ALL, Guard, Host, build
from pipeline.settings import CollectorOptions
from pipeline.spool import Spool, joined, pack

# A hot loop would show half of it: caches are cold when an agent wakes.
SPACING_S = 0.25
READINGS = 60

TEXT = f"""\
{READINGS} readings with every collector, {SPACING_S:g} s apart: a hot loop, with its warm caches,
would show about half. Processor time of the thread that reads and commits. The running agent,
above, also delivers, and wakes at longer distances. **Together** are `kernel`, `pressure`, `nstat`,
`conntrack` and `linux_sysctl_fs`, with their defaults."""

_TOGETHER = ("kernel", "pressure", "nstat", "conntrack", "linux_sysctl_fs")


def reading(guards: Sequence[Guard], spool: Spool) -> tuple[dict[str, float], list[str]]:
    """Take one reading and commit it; return the processor time of each part, in ms, and lines."""
    spent: dict[str, float] = {}
    lines: list[str] = []
    now_ns = time.time_ns()
    began = mark = time.thread_time()
    for guard in guards:
        lines += guard.run(now_ns, {"host": "bench"}).lines
        before, mark = mark, time.thread_time()
        spent[guard.name] = 1000 * (mark - before)
    spent["together"] = sum(spent[name] for name in _TOGETHER)
    mark = time.thread_time()
    spool.append(lines, now_ns)
    done = time.thread_time()
    spent["commit"] = 1000 * (done - mark)
    spent["whole"] = 1000 * (done - began)
    return spent, lines


def optional() -> Table:
    """Measure the collectors that are off by default, by all that they have done for them."""
    off = [each.name for each in ALL if not each.default_enabled]
    on = dict.fromkeys(off, CollectorOptions(enabled=True))
    guards = [one for one in build(Host.system(SystemClock()), on) if one.name in off]
    samples: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(READINGS + 1):
        time.sleep(SPACING_S)
        for guard in guards:
            began = _spent_s()
            found = guard.run(time.time_ns(), {"host": "bench"}).lines
            if number and found:  # a machine may lack what it reads
                samples[guard.name].append(1000 * (_spent_s() - began))
    rows = (Row(f"collect and encode {name}", "ms", tuple(samples[name])) for name in off)
    note = "Also that of threads and programs of its own. Empty is what this machine lacks."
    return Table("Processor time of what is off by default", tuple(rows), note)


def _spent_s() -> float:
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in spent)


def measure(bench: Bench) -> list[Table]:
    """Take readings."""
    bench.say("readings, part by part")
    guards = build(Host.system(SystemClock()), {})
    samples: defaultdict[str, list[float]] = defaultdict(list)
    lines: list[str] = []
    with Spool(bench.place("readings"), UNBOUND) as spool:
        for number in range(READINGS + 1):
            time.sleep(SPACING_S)
            spent, lines = reading(guards, spool)
            for name, cost in spent.items() if number else ():  # the first one opens files
                samples[name].append(cost)
    others = [line for line in lines if not line.startswith(_TOGETHER)]
    sizes = (*_sizes("a reading", lines), *_sizes("without those together", others))
    return [
        Table("Processor time of a reading", tuple(_rows(samples))),
        Table("Size of a reading", sizes),
        optional(),
    ]


def _sizes(name: str, lines: Sequence[str]) -> Iterator[Row]:
    text = joined(lines)
    size = {"points": len(lines), "bytes": len(text.encode()), "bytes, packed": len(pack(text))}
    yield from (Row(name, unit, (float(number),)) for unit, number in size.items())


def _rows(samples: dict[str, list[float]]) -> list[Row]:
    names = {
        "together": "those together",
        "commit": "compress and commit, with fsync",
        "whole": "whole reading",
    }
    return [
        Row(names.get(name, f"collect and encode {name}"), "ms", tuple(costs))
        for name, costs in samples.items()
    ]


SUBJECT = Subject("A reading, part by part", "readings", TEXT, measure)

if __name__ == "__main__":
    alone(SUBJECT)
