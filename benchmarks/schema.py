"""What Telegraf writes beside what the agent writes: `python -m benchmarks.schema`.

Both read this machine at the same moments. Without Telegraf, its recorded fields have to do.
"""

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import click

from benchmarks.bench import Bench, Subject
from benchmarks.peers import telegraf
from benchmarks.tables import Listing, terminal
from pipeline.clock import SystemClock
from pipeline.collectors import ALL, Guard, Host, build, catalogue
from pipeline.point import FieldValue, Line, decode
from pipeline.settings import CollectorOptions
from tests.collectors.schema import Row, listed, named, recorded, written

SECONDS = 20
TEXT = f"""\
Telegraf, as built above, and the agent's collectors read this machine at the same {SECONDS}
moments, with a load that moves the counters. `make schema` fails where the agent lacks a field of
Telegraf's, or has it with another type or other tags, but for what [collectors.md](collectors.md)
says is left out. Values are compared too: a counter must lie between what the agent read just
before and just after Telegraf, a gauge within 1 % of that, a share of time within 5 points, a
number of processes within 3. One moment's difference is what a busy machine does; only what differs
more often than not is listed. Without Telegraf, the fields that it wrote on another machine are
compared."""

# What docs/collectors.md says that the agent does not write.
_FIELDS_LEFT_OUT = {
    ("system", "n_users"),
    ("system", "n_unique_users"),
    ("diskio", "io_await"),
    ("diskio", "io_svctm"),
    ("net", "speed"),  # where it is unknown
    ("conntrack", "searched"),  # which newer kernels do not count
    ("conntrack", "delete_list"),
}
_TAGS_LEFT_OUT = {"label", "wwid"}

# Telegraf reads at whole seconds, all its inputs at once; the agent reads before and after that.
_BEFORE_S, _AFTER_S = 0.06, 0.20

# By how much a value may lie outside of what the agent read before and after: of its own size, and
# of the field's unit. A share of time is of another second here than there, and each of the two
# sees itself run and not the other. Counters only grow, and may not lie outside at all.
_OF_SIZE = 0.01
_OF_UNIT = {"shares": 5.0, "processes": 3.0}

# Something to see in all shares and counters: one core half busy, nicely, and a disk that syncs.
_LOAD = """
import os, sys, time
os.nice(5)
with open(sys.argv[1], "wb") as file:
    while True:
        until = time.monotonic() + 0.04
        while time.monotonic() < until:
            pass
        file.write(bytes(65536))
        os.fsync(file.fileno())
        file.seek(0)
        time.sleep(0.04)
"""

Series = tuple[str, tuple[tuple[str, str], ...]]
"""Measurement and tags besides `host`."""

Values = dict[tuple[Series, str], FieldValue]
"""Value of each field of each series."""


@dataclass
class Agreement:
    """How one field of one series fared.

    Attributes:
        agreed: At how many moments the values agreed.
        compared: At how many both were there.
        example: A moment at which they did not: the agent's before, Telegraf's, the agent's after.
    """

    agreed: int = 0
    compared: int = 0
    example: tuple[FieldValue, ...] = ()

    @property
    def is_poor(self) -> bool:
        """Whether they differed more often than not: once is what a busy machine does."""
        return self.agreed < self.compared / 2


@dataclass
class Found:
    """What was written by one side.

    Attributes:
        rows: The fields.
        series: The series.
        moments: Time to the values that were read for it.
    """

    rows: set[Row] = field(default_factory=set)
    series: set[Series] = field(default_factory=set)
    moments: defaultdict[int, Values] = field(default_factory=lambda: defaultdict(dict))

    def add(self, line: Line, second: int) -> None:
        """Take a line."""
        point = line.point
        tags = {k: v for k, v in point.tags.items() if k != "host" and k not in _TAGS_LEFT_OUT}
        series = (point.measurement, tuple(sorted(tags.items())))
        self.series.add(series)
        self.rows |= written([replace(point, tags=tags)])
        for name, value in point.fields.items():
            self.moments[second].setdefault((series, name), value)


def _collectors() -> tuple[Guard, ...]:
    every = CollectorOptions(exclude=())
    options = {
        "cpu": CollectorOptions(times=True),
        "conntrack": CollectorOptions(per_cpu=True),
        "linux_sysctl_fs": every,
        "nstat": every,
    }
    # Of what is off by default, that which Telegraf has in the same form.
    theirs = {row[0] for row in recorded()}
    off = (each.name for each in ALL if not each.default_enabled and each.name in theirs)
    options |= dict.fromkeys(off, CollectorOptions(enabled=True))
    return build(Host.system(SystemClock()), options)


def _read(guards: Iterable[Guard], second: int, found: Found) -> None:
    for guard in guards:
        for line in decode("\n".join(guard.run(second, {}).lines)):
            found.add(line, second)


def read_both(binary: Path, folder: Path, seconds: int) -> tuple[Found, Found, Found]:
    """Read with Telegraf, and with the agent's collectors before and after each of its readings."""
    file = folder / "lines"
    theirs, before, after = Found(), Found(), Found()
    earlier, later = _collectors(), _collectors()
    with (
        telegraf.writing(binary, folder, file) as program,
        _load(folder / "load"),
    ):
        first = int(time.time()) + 3
        for second in range(first, first + seconds):
            time.sleep(max(0.0, second - _BEFORE_S - time.time()))
            _read(earlier, second, before)
            time.sleep(max(0.0, second + _AFTER_S - time.time()))
            _read(later, second, after)
        program.stop()  # which flushes
    for line in decode(file.read_text(encoding="utf-8")):
        theirs.add(line, line.timestamp_ns // 10**9)
    return theirs, before, after


@contextmanager
def _load(file: Path) -> Iterator[None]:
    load = subprocess.Popen([sys.executable, "-c", _LOAD, file])  # noqa: S603  # the text above
    try:
        yield
    finally:
        load.kill()
        load.wait()


def compare(theirs: Found, before: Found, after: Found) -> dict[tuple[Series, str], Agreement]:
    """Compare the values of each moment at which both sides read."""
    agreements: defaultdict[tuple[Series, str], Agreement] = defaultdict(Agreement)
    for second, values in theirs.moments.items():
        for key, value in values.items():
            low, high = before.moments[second].get(key), after.moments[second].get(key)
            if low is None or high is None:
                continue
            agreement = agreements[key]
            agreement.compared += 1
            if _lies_between(key[0][0], key[1], low, value, high):
                agreement.agreed += 1
            else:
                agreement.example = (low, value, high)
    return agreements


def _lies_between(
    measurement: str, name: str, low: FieldValue, value: FieldValue, high: FieldValue
) -> bool:
    if isinstance(low, str) or isinstance(value, str) or isinstance(high, str):
        return value in (low, high)
    slack = 0.0
    if not _is_counter(measurement, name):
        is_share = name.startswith(("usage_", "avg")) or name == "io_util"
        unit = _OF_UNIT.get("shares" if is_share else measurement, 0.0)
        slack = max(unit, _OF_SIZE * abs(value))
    return min(low, high) - slack <= value <= max(low, high) + slack


@cache
def _kinds() -> Mapping[tuple[str, str], str]:
    return {(entry.measurement, entry.field): entry.kind for entry in catalogue.load()}


def _is_counter(measurement: str, name: str) -> bool:
    unlisted = "counter" if measurement == "nstat" else "gauge"
    return _kinds().get((measurement, named(name)), unlisted) == "counter"


def _not_here(own: Found) -> set[Row]:
    """Return the agent's rows of what this machine lacks, such as sensors, by its catalogue."""
    here = {row[0] for row in own.rows}
    return {its for its in listed() if its[0] not in here}


def wrong_rows(theirs: set[Row], own: set[Row]) -> list[tuple[str, ...]]:
    """Return the rows of Telegraf's that the agent lacks, each with what it has instead."""
    has = {(row[0], row[1]): row for row in own}
    wrong: list[tuple[str, ...]] = []
    for row in sorted(theirs - own):
        if row[:2] not in _FIELDS_LEFT_OUT:
            instead = has.get(row[:2])
            wrong.append((*row[:2], _kind(row), _kind(instead) if instead else "nothing"))
    return wrong


def _kind(row: Row) -> str:
    return f"{row[2]} ({row[3]})"


def _name(series: Series) -> str:
    return ",".join([series[0], *(f"{key}={value}" for key, value in series[1])])


def report(
    theirs: Found, own: Found, agreements: Mapping[tuple[Series, str], Agreement]
) -> list[Listing]:
    """Return how the values fared, and which series only one side has."""
    by_measurement: defaultdict[str, list[Agreement]] = defaultdict(list)
    for (series, _), agreement in agreements.items():
        by_measurement[series[0]].append(agreement)
    shared = {series[0] for series in theirs.series}
    of_own = {series for series in own.series if series[0] in shared}
    return [
        Listing(
            "Values",
            ("measurement", "compared", "agree", "fields that differ more often than not"),
            tuple(
                (
                    name,
                    str(sum(each.compared for each in its)),
                    f"{sum(each.agreed for each in its) / sum(each.compared for each in its):.2%}",
                    str(sum(each.is_poor for each in its)),
                )
                for name, its in sorted(by_measurement.items())
            ),
        ),
        Listing(
            "Values that differ more often than not",
            ("series", "field", "agree", "e.g. the agent before", "Telegraf", "the agent after"),
            tuple(
                (_name(series), name, f"{its.agreed}/{its.compared}", *map(str, its.example))
                for (series, name), its in sorted(agreements.items(), key=lambda item: item[0])
                if its.is_poor
            ),
        ),
        _names("Series of Telegraf's only", theirs.series - own.series),
        _names("Series of the agent's only", of_own - theirs.series),
    ]


def _names(title: str, series: Iterable[Series]) -> Listing:
    return Listing(title, ("series",), tuple((_name(each),) for each in sorted(series)))


def compared(folder: Path, seconds: int) -> tuple[list[Listing], bool]:
    """Compare; return what was found, and whether the agent has all that Telegraf has."""
    parts: list[Listing] = []
    if found := telegraf.find():
        theirs, own, after = read_both(found, folder, seconds)
        agreements = compare(theirs, own, after)
        if not agreements:
            raise RuntimeError("Telegraf wrote nothing")
        own.rows |= after.rows
        own.series |= after.series
        rows = theirs.rows
        parts += report(theirs, own, agreements)
    else:
        own, rows = _of_collectors(), recorded()
    head = ("measurement", "field")
    left_out = tuple(sorted(row[:2] for row in rows if row[:2] in _FIELDS_LEFT_OUT))
    wrong = tuple(wrong_rows(rows, own.rows))
    title = f"Fields of Telegraf's that the agent lacks or has otherwise, of {len(rows)}"
    parts.append(Listing("Fields left out on purpose", head, left_out))
    parts.append(Listing(title, (*head, "Telegraf", "the agent"), wrong))
    return parts, not wrong


def _of_collectors() -> Found:
    """Return what the agent writes, with what it would write of what this machine lacks."""
    own, guards = Found(), _collectors()
    for second in range(2):
        time.sleep(1)
        _read(guards, second, own)
    own.rows |= _not_here(own)
    return own


def measure(bench: Bench) -> list[Listing]:
    """Compare, whatever comes of it."""
    bench.say("the fields and values of both")
    return compared(bench.place("schema"), SECONDS)[0]


SUBJECT = Subject("Beside Telegraf's fields", "schema", TEXT, measure)


@click.command()
@click.option("--seconds", type=click.IntRange(2), default=SECONDS, show_default=True)
def main(seconds: int) -> None:
    """Compare; fail where the agent lacks a field of Telegraf's, or has it in another type."""
    if telegraf.find() is None:
        click.echo(f"Telegraf is missing: {telegraf.MISSING}; its recorded table is compared")
    with tempfile.TemporaryDirectory() as name:
        parts, is_whole = compared(Path(name).resolve(), seconds)
    click.echo("\n\n".join(map(terminal, parts)))
    sys.exit(0 if is_whole else 1)


if __name__ == "__main__":
    main()
