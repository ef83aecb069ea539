import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clock import Tick
from pipeline.collectors import Guard, Silence
from pipeline.spool import Gap, Spool, SpoolError
from tests.agent.recording import SECOND, Recording, Stub
from tests.agents import times
from tests.clocks import START_NS
from tests.spool.stores import history

HELD = 360
Made = Callable[..., Recording]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Made]:
    made: list[Recording] = []

    def make(*stubs: Stub, **options: int) -> Recording:
        made.append(Recording(tmp_path, *stubs, **options))
        return made[-1]

    yield make
    for one in made:
        one.spool.close()


@contextmanager
def nothing_can_be_written() -> Iterator[None]:
    """No file of this process can grow, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_reading_is_committed_with_one_time_and_the_common_tags(bench: Made) -> None:
    one = bench(Stub("a", "x", "y"), Stub("b", "z"))
    assert one.record() == {}
    (block,) = history(one.spool.path.parent)
    series = ("a,host=h1,id=x", "a,host=h1,id=y", "b,host=h1,id=z")
    assert block == "".join(f"{each} f=1i {SECOND}\n" for each in series)
    assert (one.spool.contents().ticks, one.lost) == (1, {})
    assert one.health.last_reading is not None
    assert (one.health.last_reading.points, set(one.health.last_reading.collectors)) == (
        3,
        {"a", "b"},
    )


@pytest.mark.parametrize(
    ("where", "seconds", "lost"),
    [((Guard, "run"), [1, 4, 5], {"tick_missed": 4}), ((Spool, "append"), [1, 2, 3, 4, 5], {})],
    ids=["before it is taken", "when it is committed"],
)
def test_a_surprise_costs_the_reading_that_it_keeps_from_being_taken(
    bench: Made,
    monkeypatch: pytest.MonkeyPatch,
    where: tuple[type, str],
    seconds: list[int],
    lost: dict[str, int],
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of order")

    one = bench(Stub("a", "x", "y"))
    one.record()
    with monkeypatch.context() as patch:
        patch.setattr(*where, fail)
        for _ in range(2):
            with pytest.raises(RuntimeError):
                one.record()
    one.record()
    one.record()
    assert (one.seconds, one.lost) == (seconds, lost)
    # It is reported once the clock is set, which is 1970 here.
    assert [(gap.cause, gap.readings) for gap in one.spool.gaps()] == [("tick_missed", 2)][
        : len(lost)
    ]


def test_a_collector_that_fails_costs_its_own_points_and_no_others(bench: Made) -> None:
    good, bad = Stub("good", "x"), Stub("bad", "y", "z")
    one = bench(bad, good)
    one.record()
    bad.failure = OSError("out of order")
    assert one.record() == {"bad": "OSError: out of order"}
    assert one.lost == {"collector_failed": 2}
    assert [block.count("good") for block in history(one.spool.path.parent)] == [1, 1]
    bad.failure = None
    assert one.record() == {}
    assert one.lost == {"collector_failed": 2}
    bad.failure = good.failure = OSError("out of order")
    one.record()  # of which nothing is left, so that there is no row
    assert (one.spool.contents().ticks, one.lost) == (3, {"collector_failed": 5})


def test_who_does_not_answer_is_a_trouble_and_counted_until_it_is_over(bench: Made) -> None:
    stub = Stub("temp", "x")
    one = bench(stub)
    stub.silences = [Silence(name, "no answer") for name in ("hdd", "bmc")]
    for _ in range(2):
        assert one.record() == {}
    assert one.lost == {"collector_failed": 4}
    assert one.health.troubles() == {
        "collector temp": "leaves out hdd: no answer; leaves out bmc: no answer"
    }
    stub.silences = []
    one.record()
    assert (one.lost, one.health.troubles()) == ({"collector_failed": 4}, {})


def test_a_problem_of_a_collector_is_shown_while_it_lasts_and_logged_when_it_begins_and_ends(
    bench: Made, caplog: pytest.LogCaptureFixture
) -> None:
    bad = Stub("bad", "x")
    one = bench(bad)
    for attempt in range(3):
        bad.failure = OSError(f"try {attempt}")
        one.record()
    assert one.health.troubles() == {"collector bad": "fails: OSError: try 0"}
    bad.failure, bad.ids = None, ("x", "x")
    one.record()
    assert one.health.troubles() == {"collector bad": "reads a series twice: 1 left out"}
    bad.ids = ("x",)
    one.record()
    assert one.health.troubles() == {}
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "Collector bad fails: OSError: try 0"),
        ("WARNING", "Collector bad reads a series twice: 1 left out"),
        ("INFO", "Collector bad works again, it no longer fails"),
        ("INFO", "Collector bad works again, it no longer reads a series twice"),
    ]


def test_a_collector_that_is_switched_off_has_no_problem_any_more(bench: Made) -> None:
    bad = Stub("bad", "x")
    bad.failure = OSError()
    one = bench(bad)
    one.record()
    one.recorder.change([], {})
    assert one.health.troubles() == {}


def test_missed_ticks_are_counted_in_points(bench: Made) -> None:
    one = bench(Stub("a", "x", "y"))
    one.record()
    one.record(missed=3)
    one.record()
    assert one.lost == {"tick_missed": 6}


def test_what_the_bound_on_series_leaves_out_is_counted(bench: Made) -> None:
    one = bench(Stub("a", "x", "y", "z"), max_series=2)
    one.record()
    assert (one.spool.contents().points, one.lost) == (2, {"left_out": 1})


def test_while_nothing_can_be_written_readings_are_held_told_once_and_kept_in_order(
    bench: Made, caplog: pytest.LogCaptureFixture
) -> None:
    one = bench(Stub("a", "x"))
    one.record()
    with nothing_can_be_written():
        for _ in range(3):
            with pytest.raises(SpoolError, match="cannot be written"):
                one.record()
    assert one.seconds == [1]
    assert set(one.health.troubles()) == {"spool"}
    one.record()
    assert one.seconds == [1, 2, 3, 4, 5]
    assert (one.lost, one.health.troubles()) == ({}, {})
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "held in memory" in caplog.messages[0]
    assert caplog.messages[1] == "The spool takes readings again"


def test_a_close_commits_what_is_held_and_no_reading_is_taken_after_it(bench: Made) -> None:
    one = bench(Stub("a", "x"))
    with nothing_can_be_written(), pytest.raises(SpoolError):
        one.record()
    one.commit()
    with pytest.raises(SpoolError, match="collection was stopped"):
        one.record()
    assert one.seconds == [1]


@contextmanager
def spool_out_of_order() -> Iterator[None]:
    with patch.object(Spool, "append", side_effect=RuntimeError("out of order")):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("fails", [nothing_can_be_written, spool_out_of_order])
def test_readings_beyond_what_memory_holds_are_lost_the_oldest_first_and_counted(
    bench: Made, fails: Callable[[], AbstractContextManager[None]]
) -> None:
    stub = Stub("a", "x", "y")
    one = bench(stub)
    one.record()
    with fails():
        for number in range(HELD + 5):
            stub.failure = OSError("out of order") if number == 1 else None
            with pytest.raises((SpoolError, RuntimeError)):
                one.record(missed={0: 3, 2: 1, 5: 3}.get(number, 0))
    one.record()
    assert one.seconds == [1, *range(7, HELD + 8)]
    # Of the five that are dropped four have two points each; the collector of the other one failed,
    # and of the one missed after that nothing is known.
    assert one.lost == {"disk_full": 8, "collector_failed": 2, "tick_missed": 2 * (3 + 3)}
    assert set(one.spool.gaps()) == {
        Gap("tick_missed", SECOND, 7 * SECOND, 3 + 1 + 3),
        Gap("disk_full", 2 * SECOND, 6 * SECOND, 5),
    }


def test_readings_that_are_held_get_their_time_when_the_clock_is_set(bench: Made) -> None:
    one = bench(Stub("a", "x"))
    ticks = [Tick(5 * SECOND, 0), Tick(15 * SECOND, 2), Tick(START_NS, 0, START_NS - 25 * SECOND)]
    for tick in ticks:
        with nothing_can_be_written(), pytest.raises(SpoolError):
            one.recorder.record(tick)
    one.commit()
    right = [START_NS - 20 * SECOND, START_NS - 10 * SECOND, START_NS]
    assert times(one.spool.path.parent) == right
    blocks = history(one.spool.path.parent)
    assert [int(block.rpartition(" ")[2]) for block in blocks] == right
    (gap,) = one.spool.gaps()
    assert (gap.start_ns, gap.stop_ns) == tuple(right[:2])


@pytest.mark.slow
@settings(max_examples=20)  # it syncs
@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=20))
def test_readings_at_one_moment_of_a_clock_that_was_set_back_stay_apart(
    moments: list[tuple[int, bool]],
) -> None:
    with TemporaryDirectory() as folder:
        one = Recording(Path(folder), Stub("a", "x"))
        for moment, is_held in moments:
            with nothing_can_be_written() if is_held else nullcontext(), suppress(SpoolError):
                one.recorder.record(Tick(moment, 0))
        one.commit()
        found = times(one.spool.path.parent)
        one.spool.close()
    assert len(set(found)) == len(moments)
    assert max(found) < max(moments)[0] + len(moments)
