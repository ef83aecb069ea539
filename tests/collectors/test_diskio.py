import pytest

from pipeline.collectors import NoData
from pipeline.collectors.diskio import DiskIo
from pipeline.point import Point

from .captured import DISKSTATS
from .fakes import DEFAULTS, FakeHost, guarded, types, written

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
    points = written(guarded(DiskIo(fake.host(), DEFAULTS)))
    assert [point.tags["name"] for point in points] == ["vda", "vda1", "dm-0", "sr0"]


def test_utilisation_spans_a_tenth_of_a_second_at_least(fake: FakeHost) -> None:
    fake.files[PATH] = row("sda", busy=100)
    diskio = DiskIo(fake.host(), DEFAULTS)
    fake.files[PATH] = row("sda", busy=110)
    assert "io_util" not in read(fake, diskio, 0.05)["sda"].fields
    assert read(fake, diskio, 0.05)["sda"].fields["io_util"] == pytest.approx(10.0)
    assert "io_util" not in read(fake, diskio, 0.05)["sda"].fields


@pytest.mark.parametrize(
    ("before", "now", "util"),
    [
        (100, 200, 10.0),
        (100, 5100, 100.0),  # requests of 5 s that ended just now
        (2**32 - 1, 7, None),  # it began anew
    ],
)
def test_utilisation_is_that_of_the_time_by_whichever_wall_clock(
    fake: FakeHost, before: int, now: int, util: float | None
) -> None:
    fake.files[PATH] = row("sda", busy=before)
    diskio = DiskIo(fake.host(), DEFAULTS)
    fake.clock.wall_ns -= 3600 * 10**9
    fake.files[PATH] = row("sda", busy=now, count=1)
    fields = read(fake, diskio)["sda"].fields
    assert (fields["reads"], fields["io_time"], fields.get("io_util")) == (1, now, util)


def test_new_disk_has_no_utilisation_yet_and_a_gone_one_no_point(fake: FakeHost) -> None:
    fake.files[PATH] = row("sda")
    diskio = DiskIo(fake.host(), DEFAULTS)
    fake.files[PATH] = row("sdb")
    points = read(fake, diskio)
    assert list(points) == ["sdb"]
    assert "io_util" not in points["sdb"].fields
    assert read(fake, diskio)["sdb"].fields["io_util"] == 0.0


def test_names_that_need_care(fake: FakeHost) -> None:
    names = ["a,b=c", "größe", 'q"\\', "cciss!c0d0"]
    fake.files[PATH] = b"".join(map(row, [*names, "\udcff"]))
    assert list(read(fake, DiskIo(fake.host(), DEFAULTS))) == [*names, r"\xff"]


# Columns of Linux before 4.18, before 5.5, and since.
@pytest.mark.parametrize("columns", [11, 15, 17])
def test_a_device_with_a_blank_in_its_name_costs_no_other(fake: FakeHost, columns: int) -> None:
    counted = " ".join(map(str, range(2**52, 2**52 + columns)))
    fake.files[PATH] = "".join(
        f" 8 0 {name} {counted}\n" for name in ("sda", "my  disk 2")
    ).encode()
    points = read(fake, DiskIo(fake.host(), DEFAULTS))
    assert list(points) == ["sda", "my  disk 2"]
    for point in points.values():
        names = ("reads", "write_bytes", "io_time", "weighted_io_time")
        values = [2**52, 2**61 + 6 * 512, 2**52 + 9, 2**52 + 10]
        assert [point.fields[name] for name in names] == values


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
