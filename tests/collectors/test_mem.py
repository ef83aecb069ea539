from types import SimpleNamespace

from pipeline.collectors.mem import Mem
from pipeline.point import Point

from .fakes import FakeHost, types


def test_point(fake: FakeHost) -> None:
    (point,) = Mem(fake.host()).collect()
    assert point == Point(
        "mem",
        {
            "total": 16_000_000_000,
            "available": 12_000_000_000,
            "available_percent": 75.0,
            "used": 4_000_000_000,
            "used_percent": 25.0,
            "free": 9_000_000_000,
            "active": 2_000_000_000,
            "inactive": 4_000_000_000,
            "buffered": 100_000_000,
            "cached": 3_000_000_000,
            "shared": 10_000_000,
            "slab": 300_000_000,
        },
    )
    floats = {field for field, kind in types(point).items() if kind is float}
    assert floats == {"available_percent", "used_percent"}
    assert set(types(point).values()) == {float, int}


def test_platform_that_counts_less(fake: FakeHost) -> None:
    fake.ps.virtual_memory = lambda: SimpleNamespace(total=4, available=4, free=3)
    (point,) = Mem(fake.host()).collect()
    assert point.fields == {
        "total": 4,
        "available": 4,
        "available_percent": 100.0,
        "used": 0,
        "used_percent": 0.0,
        "free": 3,
    }
    assert type(point.fields["used_percent"]) is float
