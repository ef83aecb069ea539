import pytest

from pipeline.collectors.system import System, format_uptime
from pipeline.point import Point

from .fakes import BOOT_S, FakeHost, cpu_times, types


def test_point(fake: FakeHost) -> None:
    (point,) = System(fake.host()).collect()
    assert point == Point(
        "system",
        {
            "load1": 0.5,
            "load5": 1.25,
            "load15": 2.0,
            "n_cpus": 2,
            "n_physical_cpus": 1,
            "uptime": 1000,
            "uptime_format": " 0:16",
        },
    )
    assert types(point) == {
        **dict.fromkeys(("load1", "load5", "load15"), float),
        **dict.fromkeys(("n_cpus", "n_physical_cpus", "uptime"), int),
        "uptime_format": str,
    }


def test_physical_cores_are_counted_when_the_logical_ones_change(fake: FakeHost) -> None:
    system = System(fake.host())
    list(system.collect())
    list(system.collect())
    physical = "cpu_count(logical=False)"
    assert fake.ps.calls.count(physical) == 1
    fake.ps.cores.append(cpu_times())
    list(system.collect())
    assert fake.ps.calls.count(physical) == 2


def test_what_the_platform_does_not_tell_is_left_out(fake: FakeHost) -> None:
    fake.ps.cpu_count = lambda logical=True: None
    (point,) = System(fake.host()).collect()
    assert {"n_cpus", "n_physical_cpus"}.isdisjoint(point.fields)


def test_clock_behind_the_boot_is_no_negative_uptime(fake: FakeHost) -> None:
    fake.ps.boot_time = lambda: BOOT_S + 5000.0
    (point,) = System(fake.host()).collect()
    assert point.fields["uptime"] == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, " 0:00"),
        (59, " 0:00"),
        (60, " 0:01"),
        (86_399, "23:59"),
        (86_400, "1 day,  0:00"),
        (3 * 86_400 + 14_700, "3 days,  4:05"),
        (400 * 86_400 + 36_000, "400 days, 10:00"),
    ],
)
def test_uptime_for_people(seconds: int, text: str) -> None:
    assert format_uptime(seconds) == text
