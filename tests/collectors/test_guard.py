import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collectors import Guard, Host, NoData, Omission, Outcome, Silence
from pipeline.collectors.base import Collector
from pipeline.point import FieldValue, Point
from pipeline.settings import CollectorOptions
from tests.clocks import ManualClock

from .fakes import DEFAULTS, FakeHost

TIME = 1_700_000_000_000_000_000


class Stub(Collector):
    """A collector that gives what a test sets; points may be made late, as a generator does."""

    name = "stub"
    series_tag: str | None = "id"

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        self.give: Callable[[], Iterable[Any]] = list

    def collect(self) -> Iterable[Point | Omission]:
        return self.give()


def points(*ids: str) -> list[Point]:
    return [Point("stub", {"value": 1}, {"id": each}) for each in ids]


def raising(error: BaseException, *before: Point | Omission) -> Callable[[], Iterator[Any]]:
    def give() -> Iterator[Point | Omission]:
        yield from before or points("a")
        raise error

    return give


@pytest.fixture
def stub(fake: FakeHost) -> Stub:
    return Stub(fake.host(), DEFAULTS)


def run(guard: Guard) -> Outcome:
    return guard.run(TIME, {"host": "h"})


def given_by(stub: Stub, *items: Point | Omission, **options: Any) -> Outcome:
    """The outcome of a first run in which the collector gives these."""
    stub.give = lambda: items
    return run(Guard(stub, CollectorOptions(**options), ManualClock()))


def ids(outcome: Outcome) -> list[str]:
    return [line.split("id=")[1].split(" ")[0] for line in outcome.lines]


def test_outcome(stub: Stub, fake: FakeHost) -> None:
    def give() -> Iterator[Point]:
        fake.clock.advance(0.25)
        yield Point("stub", {"value": 1}, {"id": "a"})

    stub.give = give
    guard = Guard(stub, DEFAULTS, fake.clock)
    assert guard.name == "stub"
    line = f"stub,host=h,id=a value=1i {TIME}"
    assert run(guard) == Outcome("stub", (line,), lost_points=0, seconds=0.25, problems={})


def test_failure_is_contained_and_loses_what_the_last_good_reading_had(
    stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    guard = Guard(stub, DEFAULTS, ManualClock())
    stub.give = raising(OSError(5, "Input/output\nerror"))
    outcome = run(guard)
    assert (outcome.lines, outcome.lost_points) == ((), 1)
    assert outcome.error == "OSError: [Errno 5] Input/output error"
    assert caplog.records[0].exc_info  # for debugging
    bad = Point("stub", {"value": 1, "bad": 2**63}, {"id": "b"})
    stub.give = lambda: [*points("a"), bad, Omission("c", "no", points=2), Silence("d", "no")]
    assert run(guard).lost_points == 3
    stub.give = raising(OSError())
    assert [run(guard).lost_points for _ in range(2)] == [5, 5]  # points, and no figures


def test_no_collector_ends_the_process_but_what_does_passes(stub: Stub) -> None:
    guard = Guard(stub, DEFAULTS, ManualClock())
    stub.give = raising(SystemExit(3))
    assert run(guard).error == "SystemExit: 3"
    stub.give = lambda: [None]
    assert str(run(guard).error).startswith("AttributeError: ")
    stub.give = raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(guard)


def test_no_data_is_no_problem_and_what_was_omitted_before_is(stub: Stub) -> None:
    stub.give = raising(NoData(), *points("a"))
    outcome = run(Guard(stub, DEFAULTS, ManualClock()))
    assert (outcome.lines, outcome.lost_points, outcome.problems) == ((), 0, {})
    stub.give = raising(NoData(), Omission("/mnt/a", "no answer"))
    outcome = run(Guard(stub, DEFAULTS, ManualClock()))
    assert (outcome.lines, outcome.lost_points, outcome.error) == ((), 1, None)


def test_a_figure_that_cannot_be_written_costs_itself_only(stub: Stub) -> None:
    figures: dict[str, FieldValue] = {"a": 2**64 - 1, "b": 1, "c": float("nan"), "d": 2.5}
    outcome = given_by(stub, Point("stub", figures, {"id": "x"}), *points("y"))
    assert outcome.lines[0] == f"stub,host=h,id=x b=1i,d=2.5 {TIME}"
    assert (len(outcome.lines), outcome.lost_points) == (2, 2)
    assert outcome.problems == {
        "has figures that cannot be written": (
            "stub {'id': 'x'}: field 'a' does not fit in 64 bits"
        )
    }


def test_points_that_come_again_get_the_time_and_the_tags_of_their_reading(stub: Stub) -> None:
    stub.repeats_points = True
    bad = Point("stub", {"value": 1, "bad": 2**63}, {"id": "b"})
    same = [*points("a"), bad]
    stub.give = lambda: same
    guard = Guard(stub, DEFAULTS, ManualClock())
    for time_ns, host in ((1, "h"), (2, "h"), (3, "other"), (4, "other")):
        outcome = guard.run(time_ns, {"host": host})
        assert outcome.lines == tuple(f"stub,host={host},id={i} value=1i {time_ns}" for i in "ab")
        assert outcome.lost_points == 1


A, B = points("a", "b")
DOUBLE = {"reads a series twice": "1 left out"}
UNWRITABLE = "has figures that cannot be written"


@pytest.mark.parametrize(
    ("items", "written", "lost", "silent", "problems"),
    [
        ([A, Point("other", {"value": 1}, {"id": "a"})], "aa", 0, 0, {}),
        ([Point("stub", {}, {"id": "a"}), B], "b", 0, 0, {}),
        ([A, B, Point("stub", {"value": 2, "more": 3}, {"id": "a"})], "ab", 1, 0, DOUBLE),
        # Names that become the same in line protocol.
        (points("a\n", r"a\n"), [r"a\n"], 1, 0, DOUBLE),
        (points("a\\", r"a\x5c"), [r"a\x5c"], 1, 0, DOUBLE),
        (
            [A, Point("stub", {"value": 2**63}), B],
            *("ab", 1, 0, {UNWRITABLE: "stub: field 'value' does not fit in 64 bits"}),
        ),
        (
            [A, Point("s\udcff", {"v": 1}), B],
            *("ab", 1, 0, {UNWRITABLE: r"s\udcff: 's\udcff' holds what is no text"}),
        ),
        (
            [A, Silence("b", "no answer"), Omission("c", "no", points=5)],
            *("a", 5, 1, {"leaves out b": "no answer", "leaves out c": "no"}),
        ),
    ],
)
def test_what_is_written_and_what_is_lost(
    stub: Stub,
    items: list[Point | Omission],
    written: Iterable[str],
    lost: int,
    silent: int,
    problems: dict[str, str],
) -> None:
    outcome = given_by(stub, *items)
    assert ids(outcome) == [*written]
    assert (outcome.lost_points, outcome.silent_points, outcome.error) == (lost, silent, None)
    assert outcome.problems == problems
    said = [(what, f"Collector stub {what}: {why}") for what, why in problems.items()]
    assert list(outcome.warnings()) == said
    assert "more=" not in "".join(outcome.lines)  # of two of a series the first counts


@pytest.mark.parametrize(
    ("options", "names", "left"),
    [
        ({"include": ("eth*", "wlan0"), "exclude": ("eth[1-9]",)}, "eth0 eth1 wlan0", "eth0 wlan0"),
        ({"exclude": ("cpu[0-9]*",)}, "cpu-total cpu0 cpu17", "cpu-total"),
        ({"include": ("/mnt/*", "/")}, "/ /boot /mnt/a/b /MNT/a", "/ /mnt/a/b"),
        ({"include": ()}, "a b", ""),
        ({"exclude": ("a*",), "max_series": 2}, "a1 a2 b c", "b c"),
    ],
    ids=["both", "but-the-total", "whole-and-case", "nothing", "before-max-series"],
)
def test_globs_choose_series(stub: Stub, options: dict[str, Any], names: str, left: str) -> None:
    assert ids(given_by(stub, *points(*names.split()), **options)) == left.split()


def test_default_exclusions_hold_until_the_user_chooses(stub: Stub) -> None:
    stub.default_exclude = ("veth*",)
    both = points("eth0", "veth1")
    assert ids(given_by(stub, *both)) == ["eth0"]
    assert ids(given_by(stub, *both, exclude=())) == ["eth0", "veth1"]
    assert ids(given_by(stub, *both, exclude=("eth*",))) == ["veth1"]
    assert ids(given_by(stub, *both, include=("veth*",))) == ["veth1"]


def test_point_without_the_series_tag_is_always_wanted(stub: Stub) -> None:
    assert len(given_by(stub, Point("stub", {"value": 1}), include=("x",)).lines) == 1
    stub.series_tag = None
    assert ids(given_by(stub, *points("a"), exclude=("*",))) == ["a"]


def test_surplus_is_left_out_alike_and_counted_each_time_and_a_problem_from_then_on(
    stub: Stub,
) -> None:
    guard = Guard(stub, CollectorOptions(max_series=2), ManualClock())
    for surplus in (("c",), ("c", "d"), (), ("c",)):
        names = ("a", "b", *surplus)
        stub.give = lambda names=names: points(*names)  # type: ignore[misc]
        outcome = run(guard)
        assert (ids(outcome), outcome.lost_points) == (["a", "b"], len(surplus))
        assert list(outcome.problems) == ["has too many series"]


@given(
    names=st.lists(st.sampled_from("abcdefg"), max_size=20),
    exclude=st.lists(st.sampled_from("abc"), max_size=3),
    max_series=st.integers(1, 8),
)
def test_every_wanted_point_is_a_line_or_counted(
    names: list[str], exclude: list[str], max_series: int
) -> None:
    stub = Stub(FakeHost().host(), DEFAULTS)
    outcome = given_by(stub, *points(*names), exclude=tuple(exclude), max_series=max_series)
    wanted = [name for name in names if name not in exclude]
    assert ids(outcome) == list(dict.fromkeys(wanted))[:max_series]
    assert len(outcome.lines) + outcome.lost_points == len(wanted)
