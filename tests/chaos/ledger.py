"""What the agent made, kept beside the agent, and compared with what InfluxDB holds."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.clock import rfc3339
from pipeline.point import FieldValue, decode
from pipeline.spool import SpoolError, SpoolReader
from tests.influxd import api
from tests.influxd.api import Bucket

_SAMPLES = 40
_EVER = 2**62
Series = tuple[str, tuple[tuple[str, str], ...], str]
Tick = dict[Series, FieldValue]
Span = tuple[int, int]
Values = Mapping[tuple[str, str], int]
"""How many values there are of each field of each kind of line."""
_OWN = {"result", "table", "_start", "_stop", "_time", "_value", "_field", "_measurement"}
# A field that is in each line of a kind stands for the line.
_LINE = ""


class Ledger:
    """Reads each reading off the spool soon after it was committed, before the bound takes it.

    Attributes:
        at_risk: Server to spans of time of which readings may be missing there, as they waited
            when the store was damaged or removed, or when they made room, or as it was no server
            of the agent then. No other reading may be.
    """

    def __init__(self, chance: random.Random, servers: Iterable[str]) -> None:
        self._chance = chance
        self._seen_ns = 0
        self._ticks: set[int] = set()
        self._made: dict[int, Values] = {}  # by time
        self._alike: dict[frozenset[tuple[tuple[str, str], int]], Values] = {}
        self.at_risk: dict[str, list[Span]] = {name: [] for name in servers}
        self._oldest_waiting_ns = dict.fromkeys(self.at_risk, 0)
        self._dropped = dict.fromkeys(self.at_risk, 0)
        self._samples: dict[int, Tick] = {}
        self._gaps: defaultdict[int, Tick] = defaultdict(dict)

    def read(self, data_dir: Path) -> None:
        """Read what is new; a store that the agent has yet to make or to salvage has nothing."""
        with suppress(SpoolError, FileNotFoundError), SpoolReader(data_dir) as reader:
            self.take(reader)

    def take(self, reader: SpoolReader) -> None:
        found = {name: reader.contents(name) for name in self.at_risk}
        for block in reader.history(self._seen_ns + 1):
            self._take(block)
        for name in self.at_risk.keys() & set(reader.servers()):
            contents = found[name]
            dropped = contents.lost.get("spool_full", 0)
            if dropped > self._dropped[name]:
                self.risk(name)
            self._dropped[name] = dropped
            oldest_ns = contents.backlog_oldest_ns or contents.last_ns or self._seen_ns
            self._oldest_waiting_ns[name] = oldest_ns

    def risk(self, name: str) -> None:
        """Let what waits for a server be lost."""
        self.at_risk[name].append((self._oldest_waiting_ns[name], self._seen_ns + 1))

    def leave_out(self, name: str, data_dir: Path) -> None:
        """Let a server that comes back lack what is not held any more."""
        with suppress(SpoolError, FileNotFoundError), SpoolReader(data_dir) as reader:
            first_ns = reader.contents().first_ns or _EVER
            if first_ns > self._oldest_waiting_ns[name]:
                self.at_risk[name].append((self._oldest_waiting_ns[name], first_ns))

    def _take(self, block: str) -> None:
        ticks: defaultdict[int, Tick] = defaultdict(dict)
        values: defaultdict[int, Counter[tuple[str, str]]] = defaultdict(Counter)
        time_ns = 0
        for line in decode(block):
            point, time_ns = line.point, line.timestamp_ns
            tags = tuple(sorted(point.tags.items()))
            kind = kind_of(point.measurement, point.tags)
            values[time_ns].update((kind, field) for field in (_LINE, *point.fields))
            ticks[time_ns] |= {(point.measurement, tags, f): v for f, v in point.fields.items()}
        # The last lines are those of the reading itself; refused ones that are tried again come
        # with its time.
        if time_ns in self._ticks:
            return
        self._ticks.add(time_ns)
        self._seen_ns = time_ns
        for moment, made in values.items():
            made.update(self._made.get(moment, {}))
            self._made[moment] = self._alike.setdefault(frozenset(made.items()), made)
        tick = ticks.pop(time_ns)
        for moment, gaps in ticks.items():
            self._gaps[moment] |= gaps
        if len(self._samples) < _SAMPLES:
            self._samples[time_ns] = tick
        elif self._chance.random() < 0.05:
            del self._samples[self._chance.choice(list(self._samples))]
            self._samples[time_ns] = tick

    def made(self, spans: Iterable[Span] = ((0, _EVER),)) -> Counter[tuple[str, str]]:
        """Return how many values were made in some spans; the field "" stands for the lines."""
        total: Counter[tuple[str, str]] = Counter()
        same: Counter[int] = Counter()
        known = {}
        for time_ns, values in self._made.items():
            if any(start <= time_ns < stop for start, stop in spans):
                same[id(values)] += 1
                known[id(values)] = values
        for which, times in same.items():
            total.update({key: times * number for key, number in known[which].items()})
        return total

    @property
    def lines(self) -> int:
        """How many lines were made."""
        return sum(number for (_, field), number in self.made().items() if field == _LINE)

    def safe(self, name: str) -> list[Span]:
        """Return the spans of which nothing may be missing at a server."""
        found, begin = [], 0
        for start, stop in sorted(self.at_risk[name]):
            if start > begin:
                found.append((begin, start))
            begin = max(begin, stop)
        return [*found, (begin, _EVER)]

    def missing(self, bucket: Bucket, spans: Iterable[Span] = ((0, _EVER),)) -> dict[str, int]:
        """Return how many lines of each measurement InfluxDB does not hold.

        Raises:
            AssertionError: It holds something that was never made, or a line in part.
        """
        spans = [*spans]
        made, stored = self.made(spans), counts(bucket, spans)
        too_many = {key: n for key, n in stored.items() if n > made[key]}
        assert not too_many, f"more in InfluxDB than was made: {too_many}"
        found: Counter[str] = Counter()
        for kind, lines in [(k, n) for (k, field), n in made.items() if field == _LINE]:
            whole = [f for (k, f), n in made.items() if k == kind and n == lines and f]
            assert whole, f"no field is in every line of {kind}"
            gone = {lines - stored[kind, field] for field in whole}
            assert len(gone) == 1, f"lines of {kind} are there in part: {gone}"
            found[kind.partition(",")[0]] += gone.pop()
        return dict(+found)

    def check_samples(self, bucket: Bucket) -> int:
        """Compare the values of some readings, types included; return how many values are missing.

        Raises:
            AssertionError: A value is another one, or of another type.
        """
        gone = 0
        for time_ns, reading in self._samples.items():
            expected = reading | self._gaps[time_ns]
            found = stored_at(bucket, time_ns)
            assert found.keys() <= expected.keys(), found.keys() - expected.keys()
            for key, value in found.items():
                assert type(value) is type(expected[key]), (key, value, expected[key])
                assert value == expected[key], key
            gone += len(expected) - len(found)
        return gone


def kind_of(measurement: str, tags: Iterable[str]) -> str:
    """Return the kind of a line: those of one measurement may differ in tags, and so in fields."""
    return ",".join((measurement, *sorted(tags)))


def counts(bucket: Bucket, spans: Iterable[Span]) -> Counter[tuple[str, str]]:
    """Return how many values of each field of each kind of line a bucket holds in some spans."""
    found: Counter[tuple[str, str]] = Counter()
    for start, stop in spans:
        flux = (
            f'from(bucket: "{bucket.name}")'
            f" |> range(start: {rfc3339(start)}, stop: {rfc3339(stop)}) |> count()"
        )
        for row in api.query(bucket.server, flux):
            kind = kind_of(str(row["_measurement"]), tags_of(row))
            found[kind, str(row["_field"])] += int(str(row["_value"]))
    return found


def tags_of(row: Mapping[str, object]) -> dict[str, str]:
    return {k: str(v) for k, v in row.items() if k not in _OWN and v is not None}


def stored_at(bucket: Bucket, time_ns: int) -> dict[Series, object]:
    start, stop = rfc3339(time_ns), rfc3339(time_ns + 1)
    flux = f'from(bucket: "{bucket.name}") |> range(start: {start}, stop: {stop})'
    return {
        (
            str(row["_measurement"]),
            tuple(sorted(tags_of(row).items())),
            str(row["_field"]),
        ): row["_value"]
        for row in api.query(bucket.server, flux)
    }
