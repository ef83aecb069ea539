import pytest

from pipeline.collectors import Omission
from pipeline.collectors.system import System
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, read, types

EVERY = {
    *("load1", "load5", "load15", "n_cpus", "n_physical_cpus", "uptime", "uptime_format"),
}


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
    loads = {field for field, kind in types(point).items() if kind is float}
    assert loads == {"load1", "load5", "load15"}
    assert {type(point.fields[field]) for field in EVERY - loads} == {int, str}


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


@pytest.mark.parametrize(
    ("file", "what", "lacking"),
    [
        ("stat", "cores", {"n_cpus", "n_physical_cpus"}),
        ("uptime", "uptime", {"uptime", "uptime_format"}),
        ("loadavg", "load", {"load1", "load5", "load15"}),
    ],
)
def test_a_file_that_cannot_be_read_costs_what_is_in_it(
    fake: FakeHost, file: str, what: str, lacking: set[str]
) -> None:
    fake.contain()
    fake.errors[f"/proc/{file}"] = OSError(5, "Input/output error")
    omission, point = System(fake.host(), DEFAULTS).collect()
    assert omission == Omission(what, "OSError: [Errno 5] Input/output error")
    assert isinstance(point, Point)
    assert point.fields.keys() == EVERY - lacking


@pytest.mark.parametrize("error", [None, ValueError("not enough values to unpack")])
def test_physical_cores_that_cannot_be_counted_cost_nothing_else(
    fake: FakeHost, error: ValueError | None
) -> None:
    def fail(*, logical: bool) -> None:
        if error:
            raise error

    fake.ps.cpu_count = fail
    fake.clock.wall_ns -= 3600 * 10**9  # which changes nothing
    (point,) = read(System(fake.host(), DEFAULTS))
    assert point.fields.keys() == EVERY - {"n_physical_cpus"}
    assert (point.fields["n_cpus"], point.fields["uptime"]) == (2, 1000)


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
def test_uptime_for_people(fake: FakeHost, seconds: int, text: str) -> None:
    fake.files["/proc/uptime"] = f"{seconds}.97 1467.75\n".encode()
    (point,) = read(System(fake.host(), DEFAULTS))
    assert (point.fields["uptime"], point.fields["uptime_format"]) == (seconds, text)
