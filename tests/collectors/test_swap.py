import pytest

from pipeline.collectors import Guard
from pipeline.collectors.swap import Swap
from pipeline.point import Point, decode

from .fakes import DEFAULTS, FakeHost, read, types


def test_point(fake: FakeHost) -> None:
    (point,) = read(Swap(fake.host(), DEFAULTS))
    assert point == Point(
        "swap",
        {
            "total": 4_096_000_000,
            "used": 1_024_000_000,
            "free": 3_072_000_000,
            "used_percent": 25.0,
            "in": 40_960,
            "out": 81_920,
        },
    )
    assert {field for field, kind in types(point).items() if kind is not int} == {"used_percent"}


def test_host_without_swap(fake: FakeHost) -> None:
    fake.files["/proc/meminfo"] = b"SwapTotal: 0 kB\nSwapFree: 0 kB\n"
    fake.files["/proc/vmstat"] = b"pswpin 0\npswpout 0\n"
    (point,) = read(Swap(fake.host(), DEFAULTS))
    assert set(point.fields.values()) == {0}
    assert type(point.fields["used_percent"]) is float


@pytest.mark.parametrize(
    ("free", "left"),
    [
        # lxcfs of a container without swap
        (b"18446744073709346016 kB", {"total", "in", "out"}),
        # and where the kernel counts a page twice
        (b"4000128 kB", {"total", "in", "out"}),
        (b"nonsense", {"total", "in", "out"}),
    ],
)
def test_free_space_that_cannot_be_costs_itself_and_what_is_made_of_it(
    fake: FakeHost, free: bytes, left: set[str]
) -> None:
    fake.files["/proc/meminfo"] = fake.files["/proc/meminfo"].replace(b"3000000 kB", free)
    outcome = Guard(Swap(fake.host(), DEFAULTS), DEFAULTS, fake.clock).run(1, {})
    (line,) = decode("\n".join(outcome.lines))
    assert ({*line.point.fields}, outcome.lost_points) == (left, 3)


def test_a_counter_that_cannot_be_costs_itself_only(fake: FakeHost) -> None:
    fake.files["/proc/vmstat"] = fake.files["/proc/vmstat"].replace(b"pswpin 10", b"pswpin -1")
    outcome = Guard(Swap(fake.host(), DEFAULTS), DEFAULTS, fake.clock).run(1, {})
    (line,) = decode("\n".join(outcome.lines))
    assert line.point.fields["out"] == 81_920
    assert ("in" in line.point.fields, outcome.lost_points) == (False, 1)


def test_counters_that_cannot_be_read_cost_themselves_only(fake: FakeHost) -> None:
    fake.errors["/proc/vmstat"] = OSError(5, "Input/output error")
    outcome = Guard(Swap(fake.host(), DEFAULTS), DEFAULTS, fake.clock).run(1, {})
    (line,) = decode("\n".join(outcome.lines))
    assert line.point.fields["free"] == 3_072_000_000
    assert not {"in", "out"} & line.point.fields.keys()
    assert (outcome.lost_points, outcome.error) == (2, None)
