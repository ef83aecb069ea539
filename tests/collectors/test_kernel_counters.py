"""`kernel`: the counters in /proc/stat, of kernels old and new, and the entropy."""

import pytest

from pipeline.collectors.kernel import Kernel
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, read, types

STAT, ENTROPY = "/proc/stat", "/proc/sys/kernel/random/entropy_avail"
EVERY = {
    "context_switches": 13333,
    "interrupts": 1234567,
    "processes_forked": 2345,
    "boot_time": 1699999000,
    "entropy_avail": 256,
}


def test_point(fake: FakeHost) -> None:
    (point,) = read(Kernel(fake.host(), DEFAULTS))
    assert point == Point("kernel", EVERY)
    assert {*types(point).values()} == {int}


def test_the_file_of_the_entropy_may_be_missing_and_the_clock_be_set(fake: FakeHost) -> None:
    del fake.files[ENTROPY]
    kernel = Kernel(fake.host(), DEFAULTS)
    assert [point.fields.keys() for point in read(kernel)] == [EVERY.keys() - {"entropy_avail"}]
    fake.files[STAT] = fake.files[STAT].replace(b"btime 1699999000", b"btime 1800000000")
    fake.clock.advance(60.0)
    (point,) = read(kernel)
    assert point.fields["boot_time"] == 1_800_000_000


def test_what_cannot_be_read_is_reported(fake: FakeHost) -> None:
    fake.errors[ENTROPY] = PermissionError("no")
    kernel = Kernel(fake.host(), DEFAULTS)
    omission, point = kernel.collect()
    assert isinstance(point, Point)
    assert getattr(omission, "what", None) == "entropy_avail"
    fake.clock.advance(100.0)
    fake.errors[STAT] = IsADirectoryError()
    with pytest.raises(IsADirectoryError):
        list(kernel.collect())
