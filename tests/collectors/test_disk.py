import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.collectors import NoData, Omission, Silence
from pipeline.collectors.disk import Disk
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, Hang, guarded, mount, read, statvfs, types, written

MOUNTS = "/proc/self/mountinfo"
NO_DISK = (
    *("tmpfs", "devtmpfs", "devfs", "iso9660", "overlay"),
    *("aufs", "squashfs", "autofs", "ramfs", "efivarfs"),
)
NETWORK = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs")
DOCKER, POD = "/var/lib/docker/x", "/var/lib/kubelet/pods/0ab/volumes/x"
Look = Callable[[str], os.statvfs_result]


def paths(disk: Disk) -> list[str]:
    return [point.tags["path"] for point in read(disk)]


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


def failing(errors: Mapping[str, BaseException]) -> Look:
    """A look that fails at these paths."""

    def look(path: str) -> os.statvfs_result:
        if path in errors:
            raise errors[path]
        return statvfs()

    return look


@dataclass
class Remember:
    """A look that remembers where."""

    paths: list[str] = field(default_factory=list)

    def __call__(self, path: str) -> os.statvfs_result:
        self.paths.append(path)
        return statvfs()


def test_point(fake: FakeHost) -> None:
    (point,) = read(disk(table(fake, "/dev/vda1 / ext4")))
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
    (point,) = read(disk(fake, lambda path: statvfs(f_files=0, f_ffree=0)))
    assert point.fields["inodes_used_percent"] == 0.0
    assert type(point.fields["inodes_used_percent"]) is float


@pytest.mark.parametrize(
    ("stat", "lacking"),
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
    fake: FakeHost, stat: dict[str, int], lacking: str
) -> None:
    outcome = guarded(disk(fake, lambda _: statvfs(**stat)))
    (whole,), (broken,) = read(disk(fake)), written(outcome)
    assert whole.fields.keys() - broken.fields.keys() == {*lacking.split()}
    assert outcome.lost_points == len(lacking.split())


# ---- Which of them


@pytest.mark.parametrize(
    ("lines", "options", "reported"),
    [
        ([f"{fstype} /{fstype} {fstype}" for fstype in NO_DISK], {}, []),
        *(
            ([f"nas:/x /net {fstype}"], {"network": network}, network * ["/net"])
            for fstype in NETWORK
            for network in (False, True)
        ),
        (
            ["/dev/vdb1 /srv/a xfs", "x /srv/b fuse.x", "y /mnt fuse.y"],
            *({"include": ("/", "/srv/*"), "exclude": ("*b",)}, ["/srv/a"]),
        ),
        (["/dev/a /var/lib/docker xfs", f"/dev/b {POD} ext4"], {}, ["/var/lib/docker"]),
        ([f"/dev/a {DOCKER} xfs", f"/dev/b {POD} ext4"], {"exclude": ()}, [DOCKER, POD]),
    ],
)
def test_what_is_not_reported_is_not_looked_at(
    fake: FakeHost, lines: list[str], options: dict[str, Any], reported: list[str]
) -> None:
    look = Remember()
    made = disk(table(fake, "/dev/vda1 / ext4", *lines), look, **options)
    assert paths(made) == sorted(look.paths) == ["/", *reported]


def test_what_has_no_size_stays_out(fake: FakeHost) -> None:
    table(fake, "/dev/vda1 / ext4", "proc /proc proc")
    empty = statvfs(f_blocks=0, f_bfree=0, f_bavail=0)
    assert paths(disk(fake, {"/": statvfs(), "/proc": empty}.__getitem__)) == ["/"]
    with pytest.raises(NoData):
        paths(disk(table(fake, "overlay / overlay")))


@pytest.mark.parametrize("error", [FileNotFoundError(), PermissionError(), OSError(116, "stale")])
@pytest.mark.parametrize("fstype", ["ext4", "fuse.x"])
def test_one_that_cannot_be_looked_at_costs_no_other(
    fake: FakeHost, error: OSError, fstype: str
) -> None:
    table(fake, *(f"/dev{path} {path} {fstype}" for path in ("/a", "/b", "/c")))
    assert paths(disk(fake, failing({"/b": error}))) == ["/a", "/c"]


def test_any_other_failure_is_one_of_the_collector(fake: FakeHost) -> None:
    with pytest.raises(ZeroDivisionError):
        paths(disk(table(fake, "x /a ext4"), failing({"/a": ZeroDivisionError()})))


def test_of_two_mounts_on_one_path_the_upper_counts(fake: FakeHost) -> None:
    table(fake, "/dev/old /data ext4", "/dev/new /data xfs", "/dev/a /h xfs", "tmpfs /h tmpfs")
    assert [point.tags["device"] for point in read(disk(fake))] == ["new"]


# ---- Names


@pytest.mark.parametrize(
    ("mount", "system", "mode"),
    [
        ("rw,ro_x", "rw", "rw"),
        ("nosuid,ro", "rw", "ro"),
        ("rw,errors=remount-ro", "rw", "rw"),
        ("rw", "ro,errors=remount-ro", "ro"),  # it became read-only
    ],
)
def test_mode(fake: FakeHost, mount: str, system: str, mode: str) -> None:
    table(fake, f"/dev/vda1 / ext4 {mount}").change(MOUNTS, b"rw,discard", system.encode())
    assert [point.tags["mode"] for point in read(disk(fake))] == [mode]


def test_devices_are_named_as_telegraf_names_them_and_types_that_are_no_text(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "realpath", {"/dev/mapper/vg-root": "/dev/dm-0"}.get)
    table(
        *(fake, "/dev/root / ext4", "/dev/root /x ext4", "/dev/mapper/vg-root /y ext4"),
        *(" /z ext4", os.fsdecode(b"none /none fuse.caf\xe9")),
    )
    fake.files["/sys/dev/block/254:20/uevent"] = b"MAJOR=254\nDEVNAME=vda1\nDEVTYPE=partition\n"
    points = read(disk(fake))
    assert [point.tags["device"] for point in points] == ["vda1", "root", "dm-0", "none", "none"]
    assert points[-1].tags["fstype"] == r"fuse.caf\xe9"


@pytest.mark.parametrize(
    ("written", "path"),
    [
        (r"/my\040disk", "/my disk"),
        (r"/a,b=c", "/a,b=c"),
        (r"/a\011b\012c", "/a\tb\nc"),
        (r"/a\134040b", r"/a\040b"),
        ("/a\rb", "/a\rb"),
        (r"/a\043b", "/a#b"),
        ("/größe\u2028", "/größe\u2028"),
        (os.fsdecode(b"/caf\xe9"), os.fsdecode(b"/caf\xe9")),
        (r"/a\377b", os.fsdecode(b"/a\xffb")),
    ],
)
def test_paths_that_need_care(fake: FakeHost, written: str, path: str) -> None:
    look = Remember()
    outcome = guarded(made := disk(table(fake, f"/dev/sdb1 {written} vfat"), look))
    assert (len(outcome.lines), outcome.lost_points) == (1, 0)
    assert look.paths == [path]
    assert paths(made) == [os.fsencode(path).decode(errors="backslashreplace")]


# ---- The table


@pytest.mark.parametrize("line", [b"", b"x", b"7 1 8:1 / / rw", b"7 1 8:1 / / rw - ext4", b" - "])
def test_broken_line_of_the_table_costs_itself_only(fake: FakeHost, line: bytes) -> None:
    fake.files[MOUNTS] = line + b"\n" + mountinfo("/dev/vdb1 /data ext4") + b"\n"
    assert paths(disk(fake)) == ["/data"]


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
    (point,) = read(made)
    assert (point.tags["path"], point.tags["device"]) == ("/data", "none")


def test_a_containers_own_mounts_are_no_stand_in_for_those_of_its_host(
    fake: FakeHost, tmp_path: Path
) -> None:
    look = Remember()
    (tmp_path / "dev/mapper").mkdir(parents=True)
    (tmp_path / "dev/mapper/vg-data").symlink_to("../dm-7")
    fake.contain(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        paths(disk(fake))
    fake.files["/proc/1/mountinfo"] = b""
    with pytest.raises(NoData):
        paths(disk(fake))
    fake.files["/proc/1/mountinfo"] = mountinfo(
        "/dev/vda1 / ext4", "/dev/mapper/vg-data /srv ext4", "/dev/mapper/no /x xfs"
    )
    points = read(disk(fake, look, include=("/", "/[sx]*")))
    assert [(point.tags["path"], point.tags["device"]) for point in points] == [
        ("/", "vda1"),
        ("/srv", "dm-7"),
        ("/x", "mapper/no"),
    ]
    assert look.paths == [f"{tmp_path}/", f"{tmp_path}/srv", f"{tmp_path}/x"]


# ---- Silence; the real thing is in test_hung.py


def test_without_a_thread_to_ask_what_needs_none_is_told(fake: FakeHost) -> None:
    table(
        *(fake, "/dev/vda1 / ext4", "tmpfs /run tmpfs", "/dev/vdb1 /run/a xfs"),
        *("auto /home autofs", "nas:/h /home/me/x nfs", "/dev/sdc1 /home/me/x/usb vfat"),
        *("/dev/sdd1 /homework ext4", "sdb /ntfs fuseblk", "x /unheard-of unheard-of"),
    )
    fake.runner.refusal = RuntimeError("can't start new thread")
    items = list(disk(fake).collect())
    why = "RuntimeError: can't start new thread"
    asked_aside = ("/home/me/x/usb", "/ntfs", "/unheard-of")
    assert [item for item in items if isinstance(item, Omission)] == [
        Omission(path, why) for path in asked_aside
    ]
    points = [item.tags["path"] for item in items if isinstance(item, Point)]
    assert points == ["/", "/run/a", "/homework"]


def test_silence_is_an_omission_until_it_is_over_for_a_collector_made_anew_too(
    fake: FakeHost,
) -> None:
    hung, asked = {"/silent"}, []

    def look(path: str) -> os.statvfs_result:
        asked.append(path)
        if path in hung:
            raise Hang
        return statvfs()

    table(fake, "x /silent fuse.x", "y /other fuse.y", "/dev/vda1 / ext4")
    for _ in range(3):
        silent, *others = disk(fake, look, timeout_ms=500).collect()
        assert silent == Silence("/silent", "no answer within 500 ms")
        told = [item.tags["path"] for item in others if isinstance(item, Point)]
        assert told == ["/other", "/"]
    assert asked.count("/silent") == 1
    hung.clear()
    fake.runner.wake()
    assert paths(disk(fake, look)) == ["/silent", "/other", "/"]


def test_nothing_but_silence_is_an_omission_too(fake: FakeHost) -> None:
    outcome = guarded(disk(table(fake, "x /a fuse.x"), failing({"/a": Hang()}), timeout_ms=10))
    assert (outcome.silent_points, outcome.lost_points) == (1, 0)
    assert outcome.problems == {"leaves out /a": "no answer within 10 ms"}


def test_one_that_took_a_silent_ones_place_is_asked(fake: FakeHost) -> None:
    errors: dict[str, BaseException] = {"/mnt": Hang()}
    made = disk(table(fake, "x /mnt fuse.x", "/dev/vda1 / ext4"), failing(errors))
    assert [type(item) for item in made.collect()] == [Silence, Point]
    errors.clear()
    assert [type(item) for item in made.collect()] == [Silence, Point]
    table(fake, "/dev/vda1 / ext4", "x /mnt fuse.x")
    assert paths(made) == ["/", "/mnt"]


# ---- In a service with a view of its own


OF_ALL = b"""\
20 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
21 1 8:2 / /home rw,nosuid - ext4 /dev/sda2 rw
22 1 8:3 / /cdrom ro - ext4 /dev/sda3 ro
23 1 8:4 / /hidden rw - ext4 /dev/sda4 rw
"""
OF_SERVICE = b"""\
700 1 8:1 / / ro,relatime - ext4 /dev/sda1 rw
701 1 8:2 / /home ro,nosuid - ext4 /dev/sda2 rw
702 1 8:3 / /cdrom ro - ext4 /dev/sda3 ro
703 1 8:1 / /var/tmp rw - ext4 /dev/sda1 rw
704 1 8:1 / /var/lib/metrics-pipeline rw - ext4 /dev/sda1 rw
705 1 0:99 / /hidden rw - tmpfs tmpfs rw
706 1 8:9 / /own rw - ext4 /dev/sdb1 rw
"""


def test_a_services_view_of_the_file_systems_changes_nothing(fake: FakeHost) -> None:
    fake.files |= {"/proc/1/mountinfo": OF_ALL, MOUNTS: OF_SERVICE}
    modes = {point.tags["path"]: point.tags["mode"] for point in read(disk(fake))}
    assert modes == {"/": "rw", "/home": "rw", "/cdrom": "ro", "/own": "rw"}
