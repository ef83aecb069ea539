import os

import pytest

from pipeline.collectors import Silence
from pipeline.collectors.system_metrics import SpaceMetrics, Summary
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, Hang, read, types


def after_a_second(fake: FakeHost, collector: Summary) -> Point:
    fake.clock.advance(1.0)
    (point,) = read(collector)
    return point


def test_point(fake: FakeHost) -> None:
    collector = Summary(fake.host(), DEFAULTS)
    fake.cpu(cpu0={"user": 30.25, "steal": 0.25, "iowait": 0.5, "idle": 301.0})
    point = after_a_second(fake, collector)
    assert point == Point(
        "system_metrics",
        {
            "cpu_usage": 25.0,
            "cpu_temperature": 48.0,
            "memory_total": 16_384_000_000,
            "memory_used": 4_096_000_000,
            "memory_percent": 25.0,
            "disk_total": 4_096_000,
            "disk_used": 819_200,
            "disk_percent": 25.0,
        },
    )
    integers = {field for field, kind in types(point).items() if kind is int}
    assert integers == {"memory_total", "memory_used", "disk_total", "disk_used"}


def test_first_reading_is_right(fake: FakeHost) -> None:
    collector = Summary(fake.host(), DEFAULTS)
    fake.cpu(cpu0={"user": 30.05, "idle": 300.05})
    (point,) = read(collector)
    assert fake.clock.waits == [pytest.approx(0.1)]
    assert point.fields["cpu_usage"] == pytest.approx(50.0)


def test_usage_is_absent_when_no_time_passed(fake: FakeHost) -> None:
    point = after_a_second(fake, Summary(fake.host(), DEFAULTS))
    assert "cpu_usage" not in point.fields
    assert point.fields["memory_percent"] == 25.0


def test_broken_sensors_cost_the_temperature_only(fake: FakeHost) -> None:
    for path in fake.files:
        if path.startswith("/sys/class/hwmon"):
            fake.errors[path] = OSError(5, "Input/output error")
    point = after_a_second(fake, Summary(fake.host(), DEFAULTS))
    assert "cpu_temperature" not in point.fields
    assert "memory_total" in point.fields


def test_a_sensor_and_a_containers_hosts_disk_that_do_not_answer_cost_themselves_only(
    fake: FakeHost,
) -> None:
    def look(path: str) -> os.statvfs_result:
        assert path == "/host/"
        raise Hang

    for number in (1, 2):
        fake.errors[f"/sys/class/hwmon/hwmon1/temp{number}_input"] = Hang()
    fake.contain()
    collector = Summary(fake.host(look), DEFAULTS)
    *silent, point = collector.collect()
    why = "no answer within 1000 ms"
    assert silent == [Silence("cpu_temperature", why), Silence("disk", why)]
    assert isinstance(point, Point)  # and the board's temperature is no stand-in
    assert point.fields.keys() == {"memory_total", "memory_used", "memory_percent"}
    assert collector.cpu().temperature is None
    assert collector.disk() == SpaceMetrics()


def test_a_figure_that_is_not_known_is_none(fake: FakeHost) -> None:
    fake.change("/proc/meminfo", b"16000000", b"8000000")
    memory = Summary(fake.host(), DEFAULTS).memory()
    assert memory == SpaceMetrics(8_192_000_000, None, None)
