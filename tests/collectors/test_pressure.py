"""`pressure`: how long programs wait, where the kernel measures it."""

import errno

import pytest

from pipeline.collectors import Guard
from pipeline.collectors.pressure import Pressure
from pipeline.point import Point, decode
from pipeline.settings import CollectorOptions

from .fakes import DEFAULTS, FakeHost, read, types

FILES = ("/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io")
OFF = OSError(errno.EOPNOTSUPP, "Operation not supported")


def guard(fake: FakeHost, options: CollectorOptions = DEFAULTS) -> Guard:
    return Guard(Pressure(fake.host(), options), options, fake.clock)


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
    outcome = guard(fake, CollectorOptions(enabled=enabled)).run(1, {})
    assert (outcome.lines, outcome.problems, outcome.lost_points) == ((), {}, 0)
    del fake.errors[FILES[0]]
    assert len(guard(fake).run(1, {}).lines) == 1


def test_what_cannot_be_read_is_reported_and_what_is_silent_counts_apart(fake: FakeHost) -> None:
    fake.errors = {FILES[1]: PermissionError("no"), FILES[2]: TimeoutError("no answer")}
    outcome = guard(fake).run(1, {})
    assert len(outcome.lines) == 1
    assert outcome.problems.keys() == {"leaves out memory", "leaves out io"}
    assert (outcome.lost_points, outcome.silent_points) == (2, 2)


@pytest.mark.parametrize(
    ("row", "fields", "lost"),
    [
        (b"some avg10=100.00 avg60=1.00 avg300=0.00 total=9223372036854775807", "0 1 3 t", 0),
        (b"some avg10=0.00 avg60=0.00 avg300=0.00 total=18446744073709551615", "0 1 3", 1),
        (b"some avg10=100.01 avg60=-1 avg300=nan total=1", "t", 3),
        (b"some avg10= avg60 avg300=1.5.2 total=1_0", "", 4),
        (b"some total=5 avg300=0.10 new=7 avg60=0.20 avg10=0.30", "0 1 3 t", 0),
        (b"some", "", 0),
        (b"", "", 0),
        (b"\xff\xfe avg10=1.00", "", 0),
    ],
)
def test_a_figure_that_cannot_be_costs_itself_only(
    fake: FakeHost, row: bytes, fields: str, lost: int
) -> None:
    names = {"0": "avg10", "1": "avg60", "3": "avg300", "t": "total"}
    fake.files[FILES[0]] = row + b"\n"
    outcome = guard(fake, CollectorOptions(include=("cpu",))).run(1, {})
    points = [line.point for line in decode("\n".join(outcome.lines))]
    assert [field for point in points for field in point.fields] == [
        names[each] for each in fields.split()
    ]
    assert outcome.lost_points == lost
