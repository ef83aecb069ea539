import pytest

from pipeline.collectors import NoData
from pipeline.collectors.linux_sysctl_fs import LinuxSysctlFs
from pipeline.point import Point
from pipeline.settings import CollectorOptions

from .fakes import DEFAULTS, FakeHost, guarded, read, types

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


def test_a_file_that_is_missing_is_left_out_and_one_that_cannot_be_read_reported(
    fake: FakeHost,
) -> None:
    del fake.files[f"{FOLDER}/file-nr"]
    (point,) = read(LinuxSysctlFs(fake.host(), DEFAULTS))
    assert point.fields.keys() == {"inode-nr", "inode-free-nr"}
    fake.errors[f"{FOLDER}/inode-state"] = PermissionError("no")
    outcome = guarded(LinuxSysctlFs(fake.host(), DEFAULTS))
    assert (outcome.lines, outcome.lost_points) == ((), 2)
    assert outcome.problems.keys() == {"leaves out inode-state"}
    fake.errors.clear()
    del fake.files[f"{FOLDER}/inode-state"]
    with pytest.raises(NoData):
        read(LinuxSysctlFs(fake.host(), DEFAULTS))
