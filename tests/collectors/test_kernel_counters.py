"""`kernel`: the counters in /proc/stat, of kernels old and new, and the entropy."""

import pytest

from pipeline.collectors import Guard
from pipeline.collectors.kernel import Kernel
from pipeline.point import Point, decode

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


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "changed", "lost"),
    [
        (b"", b"", {}, 0),
        (b"ctxt 13333", b"ctxt 9223372036854775807", {"context_switches": 2**63 - 1}, 0),
        (b"ctxt 13333", b"ctxt 18446744073709551615", {"context_switches": None}, 1),
        (b"ctxt 13333", b"ctxt many", {"context_switches": None}, 1),
        (b"ctxt 13333", b"ctxt", {"context_switches": None}, 0),
        (b"intr 1234567 0 9 0 0 0", b"intr 5", {"interrupts": 5}, 0),
        (b"processes 2345", b"processes -1", {"processes_forked": None}, 1),
        (b"processes 2345", b"procs_running 3", {"processes_forked": None}, 0),
        (b"btime 1699999000", b"btime nan", {"boot_time": None}, 1),
        (b"btime 1699999000\n", b"", {"boot_time": None}, 0),
        (b"btime 1699999000", b"page 5741 1808\nbtime 7", {"boot_time": 7}, 0),  # as Linux 2.4
        (b"processes", b"softirq 9 1 2\nprocesses", {}, 0),
    ],
)
def test_a_row_that_is_missing_or_no_number_costs_itself_only(
    fake: FakeHost,
    before: bytes,
    after: bytes,
    changed: dict[str, int | None],
    lost: int,
    *,
    container: bool,
) -> None:
    fake.files[STAT] = fake.files[STAT].replace(before, after)
    if container:
        fake.contain()
    outcome = Guard(Kernel(fake.host(), DEFAULTS), DEFAULTS, fake.clock).run(1, {})
    (line,) = decode("\n".join(outcome.lines))
    expected = {name: value for name, value in {**EVERY, **changed}.items() if value is not None}
    assert (line.point.fields, outcome.lost_points) == (expected, lost)


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
