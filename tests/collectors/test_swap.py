from pipeline.collectors.swap import Swap
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, guarded, read, types, written


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


def test_counters_that_cannot_be_read_cost_themselves_only(fake: FakeHost) -> None:
    fake.errors["/proc/vmstat"] = OSError(5, "Input/output error")
    outcome = guarded(Swap(fake.host(), DEFAULTS))
    (point,) = written(outcome)
    assert point.fields.keys() == {"total", "free", "used", "used_percent"}
    assert (outcome.lost_points, outcome.error) == (2, None)
