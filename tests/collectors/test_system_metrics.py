import threading
from dataclasses import replace

import pytest

from pipeline.collectors import Guard, Silence
from pipeline.collectors.system_metrics import SpaceMetrics, Summary
from pipeline.point import Point, decode

from .fakes import DEFAULTS, FakeHost, read, types


def after_a_second(fake: FakeHost, collector: Summary) -> Point:
    fake.clock.advance(1.0)
    (point,) = read(collector)
    return point


def test_point(fake: FakeHost) -> None:
    collector = Summary(fake.host(), DEFAULTS)
    fake.cpu(cpu0={"user": 30.25, "steal": 0.25, "iowait": 0.5, "idle": 301.0})
    assert after_a_second(fake, collector) == Point(
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


def test_types(fake: FakeHost) -> None:
    collector = Summary(fake.host(), DEFAULTS)
    fake.cpu(cpu0={"user": 30.0, "idle": 301.0})
    point = after_a_second(fake, collector)
    integers = {"memory_total", "memory_used", "disk_total", "disk_used"}
    assert {field for field, kind in types(point).items() if kind is int} == integers
    assert set(types(point).values()) == {int, float}
    assert point.fields["cpu_usage"] == 0.0


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


def test_a_sensor_that_does_not_answer_costs_the_temperature_only(fake: FakeHost) -> None:
    answers, host = threading.Event(), fake.host()

    def hang(path: str) -> bytes:
        assert "hwmon1/temp" not in path or answers.wait(60)
        return host.read_file(path)

    collector = Summary(replace(host, read_file=hang), replace(DEFAULTS, timeout_ms=500))
    silence, point = collector.collect()
    assert silence == Silence("cpu_temperature", "no answer within 500 ms")
    assert isinstance(point, Point)
    assert "cpu_temperature" not in point.fields  # the board's is no stand-in
    assert point.fields["memory_percent"] == 25.0
    assert collector.cpu().temperature is None
    answers.set()


def test_a_figure_that_cannot_be_costs_itself_only(fake: FakeHost) -> None:
    fake.files["/proc/meminfo"] = b"MemTotal: 8 kB\nMemFree: 9 kB\nMemAvailable: 10 kB\n"
    collector = Summary(fake.host(), DEFAULTS)
    outcome = Guard(collector, DEFAULTS, fake.clock).run(1, {})
    (line,) = decode("\n".join(outcome.lines))
    assert outcome.lost_points == 2
    assert line.point.fields["memory_total"] == 8192
    assert not {"memory_used", "memory_percent"} & line.point.fields.keys()
    assert collector.memory() == SpaceMetrics(8192, None, None)
