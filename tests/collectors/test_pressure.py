"""`pressure`: how long programs wait, where the kernel measures it."""

import errno

import pytest

from pipeline.collectors.pressure import Pressure
from pipeline.point import Point
from pipeline.settings import CollectorOptions

from .fakes import DEFAULTS, FakeHost, guarded, read, types

FILES = ("/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io")
OFF = OSError(errno.EOPNOTSUPP, "Operation not supported")


def test_points(fake: FakeHost) -> None:
    points = read(Pressure(fake.host(), DEFAULTS))
    tags = [f"{point.tags['resource']} {point.tags['type']}" for point in points]
    assert tags == ["cpu some", "memory some", "memory full", "io some", "io full"]
    first = {"avg10": 31.14, "avg60": 20.64, "avg300": 22.57, "total": 11602669571}
    assert points[0] == Point("pressure", first, {"resource": "cpu", "type": "some"})
    assert types(points[1]) == {"avg10": float, "avg60": float, "avg300": float, "total": int}


def test_before_linux_5_13_the_processor_has_one_row(fake: FakeHost) -> None:
    usual = read(Pressure(fake.host(), DEFAULTS))
    fake.files[FILES[0]] = fake.files[FILES[0]].splitlines(keepends=True)[0]
    assert read(Pressure(fake.host(), DEFAULTS)) == usual


@pytest.mark.parametrize("error", [FileNotFoundError(), OFF], ids=["before 4.20", "psi=0"])
@pytest.mark.parametrize("enabled", [None, True])
def test_a_kernel_that_does_not_measure_is_no_complaint(
    fake: FakeHost, error: OSError, enabled: bool | None
) -> None:
    fake.errors = dict.fromkeys(FILES, error)
    outcome = guarded(Pressure(fake.host(), CollectorOptions(enabled=enabled)))
    assert (outcome.lines, outcome.problems, outcome.lost_points) == ((), {}, 0)
    del fake.errors[FILES[0]]
    assert len(guarded(Pressure(fake.host(), DEFAULTS)).lines) == 1


def test_what_cannot_be_read_is_reported_and_what_is_silent_counts_apart(fake: FakeHost) -> None:
    fake.errors = {FILES[1]: PermissionError("no"), FILES[2]: TimeoutError("no answer")}
    outcome = guarded(Pressure(fake.host(), DEFAULTS))
    assert len(outcome.lines) == 1
    assert outcome.problems.keys() == {"leaves out memory", "leaves out io"}
    assert (outcome.lost_points, outcome.silent_points) == (2, 2)
