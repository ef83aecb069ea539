import pytest

from pipeline.collectors import Omission
from pipeline.collectors.system import System, format_uptime
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, read, types


def test_point(fake: FakeHost) -> None:
    fake.ps.getloadavg = lambda: (1025 / 2048, 1.25, 2.0)
    (point,) = read(System(fake.host(), DEFAULTS))
    assert point == Point(
        "system",
        {
            "load1": 0.5005,
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
        (point,) = read(system)
        return point.fields["n_cpus"], point.fields["n_physical_cpus"]

    system = System(fake.host(), DEFAULTS)
    assert count() == (2, 1)
    fake.ps.cpu_count = lambda logical: None if logical else 3
    assert count() == (2, 1)
    fake.cpu(cpu0={}, cpu1={}, cpu2={})
    assert count() == (3, 3)


def test_what_nobody_tells_is_left_out(fake: FakeHost) -> None:
    fake.ps.cpu_count = lambda logical: None
    (point,) = read(System(fake.host(), DEFAULTS))
    assert "n_physical_cpus" not in point.fields


@pytest.mark.parametrize(
    ("file", "what", "left"),
    [
        ("stat", "cores", {"load1", "load5", "load15", "uptime", "uptime_format"}),
        ("uptime", "uptime", {"load1", "load5", "load15", "n_cpus", "n_physical_cpus"}),
        ("loadavg", "load", {"n_cpus", "n_physical_cpus", "uptime", "uptime_format"}),
    ],
)
def test_a_file_that_cannot_be_read_costs_what_is_in_it(
    fake: FakeHost, file: str, what: str, left: set[str]
) -> None:
    fake.contain()
    fake.errors[f"/host/proc/{file}"] = OSError(5, "Input/output error")
    omission, point = System(fake.host(), DEFAULTS).collect()
    assert omission == Omission(what, "OSError: [Errno 5] Input/output error")
    assert isinstance(point, Point)
    assert point.fields.keys() == left


def test_without_any_of_its_files_it_fails(fake: FakeHost) -> None:
    fake.contain()
    for file in ("stat", "uptime", "loadavg"):
        fake.errors[f"/host/proc/{file}"] = OSError(5, "Input/output error")
    with pytest.raises(OSError, match="Input/output error"):
        list(System(fake.host(), DEFAULTS).collect())


def test_physical_cores_that_cannot_be_counted_cost_nothing_else(fake: FakeHost) -> None:
    def fail(*, logical: bool) -> int:
        raise ValueError("not enough values to unpack")  # of /proc/cpuinfo

    fake.ps.cpu_count = fail
    (point,) = read(System(fake.host(), DEFAULTS))
    assert (point.fields["n_cpus"], "n_physical_cpus" in point.fields) == (2, False)


def test_wall_clock_an_hour_back_changes_nothing(fake: FakeHost) -> None:
    fake.clock.wall_ns -= 3600 * 10**9
    (point,) = read(System(fake.host(), DEFAULTS))
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
