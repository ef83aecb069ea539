import pytest

from pipeline.collectors import Guard
from pipeline.collectors.mem import Mem
from pipeline.point import Point, decode

from .fakes import DEFAULTS, KIB, FakeHost, types

MEMINFO = "/proc/meminfo"


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


def test_what_a_kernel_does_not_count_is_0(fake: FakeHost) -> None:
    counted = fake.files[MEMINFO].splitlines(keepends=True)
    fake.files[MEMINFO] = b"".join(line for line in counted if not line.startswith(b"Huge"))
    (point,) = Mem(fake.host(), DEFAULTS).collect()
    assert point.fields["dirty"] == 376 * KIB
    assert point.fields["huge_pages_total"] == 0
    assert point.fields["huge_page_size"] == 0


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize(
    ("line", "lacking"),
    [
        (b"Committed_AS: 18446744073709551608 kB", "committed_as"),
        (b"SwapFree: 18446744073709346016 kB", "swap_free"),
        (b"SwapFree: 4000128 kB", "swap_free"),
        (b"HugePages_Free: 18446744073709551615", "huge_pages_free"),
        (b"HugePages_Free: -1", "huge_pages_free"),
        (b"Dirty: nonsense", "dirty"),
        (b"Buffers: 1 000 kB", ""),
        (b"Mapped: 1_000 kB", "mapped"),
        (b"Buffers: many kB", "buffered"),
        (b"SReclaimable: ?", "cached sreclaimable"),
        (b"MemAvailable: ?", "available available_percent used used_percent"),
        (b"MemTotal: ?", "total available_percent used used_percent"),
        (b"VmallocTotal: " + b"9" * 5000 + b" kB", "vmalloc_total"),
    ],
)
def test_a_figure_that_cannot_be_costs_itself_only(
    fake: FakeHost, line: bytes, lacking: str, *, container: bool
) -> None:
    key = line.partition(b":")[0]
    lines = fake.files[MEMINFO].splitlines()
    fake.files[MEMINFO] = b"\n".join(line if one.startswith(key + b":") else one for one in lines)
    if container:
        fake.contain()
    outcome = Guard(Mem(fake.host(), DEFAULTS), DEFAULTS, fake.clock).run(1, {})
    (read,) = decode("\n".join(outcome.lines))
    every = Mem(FakeHost().host(), DEFAULTS).collect()
    assert {key for point in every for key in point.fields} - read.point.fields.keys() == {
        *lacking.split()
    }
    assert outcome.lost_points == len(lacking.split())


@pytest.mark.parametrize("line", [b"", b"nonsense", b":", b"New: 5", b"\xff\xfe: 1 kB"])
def test_a_line_of_another_shape_costs_nothing(fake: FakeHost, line: bytes) -> None:
    (whole,) = Mem(fake.host(), DEFAULTS).collect()
    fake.files[MEMINFO] = line + b"\n" + fake.files[MEMINFO] + line + b"\n"
    assert list(Mem(fake.host(), DEFAULTS).collect()) == [whole]
