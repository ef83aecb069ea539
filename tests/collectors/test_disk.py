import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.collectors import Guard, Omission, Silence
from pipeline.collectors.base import NoData
from pipeline.collectors.disk import Disk
from pipeline.point import Point, decode
from tests.agents import eventually

from .fakes import DEFAULTS, FakeHost, mount, statvfs, types

MOUNTS = "/proc/self/mountinfo"
Look = Callable[[str], os.statvfs_result]


def points(disk: Disk) -> list[Point]:
    read = list(disk.collect())
    assert not [item for item in read if isinstance(item, Omission)]
    return [item for item in read if isinstance(item, Point)]


def paths(disk: Disk) -> list[str]:
    return [point.tags["path"] for point in points(disk)]


def table(fake: FakeHost, *lines: str) -> FakeHost:
    """Mount what the lines say, such as `/dev/sda1 /data ext4`."""
    fake.files[MOUNTS] = mountinfo(*lines)
    return fake


def mountinfo(*lines: str) -> bytes:
    rows = []
    for number, line in enumerate(lines, start=20):
        device, path, fstype, options = f"{line} rw,relatime".split(" ")[:4]
        extra = ("", "shared:1 ", "shared:1 master:2 ")[number % 3]
        rows.append(
            f"{number} 1 254:{number} / {path} {options} {extra}- {fstype} {device} rw,discard\n"
        )
    return "".join(rows).encode(errors="surrogateescape")


def disk(fake: FakeHost, look: Look | None = None, **options: Any) -> Disk:
    return Disk(fake.host(look), replace(DEFAULTS, **options))


@pytest.fixture
def looked_at() -> list[str]:
    return []


@pytest.fixture
def look(looked_at: list[str]) -> Look:
    def remember(path: str) -> os.statvfs_result:
        looked_at.append(path)
        return statvfs()

    return remember


def test_point(fake: FakeHost) -> None:
    (point,) = points(disk(table(fake, "/dev/vda1 / ext4")))
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
    (point,) = points(disk(fake, lambda path: statvfs(f_files=0, f_ffree=0)))
    assert point.fields["inodes_used_percent"] == 0.0
    assert type(point.fields["inodes_used_percent"]) is float


@pytest.mark.parametrize(
    ("figures", "lacking"),
    [
        ({"f_files": -1}, "inodes_total inodes_used inodes_free inodes_used_percent"),
        ({"f_ffree": 201}, "inodes_used inodes_free inodes_used_percent"),
        ({"f_bavail": -5}, "free used_percent"),
        ({"f_bavail": 1001}, "free used_percent"),
        ({"f_bfree": -1}, "used used_percent"),
        ({"f_bfree": 1001}, "used used_percent"),
        ({"f_blocks": 2**61}, "total used"),  # in bytes, beyond 64 bits
    ],
)
def test_figures_that_cannot_be_are_left_out_one_by_one(
    fake: FakeHost, figures: dict[str, int], lacking: str
) -> None:
    whole = Guard(disk(fake), DEFAULTS, fake.clock).run(1, {})
    broken = Guard(disk(fake, lambda _: statvfs(**figures)), DEFAULTS, fake.clock).run(1, {})
    (its,), (all_of_them,) = (decode("\n".join(one.lines)) for one in (broken, whole))
    assert all_of_them.point.fields.keys() - its.point.fields.keys() == {*lacking.split()}
    assert broken.lost_points == len(lacking.split())


# ---- Which of them


def test_what_has_no_disk_of_its_own_is_not_looked_at(
    fake: FakeHost, look: Look, looked_at: list[str]
) -> None:
    pseudo = (
        *("tmpfs", "devtmpfs", "devfs", "iso9660", "overlay"),
        *("aufs", "squashfs", "autofs", "ramfs", "efivarfs"),
    )
    table(fake, "/dev/vda1 / ext4", *(f"{kind} /{kind} {kind}" for kind in pseudo))
    assert paths(disk(fake, look)) == looked_at == ["/"]


def test_what_has_no_size_stays_out(fake: FakeHost) -> None:
    table(fake, "/dev/vda1 / ext4", "proc /proc proc")
    empty = statvfs(f_blocks=0, f_bfree=0, f_bavail=0)
    assert paths(disk(fake, {"/": statvfs(), "/proc": empty}.__getitem__)) == ["/"]


@pytest.mark.parametrize(
    "fstype", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs"]
)
def test_those_of_other_machines_are_looked_at_on_request_only(
    fake: FakeHost, look: Look, looked_at: list[str], fstype: str
) -> None:
    table(fake, "/dev/vda1 / ext4", f"nas:/x /net {fstype}")
    assert paths(disk(fake, look)) == looked_at == ["/"]
    assert paths(disk(fake, look, network=True)) == ["/", "/net"]


def test_what_the_user_leaves_out_is_not_looked_at(
    fake: FakeHost, look: Look, looked_at: list[str]
) -> None:
    table(fake, "/dev/vda1 / ext4", "/dev/vdb1 /srv/a xfs", "x /srv/b fuse.x", "y /mnt fuse.y")
    assert paths(disk(fake, look, include=("/srv/*",), exclude=("*b",))) == looked_at == ["/srv/a"]


def test_what_container_engines_mount_stays_out_by_default(fake: FakeHost) -> None:
    pod = "/var/lib/kubelet/pods/0ab/volumes/x"
    table(fake, "/dev/vda1 / ext4", "/dev/vdb1 /var/lib/docker xfs", f"/dev/rbd0 {pod} ext4")
    assert paths(disk(fake)) == ["/", "/var/lib/docker"]
    assert paths(disk(fake, exclude=())) == ["/", "/var/lib/docker", pod]


@pytest.mark.parametrize("error", [FileNotFoundError(), PermissionError(), OSError(116, "stale")])
@pytest.mark.parametrize("fstype", ["ext4", "fuse.x"])
def test_one_that_cannot_be_looked_at_costs_no_other(
    fake: FakeHost, error: OSError, fstype: str
) -> None:
    def look(path: str) -> os.statvfs_result:
        if path == "/b":  # gone since the table was read, for example
            raise error
        return statvfs()

    table(fake, *(f"/dev{path} {path} {fstype}" for path in ("/a", "/b", "/c")))
    assert paths(disk(fake, look)) == ["/a", "/c"]


def test_any_other_failure_is_one_of_the_collector(fake: FakeHost) -> None:
    def look(path: str) -> os.statvfs_result:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        points(disk(table(fake, "x / ext4"), look))


def test_without_a_thread_to_ask_what_needs_none_is_told(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    omission, point = disk(table(fake, "a /a fuse.x", "/dev/b /b ext4")).collect()
    assert omission == Omission("/a", "RuntimeError: can't start new thread")
    assert isinstance(point, Point)
    assert point.tags["path"] == "/b"


def test_of_two_mounts_on_one_path_the_upper_counts(fake: FakeHost) -> None:
    table(fake, "/dev/old /data ext4", "/dev/new /data xfs", "/dev/a /h xfs", "tmpfs /h tmpfs")
    assert [point.tags["device"] for point in points(disk(fake))] == ["new"]


def test_nothing_but_pseudo_file_systems_is_no_data(fake: FakeHost) -> None:
    with pytest.raises(NoData):
        paths(disk(table(fake, "overlay / overlay")))


# ---- Names


@pytest.mark.parametrize(
    ("options", "mode"), [("rw,ro_x", "rw"), ("nosuid,ro", "ro"), ("rw,errors=remount-ro", "rw")]
)
def test_mode(fake: FakeHost, options: str, mode: str) -> None:
    (point,) = points(disk(table(fake, f"/dev/vda1 / ext4 {options}")))
    assert point.tags["mode"] == mode


def test_mode_of_a_file_system_that_became_read_only(fake: FakeHost) -> None:
    table(fake, "/dev/vda1 / ext4")
    fake.files[MOUNTS] = fake.files[MOUNTS].replace(b"rw,discard", b"ro,errors=remount-ro")
    (point,) = points(disk(fake))
    assert point.tags["mode"] == "ro"


def test_device_that_the_kernel_booted_from_is_named(fake: FakeHost) -> None:
    table(fake, "/dev/root / ext4", "/dev/root /x ext4")
    fake.files["/sys/dev/block/254:20/uevent"] = b"MAJOR=254\nDEVNAME=vda1\nDEVTYPE=partition\n"
    assert [point.tags["device"] for point in points(disk(fake))] == ["vda1", "root"]


def test_type_that_is_no_text(fake: FakeHost) -> None:
    (point,) = points(disk(table(fake, os.fsdecode(b"x / fuse.caf\xe9"))))
    assert point.tags["fstype"] == r"fuse.caf\xe9"


def test_logical_volume_is_named_as_telegraf_names_it(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "realpath", {"/dev/mapper/vg-root": "/dev/dm-0"}.get)
    table(fake, "/dev/mapper/vg-root / ext4", " /x ext4", "none /y ext4")
    assert [point.tags["device"] for point in points(disk(fake))] == ["dm-0", "none", "none"]


@pytest.mark.parametrize(
    ("written", "path", "tag"),
    [
        (r"/my\040disk", "/my disk", "/my disk"),
        (r"/a,b=c", "/a,b=c", "/a,b=c"),
        (r"/a\011b\012c", "/a\tb\nc", "/a\tb\nc"),
        (r"/a\134040b", r"/a\040b", r"/a\040b"),
        ("/a\rb", "/a\rb", "/a\rb"),
        (r"/a\043b", "/a#b", "/a#b"),
        ("/größe\u2028", "/größe\u2028", "/größe\u2028"),
        (os.fsdecode(b"/caf\xe9"), os.fsdecode(b"/caf\xe9"), r"/caf\xe9"),
        (r"/a\377b", os.fsdecode(b"/a\xffb"), r"/a\xffb"),
    ],
)
def test_paths_that_need_care(
    fake: FakeHost, look: Look, looked_at: list[str], written: str, path: str, tag: str
) -> None:
    made = disk(table(fake, f"/dev/sdb1 {written} vfat"), look)
    outcome = Guard(made, DEFAULTS, fake.clock).run(1, {})
    assert (len(outcome.lines), outcome.lost_points) == (1, 0)
    assert looked_at == [path]
    assert paths(made) == [tag]


@pytest.mark.parametrize("line", [b"", b"x", b"7 1 8:1 / / rw", b"7 1 8:1 / / rw - ext4", b" - "])
def test_broken_line_of_the_table_costs_itself_only(fake: FakeHost, line: bytes) -> None:
    fake.files[MOUNTS] = line + b"\n" + mountinfo("/dev/vdb1 /data ext4") + b"\n"
    assert paths(disk(fake)) == ["/data"]


# ---- The table


def test_table_is_read_anew_when_it_changed(fake: FakeHost) -> None:
    made = disk(table(fake, "/dev/vda1 / ext4"))
    assert paths(made) == ["/"]
    table(fake, "/dev/vda1 / ext4", "/dev/vdb1 /data ext4")
    assert paths(made) == ["/", "/data"]


def test_psutil_is_asked_each_time_where_there_is_no_table(fake: FakeHost) -> None:
    made = disk(fake)
    fake.ps.mounts = [mount("/", "/dev/vda1")]
    assert paths(made) == ["/"]
    fake.ps.mounts = [mount("/data", "")]
    (point,) = points(made)
    assert (point.tags["path"], point.tags["device"]) == ("/data", "none")


# ---- In a container


def test_mounts_are_those_of_the_host(
    fake: FakeHost, look: Look, looked_at: list[str], tmp_path: Path
) -> None:
    (tmp_path / "dev/mapper").mkdir(parents=True)
    (tmp_path / "dev/mapper/vg-data").symlink_to("../dm-7")
    fake.root, fake.proc = str(tmp_path), "/elsewhere/proc"
    table(fake, "overlay / overlay", "/dev/vda1 /etc/hosts ext4")  # the container's own
    fake.files["/elsewhere/proc/1/mountinfo"] = mountinfo(
        "/dev/vda1 / ext4", "/dev/mapper/vg-data /srv ext4", "/dev/mapper/no /x xfs"
    )
    read = points(disk(fake, look, include=("/", "/[sx]*")))
    assert [(point.tags["path"], point.tags["device"]) for point in read] == [
        ("/", "vda1"),
        ("/srv", "dm-7"),
        ("/x", "mapper/no"),
    ]
    assert looked_at == [f"{tmp_path}/", f"{tmp_path}/srv", f"{tmp_path}/x"]


def test_without_sight_of_the_hosts_mounts_the_containers_are_no_stand_in(fake: FakeHost) -> None:
    fake.root, fake.proc = "/host", "/host/proc"
    with pytest.raises(FileNotFoundError):
        paths(disk(table(fake, "/dev/vda1 /etc/hosts ext4")))
    fake.files["/host/proc/1/mountinfo"] = b""
    with pytest.raises(NoData):
        paths(disk(table(fake, "/dev/vda1 /etc/hosts ext4")))


# ---- Silence; the real thing is in test_hung.py


def test_only_what_may_hang_costs_a_thread(fake: FakeHost) -> None:
    threads: dict[str, bool] = {}

    def look(path: str) -> os.statvfs_result:
        threads[path] = threading.current_thread() is not threading.main_thread()
        return statvfs()

    table(
        *(fake, "/dev/vda1 / ext4", "tmpfs /run tmpfs", "/dev/vdb1 /run/a xfs"),
        *("auto /home autofs", "nas:/h /home/me/x nfs", "/dev/sdc1 /home/me/x/usb vfat"),
        *("/dev/sdd1 /homework ext4", "sdb /ntfs fuseblk", "x /unheard-of unheard-of"),
    )
    paths(disk(fake, look))
    assert {path for path, is_apart in threads.items() if is_apart} == {
        "/home/me/x/usb",
        "/ntfs",
        "/unheard-of",
    }
    assert {path for path, is_apart in threads.items() if not is_apart} == {
        "/",
        "/run/a",
        "/homework",
    }


def test_silence_is_an_omission_until_it_is_over(fake: FakeHost) -> None:
    speak = threading.Event()

    def look(path: str) -> os.statvfs_result:
        assert path != "/mnt/silent" or speak.wait(60)
        return statvfs()

    table(fake, "x /mnt/silent fuse.x", "y /mnt/other fuse.y", "/dev/vda1 / ext4")
    made = disk(fake, look, timeout_ms=500)
    for _ in range(3):
        silent, *others = made.collect()
        assert silent == Silence("/mnt/silent", "no answer within 500 ms")
        assert [item.tags["path"] for item in others if isinstance(item, Point)] == [
            "/mnt/other",
            "/",
        ]
    speak.set()
    eventually(lambda: all(isinstance(item, Point) for item in made.collect()), "it speaks")
    assert paths(made) == ["/mnt/silent", "/mnt/other", "/"]


def test_nothing_but_silence_is_an_omission_too(fake: FakeHost) -> None:
    speak = threading.Event()

    def look(path: str) -> os.statvfs_result:
        assert speak.wait(60)
        return statvfs()

    guard = Guard(disk(table(fake, "x / fuse.x"), look, timeout_ms=10), DEFAULTS, fake.clock)
    outcome = guard.run(1, {})
    assert (outcome.silent_points, outcome.lost_points) == (1, 0)
    assert outcome.problems == {"leaves out /": "no answer within 10 ms"}
    speak.set()


def test_one_that_took_a_silent_ones_place_is_asked(fake: FakeHost) -> None:
    speak = threading.Event()

    def look(path: str) -> os.statvfs_result:
        assert path == "/" or dead.is_set() or speak.wait(60)
        return statvfs()

    dead = threading.Event()
    made = disk(table(fake, "x /mnt fuse.x", "/dev/vda1 / ext4"), look, timeout_ms=500)
    assert [type(item) for item in made.collect()] == [Silence, Point]
    dead.set()
    table(fake, "/dev/vda1 / ext4", "x /mnt fuse.x")
    assert paths(made) == ["/", "/mnt"]
    speak.set()


def test_collector_made_anew_does_not_ask_again_who_is_silent(fake: FakeHost) -> None:
    asked, speak = [], threading.Event()

    def look(path: str) -> os.statvfs_result:
        asked.append(path)
        assert path == "/" or speak.wait(60)
        return statvfs()

    host = table(fake, "x /mnt fuse.x", "/dev/vda1 / ext4").host(look)
    for _ in range(3):
        made = Disk(host, replace(DEFAULTS, timeout_ms=500))
        assert [type(item) for item in made.collect()] == [Silence, Point]
    assert asked.count("/mnt") == 1
    speak.set()


# ---- In a service with a view of its own


def seen_by(*lines: str, number: int = 20) -> bytes:
    """A table whose devices have the numbers that the lines begin with."""
    rows = [line.split(" ", 1) for line in lines]
    return b"\n".join(
        f"{row} 1 {device} / {rest.split(' - ')[0]} - {rest.split(' - ')[1]}".encode()
        for row, (device, rest) in enumerate(rows, start=number)
    )


def test_a_services_view_of_the_file_systems_changes_nothing(fake: FakeHost) -> None:
    fake.files["/proc/1/mountinfo"] = seen_by(
        "8:1 / rw,relatime - ext4 /dev/sda1 rw",
        "8:2 /home rw,nosuid - ext4 /dev/sda2 rw",
        "8:3 /cdrom ro - ext4 /dev/sda3 ro",
        "8:4 /hidden rw - ext4 /dev/sda4 rw",
    )
    fake.files[MOUNTS] = seen_by(
        "8:1 / ro,relatime - ext4 /dev/sda1 rw",
        "8:2 /home ro,nosuid - ext4 /dev/sda2 rw",
        "8:3 /cdrom ro - ext4 /dev/sda3 ro",
        "8:1 /var/tmp rw - ext4 /dev/sda1 rw",  # PrivateTmp
        "8:1 /var/lib/metrics-pipeline rw - ext4 /dev/sda1 rw",  # StateDirectory
        "0:99 /hidden rw - tmpfs tmpfs rw",
        "8:9 /own rw - ext4 /dev/sdb1 rw",
        number=700,
    )
    assert [(p.tags["path"], p.tags["mode"]) for p in points(disk(fake))] == [
        ("/", "rw"),
        ("/home", "rw"),
        ("/cdrom", "ro"),
        ("/own", "rw"),
    ]
