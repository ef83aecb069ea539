"""What the agent made, kept beside the agent, and compared with what InfluxDB holds."""

import random
from collections import Counter
from pathlib import Path

from pipeline.clock import rfc3339
from pipeline.point import FieldValue, decode
from pipeline.spool import SpoolReader
from tests.influxd import api
from tests.influxd.api import Bucket

_SAMPLES = 40
Series = tuple[str, tuple[tuple[str, str], ...], str]
Tick = dict[Series, FieldValue]
_OWN = {"result", "table", "_start", "_stop", "_time", "_value", "_field", "_measurement"}


class Ledger:
    """Reads each reading off the spool soon after it was committed, before the bound takes it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._seen_ns = 0
        self.lines: Counter[str] = Counter()
        self.values: Counter[tuple[str, str]] = Counter()
        self.samples: dict[int, Tick] = {}

    def read(self, data_dir: Path) -> None:
        try:
            with SpoolReader(data_dir) as reader:
                for block in reader.history(self._seen_ns + 1):
                    self._take(block)
        except FileNotFoundError:
            return

    def _take(self, block: str) -> None:
        lines = list(decode(block))
        self._seen_ns = lines[-1].timestamp_ns
        # A gap is told where it was, beside an earlier reading.
        ticks: dict[int, Tick] = {**self.samples, self._seen_ns: {}}
        for line in lines:
            point = line.point
            self.lines[point.measurement] += 1
            tick = ticks.get(line.timestamp_ns, {})
            for field, value in point.fields.items():
                self.values[point.measurement, field] += 1
                tags = tuple(sorted(point.tags.items()))
                tick[point.measurement, tags, field] = value
        tick = ticks[self._seen_ns]
        if len(self.samples) < _SAMPLES:
            self.samples[self._seen_ns] = tick
        elif self._chance.random() < 0.05:
            del self.samples[self._chance.choice(list(self.samples))]
            self.samples[self._seen_ns] = tick

    def missing(self, bucket: Bucket) -> dict[str, int]:
        """Return how many lines of each measurement InfluxDB does not hold.

        Raises:
            AssertionError: It holds something that was never made.
        """
        stored = counts(bucket)
        assert stored.keys() <= self.values.keys()
        too_many = {key: n for key, n in stored.items() if n > self.values[key]}
        assert not too_many, f"more in InfluxDB than was made: {too_many}"
        found = {}
        for measurement, lines in self.lines.items():
            # A field that is in each line stands for the line.
            fields = [f for m, f in self.values if m == measurement and self.values[m, f] == lines]
            assert fields, f"no field is in every line of {measurement}"
            gone = {lines - stored.get((measurement, field), 0) for field in fields}
            assert len(gone) == 1, f"lines of {measurement} are there in part: {gone}"
            found[measurement] = gone.pop()
        return found

    def check_samples(self, bucket: Bucket) -> int:
        """Compare the values of some readings, types included; return how many values are missing.

        Raises:
            AssertionError: A value is another one, or of another type.
        """
        gone = 0
        for time_ns, expected in self.samples.items():
            found = stored_at(bucket, time_ns)
            assert found.keys() <= expected.keys(), found.keys() - expected.keys()
            for key, value in found.items():
                assert type(value) is type(expected[key]), (key, value, expected[key])
                assert value == expected[key], key
            gone += len(expected) - len(found)
        return gone


def counts(bucket: Bucket) -> dict[tuple[str, str], int]:
    """Return how many values of each field of each measurement a bucket holds."""
    flux = (
        f'from(bucket: "{bucket.name}") |> range(start: 0)'
        ' |> group(columns: ["_measurement", "_field"]) |> count()'
    )
    return {
        (str(row["_measurement"]), str(row["_field"])): int(str(row["_value"]))
        for row in api.query(bucket.server, flux)
    }


def stored_at(bucket: Bucket, time_ns: int) -> dict[Series, object]:
    start, stop = rfc3339(time_ns), rfc3339(time_ns + 1)
    flux = f'from(bucket: "{bucket.name}") |> range(start: {start}, stop: {stop})'
    return {
        (
            str(row["_measurement"]),
            tuple(sorted((k, str(v)) for k, v in row.items() if k not in _OWN and v is not None)),
            str(row["_field"]),
        ): row["_value"]
        for row in api.query(bucket.server, flux)
    }
