from pipeline.collectors.swap import Swap
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, types


def test_point(fake: FakeHost) -> None:
    (point,) = Swap(fake.host(), DEFAULTS).collect()
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
    (point,) = Swap(fake.host(), DEFAULTS).collect()
    assert set(point.fields.values()) == {0}
    assert type(point.fields["used_percent"]) is float
