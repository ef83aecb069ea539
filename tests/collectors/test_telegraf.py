"""Every row of what Telegraf writes is written: measurement, field, type and tags."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from pipeline.collectors import ALL, Host, NoData, catalogue
from pipeline.collectors.base import Collector
from pipeline.point import Point
from pipeline.settings import CollectorOptions
from tests.clocks import ManualClock

from . import schema
from .fakes import DEFAULTS, FakeHost
from .schema import Row

# A folder to name, sensors that a virtual machine lacks, and what a kernel may be without.
MAY_HAVE_NOTHING = {"file", "temp", "pressure", "conntrack", "sensors", "systemd_units", "cgroup"}
NOT_EVERYWHERE = {"n_physical_cpus", "speed", "searched", "delete_list", "entropy_avail"}
# What the agent names otherwise, or writes besides.
OWN = {"system_metrics", "process", "cgroup", "sensors"}
OWN_FIELDS = {("systemd_units", "failed"), ("systemd_units", "total")}
OPTIONS = replace(DEFAULTS, times=True, per_cpu=True)


def options(name: str) -> CollectorOptions:
    """All that a collector has, as far as the catalogue lists it."""
    if name == "nstat":
        listed = tuple(entry.field for entry in catalogue.load() if entry.measurement == name)
        return replace(OPTIONS, include=listed)
    return replace(OPTIONS, exclude=()) if name == "linux_sysctl_fs" else OPTIONS


@pytest.fixture(scope="module")
def telegraf() -> set[Row]:
    return schema.recorded()


@pytest.fixture(scope="module")
def listed() -> set[Row]:
    return schema.listed()


@pytest.fixture(scope="module")
def captured() -> set[Row]:
    fake = FakeHost()
    made = [collector(fake.host(), options(collector.name)) for collector in ALL]
    fake.cpu(cpu0={"user": 11.0, "idle": 101.0}, cpu1={"user": 21.0, "idle": 201.0})
    fake.change("/proc/diskstats", b" 296632 ", b" 296882 ")
    fake.clock.advance(1.0)
    return schema.written(point for collector in made for point in points(collector))


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
    beyond = {its[:2] for its in others if its[0] != "nstat" or its[2:] not in nstat}
    advice = "what Telegraf writes belongs in telegraf-schema.tsv, what it does not have in OWN"
    assert beyond == OWN_FIELDS, advice


def test_catalogue_holds_exactly_what_is_written(captured: set[Row], listed: set[Row]) -> None:
    measured = {its[0] for its in captured}
    silent = {collector.name for collector in ALL} - measured
    assert silent == {"file"}, "captured.py has no files for them"
    assert captured == {its for its in listed if its[0] in measured}


@pytest.mark.parametrize("collector", ALL, ids=lambda each: each.name)
def test_this_machine(collector: type[Collector], listed: set[Row], telegraf: set[Row]) -> None:
    read = list(read_this_machine(collector))
    advice = "this machine has nothing for it; where that is right, name it in MAY_HAVE_NOTHING"
    assert read or collector.name in MAY_HAVE_NOTHING, advice
    assert schema.written(read) <= listed
    if read:
        tagged = {its[3] for its in schema.written(read)}  # the processors' own part may be missing
        demanded = {its for its in telegraf if its[0] == collector.name and its[3] in tagged}
        assert {its[1] for its in demanded - schema.written(read)} <= NOT_EVERYWHERE
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
