from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clock import Schedule, SystemClock, Tick, rfc3339
from tests.clocks import ManualClock

SECOND = 10**9


def ticks(schedule: Schedule, number: int) -> list[Tick]:
    found = [schedule.wait(Event()) for _ in range(number)]
    return [tick for tick in found if tick is not None]


def test_late_ticks_are_skipped_and_counted_never_queued() -> None:
    clock = ManualClock(start_ns=1_000 * SECOND)
    schedule = Schedule(clock, 10_000)
    ticks(schedule, 2)
    clock.advance(25)
    late, on_time = ticks(schedule, 2)
    assert (late.timestamp_ns // SECOND, late.missed) == (1_035, 1)
    assert (on_time.timestamp_ns // SECOND, on_time.missed) == (1_040, 0)


@pytest.mark.parametrize("jump", [-3600, 3600, -1_000])
def test_a_wall_clock_that_jumps_neither_stops_nor_bursts_the_schedule(jump: int) -> None:
    clock = ManualClock(start_ns=10_000 * SECOND)
    schedule = Schedule(clock, 10_000)
    ticks(schedule, 2)
    clock.wall_ns += jump * SECOND
    before = clock.elapsed
    found = ticks(schedule, 3)
    assert [tick.missed for tick in found] == [0, 0, 0]
    assert [tick.jumped_ns for tick in found] == [jump * SECOND, 0, 0]
    assert clock.elapsed - before == pytest.approx(30)


@given(st.integers(10, 86_400_000), st.integers(0, 2**61), st.integers(1, 20))
def test_ticks_fire_at_once_and_at_multiples(interval_ms: int, start_ns: int, number: int) -> None:
    schedule = Schedule(ManualClock(start_ns), 60_000)
    schedule.change(interval_ms)  # which delays nothing
    first, *rest = (tick.timestamp_ns for tick in ticks(schedule, number + 1))
    interval_ns = interval_ms * 10**6
    multiple = start_ns // interval_ns
    assert first == start_ns
    expected = [(multiple + n) * interval_ns for n in range(1, number + 1)]
    # Some nanoseconds are lost to the monotonic clock's float.
    assert rest == pytest.approx(expected, rel=0, abs=1_000 * number)


@pytest.mark.parametrize("before_the_first", [False, True])
def test_a_stop_ends_the_wait_and_no_tick_follows(*, before_the_first: bool) -> None:
    clock, stop = ManualClock(), Event()
    schedule = Schedule(clock, 60_000)
    if before_the_first:
        stop.set()
    else:
        assert schedule.wait(stop) is not None
        clock.on_wait = lambda _: stop.set()
    assert schedule.wait(stop) is None
    assert schedule.wait(stop) is None


def test_the_system_clock_waits_for_an_event_no_longer_than_told() -> None:
    clock, event = SystemClock(), Event()
    assert clock.wait(event, 0.01) is False
    event.set()
    assert clock.wait(event, 3600) is True
    assert clock.wait(Event(), -1) is False


def test_a_time_is_written_with_all_its_nanoseconds() -> None:
    assert rfc3339(1_700_000_000_000_000_001) == "2023-11-14T22:13:20.000000001Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000000000Z"


@given(
    st.integers(10, 86_400_000), st.integers(10, 86_400_000), st.integers(0, 2**61), st.floats(0, 1)
)
def test_another_interval_goes_on_from_the_last_tick(
    old_ms: int, new_ms: int, start_ns: int, share: float
) -> None:
    clock = ManualClock(start_ns)
    schedule = Schedule(clock, old_ms)
    (last,) = ticks(schedule, 1)
    clock.advance(share * old_ms / 1000)
    changed_ns = clock.now_ns()
    schedule.change(new_ms)
    first, second = ticks(schedule, 2)
    new_ns = new_ms * 10**6
    due_ns = (last.timestamp_ns // new_ns + 1) * new_ns
    # The first multiple after the last tick; when that has passed, at once.
    assert abs(first.timestamp_ns - max(due_ns, changed_ns)) <= 2_000
    assert (first.missed, second.missed) == (0, 0)
    assert 0 < second.timestamp_ns - first.timestamp_ns <= new_ns + 2_000
    off = (second.timestamp_ns + new_ns // 2) % new_ns - new_ns // 2
    assert abs(off) <= 4_000  # nanoseconds, lost to the monotonic clock's float
