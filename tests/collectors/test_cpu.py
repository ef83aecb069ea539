from dataclasses import replace

import pytest

from pipeline.collectors.base import NoData
from pipeline.collectors.cpu import Cpu
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, types


def read(fake: FakeHost, cpu: Cpu) -> dict[str, Point]:
    fake.clock.advance(1.0)
    return {point.tags["cpu"]: point for point in cpu.collect()}


def test_points_of_two_cores(fake: FakeHost) -> None:
    cpu = Cpu(fake.host(), DEFAULTS)
    fake.cpu(
        cpu0={"user": 13.0, "guest": 2.0, "idle": 105.0, "system": 1.0, "iowait": 1.0},
        cpu1={"user": 20.0, "idle": 210.0},
    )
    fake.clock.advance(1.0)
    points = list(cpu.collect())
    assert [point.tags for point in points] == [
        {"cpu": "cpu-total"},
        {"cpu": "cpu0"},
        {"cpu": "cpu1"},
    ]
    rest = dict.fromkeys(
        (f"usage_{kind}" for kind in ("nice", "irq", "softirq", "steal", "guest_nice")), 0.0
    )
    assert points[1].measurement == "cpu"
    assert points[1].fields == {
        "usage_user": 10.0,
        "usage_guest": 20.0,
        "usage_system": 10.0,
        "usage_iowait": 10.0,
        "usage_idle": 50.0,
        "usage_active": 50.0,
        **rest,
    }
    assert points[0].fields["usage_idle"] == 75.0
    assert points[2].fields["usage_idle"] == 100.0
    assert all(set(types(point).values()) == {float} for point in points)


def test_times_are_the_counters_as_they_are(fake: FakeHost) -> None:
    cpu = Cpu(fake.host(), replace(DEFAULTS, times=True))
    spent = {"user": 13.0, "nice": 1.5, "system": 2.0, "iowait": 0.25, "guest": 2.0}
    fake.cpu(cpu0={**spent, "idle": 105.0}, cpu1={"user": 20.0, "idle": 210.0})
    points = read(fake, cpu)
    written = {key: value for key, value in points["cpu0"].fields.items() if "time_" in key}
    rest = dict.fromkeys(
        (f"time_{kind}" for kind in ("irq", "softirq", "steal", "guest_nice")), 0.0
    )
    assert written == {
        "time_user": 13.0,
        "time_nice": 1.5,
        "time_system": 2.0,
        "time_iowait": 0.25,
        "time_guest": 2.0,
        "time_idle": 105.0,
        "time_active": 16.75,  # guests are part of user
        **rest,
    }
    assert points["cpu-total"].fields["time_idle"] == 315.0
    assert "usage_user" in points["cpu0"].fields
    assert set(types(points["cpu0"]).values()) == {float}


def test_times_of_a_core_that_stood_still_are_written(fake: FakeHost) -> None:
    cpu = Cpu(fake.host(), replace(DEFAULTS, times=True))
    fields = read(fake, cpu)["cpu1"].fields
    assert fields["time_user"] == 20.0
    assert "usage_user" not in fields


def test_first_reading_is_right(fake: FakeHost) -> None:
    cpu = Cpu(fake.host(), DEFAULTS)
    fake.cpu(cpu0={"user": 10.05, "idle": 100.05}, cpu1={"user": 20.0, "idle": 200.1})
    total = next(iter(cpu.collect()))
    assert fake.clock.waits == [pytest.approx(0.1)]
    assert total.fields["usage_user"] == pytest.approx(25.0)


def test_unplugged_core_leaves_the_others_right(fake: FakeHost) -> None:
    fake.cpu(cpu0={"user": 10.0}, cpu1={"user": 20.0}, cpu7={"user": 500.0})
    cpu = Cpu(fake.host(), DEFAULTS)
    fake.cpu(cpu0={"user": 10.5, "idle": 0.5}, cpu7={"user": 501.0})
    points = read(fake, cpu)
    assert points.keys() - {"cpu-total"} == {"cpu0", "cpu7"}
    assert points["cpu0"].fields["usage_user"] == 50.0
    assert points["cpu7"].fields["usage_user"] == 100.0


def test_core_that_stood_still_is_left_out(fake: FakeHost) -> None:
    cpu = Cpu(fake.host(), DEFAULTS)
    fake.cpu(cpu0={"user": 10.0, "idle": 100.0}, cpu1={"user": 21.0, "idle": 201.0})
    assert list(read(fake, cpu)) == ["cpu-total", "cpu1"]


def test_no_time_passed_is_no_data(fake: FakeHost) -> None:
    cpu = Cpu(fake.host(), DEFAULTS)
    with pytest.raises(NoData):
        list(cpu.collect())
