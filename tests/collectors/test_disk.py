import os
from typing import Any

import pytest

from pipeline.collectors.collector import Host, NoData
from pipeline.collectors.disk import Disk
from pipeline.point import Point

from .fakes import FakeHost, mount, statvfs, types

MOUNTS = "/proc/self/mounts"


def paths(disk: Disk) -> list[str]:
    return [point.tags["path"] for point in disk.collect()]


def test_point(fake: FakeHost) -> None:
    (point,) = Disk(fake.host()).collect()
    assert point == Point(
        "disk",
        {
            "total": 4_096_000,
            "used": 819_200,
            "free": 2_457_600,
            "used_percent": 25.0,
            "inodes_total": 200,
            "inodes_used": 50,
            "inodes_free": 150,
            "inodes_used_percent": 25.0,
        },
        {"path": "/", "device": "vda1", "fstype": "ext4", "mode": "rw"},
    )
    floats = {field for field, kind in types(point).items() if kind is float}
    assert floats == {"used_percent", "inodes_used_percent"}
    assert set(types(point).values()) == {float, int}


def test_file_system_without_inodes_of_its_own(fake: FakeHost) -> None:
    (point,) = Disk(fake.host(lambda path: statvfs(f_files=0, f_ffree=0))).collect()
    assert point.fields["inodes_used_percent"] == 0.0
    assert type(point.fields["inodes_used_percent"]) is float


def test_what_has_no_disk_of_its_own_stays_out(fake: FakeHost) -> None:
    pseudo = ["tmpfs", "devtmpfs", "devfs", "iso9660", "overlay", "aufs", "squashfs", "autofs"]
    fake.ps.mounts += [mount(f"/{kind}", kind, kind) for kind in pseudo]
    fake.ps.mounts += [mount("/proc", "proc", "proc")]
    looked_at = []

    def look(path: str) -> os.statvfs_result:
        looked_at.append(path)
        return statvfs(f_blocks=0, f_bfree=0, f_bavail=0) if path == "/proc" else statvfs()

    assert paths(Disk(fake.host(look))) == ["/"]
    assert looked_at == ["/", "/proc"]


@pytest.mark.parametrize("error", [FileNotFoundError(), PermissionError(), OSError(116, "stale")])
def test_one_that_cannot_be_looked_at_costs_no_other(fake: FakeHost, error: OSError) -> None:
    fake.ps.mounts = [mount(path, f"/dev{path}") for path in ("/a", "/b", "/c")]

    def look(path: str) -> os.statvfs_result:
        if path == "/b":
            raise error
        return statvfs()

    assert paths(Disk(fake.host(look))) == ["/a", "/c"]


def test_of_two_mounts_on_one_path_the_upper_counts(fake: FakeHost) -> None:
    fake.ps.mounts += [mount("/data", "/dev/old"), mount("/data", "nas:/new", "nfs4")]
    fake.ps.mounts += [mount("/hidden", "/dev/vdb1"), mount("/hidden", "tmpfs", "tmpfs")]
    points = list(Disk(fake.host()).collect())
    assert [point.tags["device"] for point in points] == ["vda1", "nas:/new"]


@pytest.mark.parametrize(
    ("options", "mode"), [("rw,ro_x", "rw"), ("nosuid,ro", "ro"), ("errors=remount-ro", "unknown")]
)
def test_mode(fake: FakeHost, options: str, mode: str) -> None:
    fake.ps.mounts = [mount("/", "/dev/vda1", opts=options)]
    (point,) = Disk(fake.host()).collect()
    assert point.tags["mode"] == mode


def test_logical_volume_is_named_as_telegraf_names_it(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "realpath", {"/dev/mapper/vg-root": "/dev/dm-0"}.get)
    fake.ps.mounts = [mount("/", "/dev/mapper/vg-root"), mount("/x", "")]
    points = list(Disk(fake.host()).collect())
    assert [point.tags["device"] for point in points] == ["dm-0", "none"]


def test_mounts_are_read_again_only_when_they_changed(fake: FakeHost) -> None:
    fake.files[MOUNTS] = b"/dev/vda1 / ext4 rw 0 0\n"
    disk = Disk(fake.host())
    paths(disk)
    paths(disk)
    assert fake.ps.calls == ["disk_partitions"]
    fake.files[MOUNTS] += b"/dev/vdb1 /data ext4 rw 0 0\n"
    fake.ps.mounts.append(mount("/data", "/dev/vdb1"))
    assert paths(disk) == ["/", "/data"]


def test_mounts_are_read_each_time_where_their_table_is_not(fake: FakeHost) -> None:
    disk = Disk(fake.host())
    paths(disk)
    fake.ps.mounts = [mount("/data", "/dev/vdb1")]
    assert paths(disk) == ["/data"]


def test_nothing_but_pseudo_file_systems_is_no_data(fake: FakeHost) -> None:
    fake.ps.mounts = [mount("/", "overlay", "overlay")]
    with pytest.raises(NoData):
        paths(Disk(fake.host()))


def test_platform_without_statvfs(fake: FakeHost) -> None:
    def missing(path: str) -> Any:
        raise FileNotFoundError(path)

    fake.ps.mounts = [mount("C:\\", "C:\\", "NTFS", "rw,fixed")]
    (point,) = Disk(Host(fake.ps, fake.clock, None, missing)).collect()
    assert point.fields == {"total": 1000, "used": 200, "free": 600, "used_percent": 25.0}
