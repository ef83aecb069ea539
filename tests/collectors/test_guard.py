import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, NoData, Omission, Silence
from pipeline.collectors.guard import Guard, Outcome
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
        self.clock = host.clock
        self.give: Callable[[], Iterable[Point | Omission]] = lambda: points("a", "b")

    def collect(self) -> Iterable[Point | Omission]:
        return self.give()


def points(*ids: str) -> list[Point]:
    return [Point("stub", {"value": 1}, {"id": each}) for each in ids]


def raising(error: BaseException) -> Callable[[], Iterator[Point]]:
    def give() -> Iterator[Point]:
        yield from points("a")
        raise error

    return give


@pytest.fixture
def stub(fake: FakeHost) -> Stub:
    return Stub(fake.host(), DEFAULTS)


def run(guard: Guard) -> Outcome:
    return guard.run(TIME, {"host": "h"})


def ids(outcome: Outcome) -> list[str]:
    return [line.split("id=")[1].split(" ")[0] for line in outcome.lines]


def select(stub: Stub, options: CollectorOptions, *names: str) -> list[str]:
    stub.give = lambda: points(*names)
    return ids(run(Guard(stub, options, ManualClock())))


def test_outcome(stub: Stub, fake: FakeHost) -> None:
    def give() -> Iterator[Point]:
        fake.clock.advance(0.25)
        yield Point("stub", {"value": 1}, {"id": "a"})

    stub.give = give
    guard = Guard(stub, DEFAULTS, fake.clock)
    assert guard.name == "stub"
    line = f"stub,host=h,id=a value=1i {TIME}"
    assert run(guard) == Outcome("stub", (line,), lost_points=0, seconds=0.25, problems={})


def test_failure_is_contained(stub: Stub) -> None:
    guard = Guard(stub, DEFAULTS, ManualClock())
    stub.give = raising(OSError(5, "Input/output\nerror"))
    outcome = run(guard)
    assert outcome.lines == ()
    assert outcome.error == "OSError: [Errno 5] Input/output error"


def test_failure_loses_what_the_last_good_reading_had(stub: Stub) -> None:
    guard = Guard(stub, DEFAULTS, ManualClock())
    good = stub.give
    stub.give = raising(OSError())
    assert run(guard).lost_points == 1
    stub.give = lambda: points("a", "b", "c")
    assert run(guard).lost_points == 0
    stub.give = raising(OSError())
    assert [run(guard).lost_points for _ in range(2)] == [3, 3]
    stub.give = good
    assert run(guard).lost_points == 0


def test_traceback_is_for_debugging(stub: Stub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stub.give = raising(OSError())
    run(Guard(stub, DEFAULTS, ManualClock()))
    assert caplog.records[0].exc_info


def test_what_ends_the_process_passes(stub: Stub) -> None:
    stub.give = raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(Guard(stub, DEFAULTS, ManualClock()))


def test_a_collector_cannot_end_the_process(stub: Stub) -> None:
    stub.give = raising(SystemExit(3))
    assert run(Guard(stub, DEFAULTS, ManualClock())).error == "SystemExit: 3"


def test_no_data_is_no_problem(stub: Stub) -> None:
    stub.give = raising(NoData())
    outcome = run(Guard(stub, DEFAULTS, ManualClock()))
    assert (outcome.lines, outcome.lost_points, outcome.problems) == ((), 0, {})


def test_a_figure_that_cannot_be_written_costs_itself_only(stub: Stub) -> None:
    guard = Guard(stub, DEFAULTS, ManualClock())
    figures: dict[str, FieldValue] = {"a": 2**64 - 1, "b": 1, "c": float("nan"), "d": 2.5}
    stub.give = lambda: [Point("stub", figures, {"id": "x"}), *points("y")]
    outcome = run(guard)
    assert outcome.lines[0] == f"stub,host=h,id=x b=1i,d=2.5 {TIME}"
    assert (len(outcome.lines), outcome.lost_points) == (2, 2)
    assert outcome.problems == {
        "has figures that cannot be written": (
            "stub {'id': 'x'}: field 'a' does not fit in 64 bits"
        )
    }
    stub.give = raising(OSError())
    assert run(guard).lost_points == 2  # points


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


def test_silence_is_counted_apart(stub: Stub) -> None:
    stub.give = lambda: [*points("a"), Silence("b", "no answer"), Omission("c", "no", points=5)]
    outcome = run(Guard(stub, DEFAULTS, ManualClock()))
    assert (len(outcome.lines), outcome.lost_points, outcome.silent_points) == (1, 5, 1)
    assert list(outcome.problems) == ["leaves out b", "leaves out c"]


@pytest.mark.parametrize("names", [("a\n", r"a\n"), ("a\\", r"a\x5c")])
def test_names_that_become_the_same_are_one_series(stub: Stub, names: tuple[str, str]) -> None:
    stub.give = lambda: points(*names)
    outcome = run(Guard(stub, DEFAULTS, ManualClock()))
    assert (len(outcome.lines), outcome.lost_points) == (1, 1)
    assert list(outcome.problems) == ["reads a series twice"]


@pytest.mark.parametrize("bad", [Point("stub", {"value": 2**63}), Point("stub\udcff", {"v": 1})])
def test_refused_point_costs_itself_only(stub: Stub, bad: Point) -> None:
    guard = Guard(stub, DEFAULTS, ManualClock())
    good = points("a", "b")
    stub.give = lambda: [good[0], bad, good[1]]
    outcome = run(guard)
    assert (ids(outcome), outcome.lost_points, outcome.error) == (["a", "b"], 1, None)
    assert list(outcome.problems) == ["has figures that cannot be written"]
    stub.give = lambda: good
    assert run(guard).problems == {}


def test_omission_is_lost_and_named(stub: Stub) -> None:
    stub.give = lambda: [*points("a"), Omission("/mnt/a", "no answer"), Omission("/mnt/b", "no")]
    outcome = run(Guard(stub, DEFAULTS, ManualClock()))
    assert (ids(outcome), outcome.lost_points) == (["a"], 2)
    assert list(outcome.warnings()) == [
        ("leaves out /mnt/a", "Collector stub leaves out /mnt/a: no answer"),
        ("leaves out /mnt/b", "Collector stub leaves out /mnt/b: no"),
    ]


def test_omission_is_no_data_of_its_own(stub: Stub) -> None:
    def give() -> Iterator[Omission]:
        yield Omission("/mnt/a", "no answer")
        raise NoData

    stub.give = give
    outcome = run(Guard(stub, DEFAULTS, ManualClock()))
    assert (outcome.lines, outcome.lost_points, outcome.error) == ((), 1, None)


def test_what_is_no_point_is_a_failure(stub: Stub) -> None:
    stub.give = lambda: [None]  # type: ignore[list-item]
    assert run(Guard(stub, DEFAULTS, ManualClock())).error is not None


def test_point_without_a_figure_is_no_line(stub: Stub) -> None:
    stub.give = lambda: [Point("stub", {}, {"id": "a"}), *points("b")]
    outcome = run(Guard(stub, DEFAULTS, ManualClock()))
    assert (ids(outcome), outcome.lost_points) == (["b"], 0)


def test_second_point_of_a_series_is_lost_not_merged(stub: Stub) -> None:
    twice = Point("stub", {"value": 2, "more": 3}, {"id": "a"})
    stub.give = lambda: [*points("a", "b"), twice]
    outcome = run(Guard(stub, DEFAULTS, ManualClock()))
    assert outcome.lines[0] == f"stub,host=h,id=a value=1i {TIME}"
    assert (ids(outcome), outcome.lost_points) == (["a", "b"], 1)
    assert outcome.problems == {"reads a series twice": "1 left out"}


def test_same_tags_of_another_measurement_are_another_series(stub: Stub) -> None:
    stub.give = lambda: [*points("a"), Point("other", {"value": 1}, {"id": "a"})]
    assert run(Guard(stub, DEFAULTS, ManualClock())).lost_points == 0


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
    assert select(stub, CollectorOptions(**options), *names.split()) == left.split()


def test_default_exclusions_hold_until_the_user_chooses(stub: Stub) -> None:
    stub.default_exclude = ("veth*",)
    assert select(stub, DEFAULTS, "eth0", "veth1") == ["eth0"]
    assert select(stub, CollectorOptions(exclude=()), "eth0", "veth1") == ["eth0", "veth1"]
    assert select(stub, CollectorOptions(exclude=("eth*",)), "eth0", "veth1") == ["veth1"]
    assert select(stub, CollectorOptions(include=("veth*",)), "eth0", "veth1") == ["veth1"]


def test_point_without_the_series_tag_is_always_wanted(stub: Stub) -> None:
    stub.give = lambda: [Point("stub", {"value": 1})]
    assert len(run(Guard(stub, CollectorOptions(include=("x",)), ManualClock())).lines) == 1


def test_globs_mean_nothing_to_a_collector_of_one_series(stub: Stub) -> None:
    stub.series_tag = None
    assert select(stub, CollectorOptions(exclude=("*",)), "a") == ["a"]


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
    stub.give = lambda: points(*names)
    options = CollectorOptions(exclude=tuple(exclude), max_series=max_series)
    outcome = run(Guard(stub, options, ManualClock()))
    wanted = [name for name in names if name not in exclude]
    assert ids(outcome) == list(dict.fromkeys(wanted))[:max_series]
    assert len(outcome.lines) + outcome.lost_points == len(wanted)
