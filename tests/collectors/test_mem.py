from pipeline.collectors.mem import Mem
from pipeline.point import Point

from .fakes import DEFAULTS, KIB, FakeHost, types


def test_point(fake: FakeHost) -> None:
    (point,) = Mem(fake.host(), DEFAULTS).collect()
    assert point == Point(
        "mem",
        {
            "total": 16_000_000 * KIB,
            "available": 12_000_000 * KIB,
            "available_percent": 75.0,
            "used": 4_000_000 * KIB,
            "used_percent": 25.0,
            "free": 9_000_000 * KIB,
            "active": 2_000_000 * KIB,
            "inactive": 4_000_000 * KIB,
            "buffered": 100_000 * KIB,
            "cached": 3_000_000 * KIB,  # with what is reclaimable of slab
            "shared": 10_000 * KIB,
            "slab": 300_000 * KIB,
            "sreclaimable": 250_000 * KIB,
            "sunreclaim": 50_000 * KIB,
            "dirty": 376 * KIB,
            "write_back": 8 * KIB,
            "write_back_tmp": 4 * KIB,
            "mapped": 48_332 * KIB,
            "page_tables": 1_480 * KIB,
            "commit_limit": 12_342_048 * KIB,
            "committed_as": 302_416 * KIB,
            "swap_total": 4_000_000 * KIB,
            "swap_free": 3_000_000 * KIB,
            "swap_cached": 16 * KIB,
            "high_total": 0,
            "high_free": 0,
            "low_total": 0,
            "low_free": 0,
            "vmalloc_total": 34_359_738_367 * KIB,
            "vmalloc_used": 14_164 * KIB,
            "vmalloc_chunk": 0,
            "huge_page_size": 2_048 * KIB,
            "huge_pages_total": 12,
            "huge_pages_free": 7,
        },
    )
    floats = {field for field, kind in types(point).items() if kind is float}
    assert floats == {"available_percent", "used_percent"}
    assert set(types(point).values()) == {float, int}
