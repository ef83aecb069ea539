import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collectors import Guard
from pipeline.collectors.base import NoData
from pipeline.collectors.diskio import DiskIo
from pipeline.point import Point, decode

from .captured import DISKSTATS
from .fakes import DEFAULTS, FakeHost, types

PATH = "/proc/diskstats"


def row(name: str, *, busy: int = 5, count: int = 3) -> bytes:
    counted = [count] * 9 + [busy, count] + [0] * 6
    return f" 8 0 {name} {' '.join(map(str, counted))}\n".encode(errors="surrogateescape")


def read(fake: FakeHost, diskio: DiskIo, seconds: float = 1.0) -> dict[str, Point]:
    fake.clock.advance(seconds)
    return {point.tags["name"]: point for point in diskio.collect()}


def test_points(fake: FakeHost) -> None:
    diskio = DiskIo(fake.host(), DEFAULTS)
    fake.files[PATH] = DISKSTATS.replace(b" 296632 ", b" 296882 ")
    points = read(fake, diskio)
    assert list(points) == ["loop0", "vda", "vda1"]
    assert points["vda"] == Point(
        "diskio",
        {
            "reads": 300_250,
            "merged_reads": 24_750,
            "read_bytes": 13_951_922 * 512,
            "read_time": 286_601,
            "writes": 5_266_988,
            "merged_writes": 191_608,
            "write_bytes": 105_968_384 * 512,
            "write_time": 378_725,
            "iops_in_progress": 3,
            "io_time": 296_882,
            "weighted_io_time": 772_001,
            "io_util": 25.0,
        },
        {"name": "vda"},
    )
    assert points["vda1"].fields["iops_in_progress"] == 0
    assert points["vda1"].fields["io_util"] == 0.0
    assert {field for field, kind in types(points["vda"]).items() if kind is float} == {"io_util"}


def test_loop_devices_and_ram_disks_stay_out_by_default(fake: FakeHost) -> None:
    fake.files[PATH] += row("ram0") + row("dm-0") + row("sr0")
    guard = Guard(DiskIo(fake.host(), DEFAULTS), DEFAULTS, fake.clock)
    read_back = decode("\n".join(guard.run(1, {}).lines))
    assert [line.point.tags["name"] for line in read_back] == ["vda", "vda1", "dm-0", "sr0"]


def test_utilisation_spans_a_tenth_of_a_second_at_least(fake: FakeHost) -> None:
    fake.files[PATH] = row("sda", busy=100)
    diskio = DiskIo(fake.host(), DEFAULTS)
    fake.files[PATH] = row("sda", busy=110)
    assert "io_util" not in read(fake, diskio, 0.05)["sda"].fields
    assert read(fake, diskio, 0.05)["sda"].fields["io_util"] == pytest.approx(10.0)
    assert "io_util" not in read(fake, diskio, 0.05)["sda"].fields


def test_counters_that_began_anew_are_told_as_they_are(fake: FakeHost) -> None:
    fake.files[PATH] = row("sda", busy=2**32 - 1, count=2**32 - 1)
    diskio = DiskIo(fake.host(), DEFAULTS)
    fake.files[PATH] = row("sda", busy=7, count=1)
    fields = read(fake, diskio)["sda"].fields
    assert (fields["reads"], fields["io_time"]) == (1, 7)
    assert "io_util" not in fields


def test_new_disk_has_no_utilisation_yet_and_a_gone_one_no_point(fake: FakeHost) -> None:
    fake.files[PATH] = row("sda")
    diskio = DiskIo(fake.host(), DEFAULTS)
    fake.files[PATH] = row("sdb")
    points = read(fake, diskio)
    assert list(points) == ["sdb"]
    assert "io_util" not in points["sdb"].fields
    assert read(fake, diskio)["sdb"].fields["io_util"] == 0.0


def test_wall_clock_an_hour_back_changes_nothing(fake: FakeHost) -> None:
    fake.files[PATH] = row("sda", busy=100)
    diskio = DiskIo(fake.host(), DEFAULTS)
    fake.clock.wall_ns -= 3600 * 10**9
    fake.files[PATH] = row("sda", busy=200)
    assert read(fake, diskio)["sda"].fields["io_util"] == pytest.approx(10.0)


def test_names_that_need_care(fake: FakeHost) -> None:
    names = ["a,b=c", "größe", 'q"\\', "cciss!c0d0"]
    fake.files[PATH] = b"".join(map(row, [*names, "\udcff"]))
    assert list(read(fake, DiskIo(fake.host(), DEFAULTS))) == [*names, r"\xff"]


@pytest.mark.parametrize("columns", [11, 15, 17])
def test_a_device_with_a_blank_in_its_name_costs_no_other(fake: FakeHost, columns: int) -> None:
    counted = range(1, columns + 1)
    fake.files[PATH] = b"".join(
        f" 8 0 {name} {' '.join(map(str, counted))}\n".encode() for name in ("sda", "my  disk 2")
    )
    sda, odd = read(fake, DiskIo(fake.host(), DEFAULTS)).values()
    assert (sda.tags, odd.tags) == ({"name": "sda"}, {"name": "my  disk 2"})
    assert odd.fields == sda.fields
    assert (odd.fields["reads"], odd.fields["read_bytes"], odd.fields["io_time"]) == (1, 1536, 10)


@pytest.mark.parametrize(
    ("column", "field", "lost"),
    [(0, "reads", 1), (8, "iops_in_progress", 1), (9, "io_time", 1), (10, "weighted_io_time", 1)],
)
@pytest.mark.parametrize("figure", ["-1", "18446744073709551615", "x", "9" * 5000])
def test_a_figure_that_cannot_be_costs_itself_only(
    fake: FakeHost, column: int, field: str, lost: int, figure: str
) -> None:
    counted = ["3"] * 17
    counted[column] = figure
    fake.files[PATH] = row("sda") + f" 8 16 sdb {' '.join(counted)}\n".encode()
    outcome = Guard(DiskIo(fake.host(), DEFAULTS), DEFAULTS, fake.clock).run(1, {})
    sda, sdb = (line.point.fields for line in decode("\n".join(outcome.lines)))
    assert (sda.keys() - sdb.keys(), outcome.lost_points) == ({field}, lost)


def test_a_device_is_never_busy_for_longer_than_the_time(fake: FakeHost) -> None:
    fake.files[PATH] = row("sda", busy=100)
    diskio = DiskIo(fake.host(), DEFAULTS)
    fake.files[PATH] = row("sda", busy=5100)  # requests of 5 s that ended just now
    assert read(fake, diskio)["sda"].fields["io_util"] == 100.0


# Columns of Linux before 4.18, before 5.5, and since.
@given(
    st.sampled_from([11, 15, 17]).flatmap(
        lambda size: st.lists(st.integers(1, 2**63 // 512 - 1), min_size=size, max_size=size)
    )
)
def test_whatever_is_counted_is_a_point(counted: list[int]) -> None:
    fake = FakeHost()
    fake.files[PATH] = f"8 0 sda {' '.join(map(str, counted))}\n".encode()
    (point,) = DiskIo(fake.host(), DEFAULTS).collect()
    assert set(types(point).values()) == {int}
    assert point.fields["write_bytes"] == counted[6] * 512
    assert point.fields["weighted_io_time"] == counted[10]


def test_machine_without_disks_is_no_data(fake: FakeHost) -> None:
    fake.files[PATH] = b""
    with pytest.raises(NoData):
        read(fake, DiskIo(fake.host(), DEFAULTS))


def test_unreadable_file_is_a_failure_until_it_can_be_read(fake: FakeHost) -> None:
    fake.errors[PATH] = PermissionError()
    diskio = DiskIo(fake.host(), DEFAULTS)
    with pytest.raises(PermissionError):
        read(fake, diskio)
    fake.errors.clear()
    assert "io_util" not in read(fake, diskio)["vda"].fields
    assert "io_util" in read(fake, diskio)["vda"].fields
