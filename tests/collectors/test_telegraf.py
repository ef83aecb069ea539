"""Every row of what Telegraf writes is written: measurement, field, type and tags."""

import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.collectors import ALL, Host, NoData, catalogue
from pipeline.collectors.base import Collector
from pipeline.point import Point
from pipeline.settings import CollectorOptions
from tests.clocks import ManualClock

from .fakes import DEFAULTS, FakeHost

TYPES = {float: "float", int: "integer", str: "string", bool: "boolean"}
# A folder to name, sensors that a virtual machine lacks, and what a kernel may be without.
MAY_HAVE_NOTHING = {"file", "temp", "pressure", "conntrack", "sensors", "systemd_units", "cgroup"}
NOT_EVERYWHERE = {"n_physical_cpus", "speed", "searched", "delete_list", "entropy_avail"}
# What the agent names otherwise, or writes besides.
OWN = {"system_metrics", "process", "cgroup", "sensors"}
OWN_FIELDS = {("systemd_units", "failed"), ("systemd_units", "total")}
NOT_ALWAYS = {"interrupts": {"type", "device"}}
OPTIONS = replace(DEFAULTS, times=True, per_cpu=True)

Row = tuple[str, str, str, str]
"""Measurement, field, type, and the tags besides `host`, sorted."""


def row(measurement: str, field: str, type_: str, tags: Iterable[str]) -> Row:
    """A row; a core's field is without its number."""
    names = {*tags} - {"host"} - NOT_ALWAYS.get(measurement, set())
    return measurement, re.sub(r"^CPU\d+$", "CPU<n>", field), type_, ",".join(sorted(names))


def rows(points: Iterable[Point]) -> set[Row]:
    """What is written."""
    return {
        row(point.measurement, field, TYPES[type(value)], point.tags)
        for point in points
        for field, value in point.fields.items()
    }


def options(name: str) -> CollectorOptions:
    """All that a collector has, as far as the catalogue lists it."""
    if name == "nstat":
        listed = tuple(entry.field for entry in catalogue.load() if entry.measurement == name)
        return replace(OPTIONS, include=listed)
    return replace(OPTIONS, exclude=()) if name == "linux_sysctl_fs" else OPTIONS


@pytest.fixture(scope="module")
def telegraf() -> set[Row]:
    text = (Path(__file__).parent / "telegraf-schema.tsv").read_text()
    return {
        row(line["measurement"], line["field"], line["type"], line["tags"].split(","))
        for line in csv.DictReader(text.splitlines()[1:], delimiter="\t")
    }


@pytest.fixture(scope="module")
def listed() -> set[Row]:
    return {row(its.measurement, its.field, its.type, its.tags) for its in catalogue.load()}


@pytest.fixture(scope="module")
def captured() -> set[Row]:
    fake = FakeHost()
    made = [collector(fake.host(), options(collector.name)) for collector in ALL]
    fake.cpu(cpu0={"user": 11.0, "idle": 101.0}, cpu1={"user": 21.0, "idle": 201.0})
    fake.change("/proc/diskstats", b" 296632 ", b" 296882 ")
    fake.clock.advance(1.0)
    return rows(point for collector in made for point in points(collector))


def points(collector: Collector) -> Iterator[Point]:
    none = (NoData, OSError) if collector.name in MAY_HAVE_NOTHING else (NoData,)
    with suppress(*none):
        yield from (item for item in collector.collect() if isinstance(item, Point))


def test_every_row_is_written_from_captured_files(captured: set[Row], telegraf: set[Row]) -> None:
    assert telegraf - captured == set()


def test_nothing_is_written_otherwise_than_by_telegraf(
    captured: set[Row], telegraf: set[Row]
) -> None:
    # It writes every counter of the kernel in one way; recorded are some.
    nstat = {its[2:] for its in telegraf if its[0] == "nstat"}
    others = {its for its in captured - telegraf if its[0] not in OWN}
    assert {its[:2] for its in others if its[0] != "nstat" or its[2:] not in nstat} == OWN_FIELDS


def test_catalogue_holds_exactly_what_is_written(captured: set[Row], listed: set[Row]) -> None:
    measured = {its[0] for its in captured}
    assert captured == {its for its in listed if its[0] in measured}


@pytest.mark.parametrize("collector", ALL, ids=lambda each: each.name)
def test_this_machine(collector: type[Collector], listed: set[Row], telegraf: set[Row]) -> None:
    read = list(read_this_machine(collector))
    assert read or collector.name in MAY_HAVE_NOTHING
    assert rows(read) <= listed
    if read:
        tagged = {its[3] for its in rows(read)}  # the processors' own part may be missing
        demanded = {its for its in telegraf if its[0] == collector.name and its[3] in tagged}
        assert {its[1] for its in demanded - rows(read)} <= NOT_EVERYWHERE
    for point in read:
        for field, value in point.fields.items():
            if field.endswith("_percent") or field.startswith("usage_"):
                assert isinstance(value, float)
                assert 0.0 <= value <= 100.0


def read_this_machine(collector: type[Collector]) -> list[Point]:
    """Read until the counters of the processor have moved, which takes hundredths of a second."""
    clock = ManualClock()
    made = collector(Host.system(clock), options(collector.name))
    for _ in range(5000):
        clock.advance(1.0)
        read = list(points(made))
        if collector.name not in ("cpu", "system_metrics") or any(
            "usage_active" in point.fields or "cpu_usage" in point.fields for point in read
        ):
            return read
    raise AssertionError("the counters of the processor stand still")
