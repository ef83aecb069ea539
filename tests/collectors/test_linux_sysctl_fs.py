import pytest

from pipeline.collectors import Guard, NoData
from pipeline.collectors.linux_sysctl_fs import LinuxSysctlFs
from pipeline.point import Point, decode
from pipeline.settings import CollectorOptions

from .fakes import DEFAULTS, FakeHost, read, types

FOLDER = "/proc/sys/fs"
CHOICE = {"file-nr": 1568, "file-max": 2**63 - 1, "inode-nr": 35952, "inode-free-nr": 12957}
OTHERS = {
    "inode-preshrink-nr": 0,
    "dentry-nr": 64340,
    "dentry-unused-nr": 55274,
    "dentry-age-limit": 45,
    "dentry-want-pages": 0,
    "aio-nr": 2048,
    "aio-max-nr": 65536,
}


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (DEFAULTS, CHOICE),
        (CollectorOptions(exclude=()), {**CHOICE, **OTHERS}),
        (CollectorOptions(include=("aio-*",), exclude=("*-max-*",)), {"aio-nr": 2048}),
    ],
)
def test_point(fake: FakeHost, options: CollectorOptions, fields: dict[str, int]) -> None:
    (point,) = read(LinuxSysctlFs(fake.host(), options))
    assert point == Point("linux_sysctl_fs", fields)
    assert {*types(point).values()} == {int}


@pytest.mark.parametrize(
    ("file", "text", "changed", "lost"),
    [
        ("file-nr", b"1\t0\t18446744073709551615\n", {"file-nr": 1}, 0),  # before Linux 5.11
        ("file-nr", b"18446744073709551615\t0\t5\n", {"file-nr": None, "file-max": 5}, 1),
        ("file-nr", b"1\t0\n", {"file-nr": 1, "file-max": None}, 1),
        ("file-nr", b"", {"file-nr": None, "file-max": None}, 2),
        ("inode-state", b"-5\tmany\n", {"inode-nr": None, "inode-free-nr": None}, 2),
        ("inode-state", b"7 3 0 0 0 0 0 8 9\n", {"inode-nr": 7, "inode-free-nr": 3}, 0),
        ("dentry-state", b"\xff", {}, 0),  # which nobody wants
    ],
)
def test_a_figure_that_cannot_be_costs_itself_only(
    fake: FakeHost, file: str, text: bytes, changed: dict[str, int | None], lost: int
) -> None:
    fake.files[f"{FOLDER}/{file}"] = text
    outcome = Guard(LinuxSysctlFs(fake.host(), DEFAULTS), DEFAULTS, fake.clock).run(1, {})
    told = {
        name: value
        for line in decode("\n".join(outcome.lines))
        for name, value in line.point.fields.items()
    }
    expected = {name: value for name, value in {**CHOICE, **changed}.items() if value is not None}
    assert (told, outcome.lost_points) == (expected, lost)


def test_a_file_that_is_missing_is_left_out_and_one_that_cannot_be_read_reported(
    fake: FakeHost,
) -> None:
    del fake.files[f"{FOLDER}/file-nr"]
    (point,) = read(LinuxSysctlFs(fake.host(), DEFAULTS))
    assert point.fields.keys() == {"inode-nr", "inode-free-nr"}
    fake.errors[f"{FOLDER}/inode-state"] = PermissionError("no")
    outcome = Guard(LinuxSysctlFs(fake.host(), DEFAULTS), DEFAULTS, fake.clock).run(1, {})
    assert (outcome.lines, outcome.lost_points) == ((), 2)
    assert outcome.problems.keys() == {"leaves out inode-state"}
    fake.errors.clear()
    del fake.files[f"{FOLDER}/inode-state"]
    with pytest.raises(NoData):
        read(LinuxSysctlFs(fake.host(), DEFAULTS))
