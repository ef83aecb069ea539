"""The collectors as a set: that they fit together, the catalogue, Telegraf, and this machine."""

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import catalogue
from pipeline.collectors import ALL, NAMES, Guard, Host, NoData, build
from pipeline.collectors.collector import Collector
from pipeline.point import Point, decode
from pipeline.settings import CollectorOptions
from tests.clocks import ManualClock

from .fakes import FakeHost, cpu_times

TYPES = {float: "float", int: "integer", str: "string", bool: "boolean"}

Row = tuple[str, str, str, str]
"""Measurement, field, type, and the tags besides `host`, sorted."""


def rows(points: list[Point]) -> set[Row]:
    return {
        (point.measurement, field, TYPES[type(value)], ",".join(sorted(point.tags)))
        for point in points
        for field, value in point.fields.items()
    }


@pytest.fixture(scope="module")
def telegraf() -> set[Row]:
    text = (Path(__file__).parent / "telegraf-schema.tsv").read_text()
    lines = csv.DictReader(text.splitlines()[1:], delimiter="\t")
    return {
        (
            line["measurement"],
            line["field"],
            line["type"],
            ",".join(sorted({*line["tags"].split(",")} - {"host"})),
        )
        for line in lines
    }


@pytest.fixture(scope="module")
def listed() -> set[Row]:
    return {
        (entry.measurement, entry.field, entry.type, ",".join(sorted(entry.tags)))
        for entry in catalogue.load()
        if entry.measurement in NAMES
    }


def read_all(fake: FakeHost) -> Iterator[Point]:
    made = [collector(fake.host()) for collector in ALL]
    fake.ps.cores = [cpu_times(user=11.0, idle=101.0), cpu_times(user=21.0, idle=201.0)]
    fake.ps.total = cpu_times(user=32.0, idle=302.0)
    fake.clock.advance(1.0)
    for collector in made:
        yield from collector.collect()


def test_catalogue_holds_exactly_what_is_written(fake: FakeHost, listed: set[Row]) -> None:
    assert rows(list(read_all(fake))) == listed


def test_what_telegraf_has_is_written_as_telegraf_writes_it(
    listed: set[Row], telegraf: set[Row]
) -> None:
    assert {row for row in listed if row[0] != "system_metrics"} <= telegraf


@pytest.mark.parametrize("collector", ALL, ids=NAMES)
def test_this_machine(collector: type[Collector], listed: set[Row]) -> None:
    points = read_this_machine(collector)
    if not points:
        pytest.skip("this machine has nothing of the kind")
    assert rows(points) <= listed
    assert {point.measurement for point in points} == {collector.name}
    for point in points:
        for field, value in point.fields.items():
            if field.endswith("_percent") or field.startswith(("usage_", "cpu_usage")):
                assert isinstance(value, float)
                assert 0.0 <= value <= 100.0
    if sys.platform == "linux" and collector.name not in ("system", "system_metrics"):
        assert {row[1] for row in rows(points)} == {r[1] for r in listed if r[0] == collector.name}


def read_this_machine(collector: type[Collector]) -> list[Point]:
    """Read until the counters of the processor have moved, which takes hundredths of a second."""
    made = collector(Host.system(ManualClock()))
    for _ in range(5000):
        try:
            points = list(made.collect())
        except NoData:
            if collector.name != "cpu":
                return []
        else:
            if collector.name != "system_metrics" or "cpu_usage" in points[0].fields:
                return points
    raise AssertionError("the counters of the processor stand still")


def test_names_are_those_of_the_measurements() -> None:
    assert NAMES == ("system_metrics", "cpu", "mem", "swap", "disk", "net", "system")


def test_every_collector_is_enabled_unless_told_otherwise(fake: FakeHost) -> None:
    def names(guards: tuple[Guard, ...]) -> tuple[str, ...]:
        return tuple(guard.name for guard in guards)

    off, on = CollectorOptions(enabled=False), CollectorOptions(enabled=True)
    assert names(build(fake.host(), {})) == NAMES
    assert names(build(fake.host(), {"cpu": off, "mem": on})) == tuple(
        name for name in NAMES if name != "cpu"
    )


def test_options_reach_their_collector(fake: FakeHost) -> None:
    guards = build(fake.host(), {"net": CollectorOptions(exclude=("eth0",))})
    (net,) = (guard for guard in guards if guard.name == "net")
    assert net.run(1, {}).lines == ()


def test_lines_bear_the_common_tags_and_the_time(fake: FakeHost) -> None:
    lines = [line for guard in build(fake.host(), {}) for line in guard.run(7, {"host": "h"}).lines]
    read_back = list(decode("\n".join(lines)))
    assert read_back
    assert {line.timestamp_ns for line in read_back} == {7}
    assert {line.point.tags["host"] for line in read_back} == {"h"}


def test_docker_networks_stay_out_by_default(fake: FakeHost) -> None:
    names = ["docker0", "br-lan", "br-0123456789ab", "veth1a2b3c4", "eth0"]
    fake.ps.counters = dict.fromkeys(names, fake.ps.counters["eth0"])
    fake.ps.links = dict.fromkeys(names, fake.ps.links["eth0"])
    (net,) = (guard for guard in build(fake.host(), {}) if guard.name == "net")
    reported = [line.point.tags["interface"] for line in decode("\n".join(net.run(1, {}).lines))]
    assert reported == ["br-lan", "docker0", "eth0"]


def test_psutil_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, pipeline.collectors; print('psutil' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
