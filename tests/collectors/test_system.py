import pytest

from pipeline.collectors.system import System, format_uptime
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, types


def test_point(fake: FakeHost) -> None:
    (point,) = System(fake.host(), DEFAULTS).collect()
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
    def count() -> tuple[object, object]:
        fake.clock.advance(1.0)
        (point,) = system.collect()
        return point.fields["n_cpus"], point.fields["n_physical_cpus"]

    system = System(fake.host(), DEFAULTS)
    assert count() == (2, 1)
    fake.ps.cpu_count = lambda logical: None if logical else 3
    assert count() == (2, 1)
    fake.cpu(cpu0={}, cpu1={}, cpu2={})
    assert count() == (3, 3)


def test_what_nobody_tells_is_left_out(fake: FakeHost) -> None:
    fake.ps.cpu_count = lambda logical: None
    (point,) = System(fake.host(), DEFAULTS).collect()
    assert "n_physical_cpus" not in point.fields


def test_wall_clock_an_hour_back_changes_nothing(fake: FakeHost) -> None:
    fake.clock.wall_ns -= 3600 * 10**9
    (point,) = System(fake.host(), DEFAULTS).collect()
    assert point.fields["uptime"] == 1000


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
