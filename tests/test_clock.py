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


def test_the_first_tick_fires_at_once_and_the_next_at_multiples_of_the_interval() -> None:
    clock = ManualClock(start_ns=1_003 * SECOND)
    times = [tick.timestamp_ns / 1e9 for tick in ticks(Schedule(clock, 10_000), 4)]
    assert times == [1_003, 1_010, 1_020, 1_030]


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
def test_each_tick_is_a_multiple_of_the_interval_after_the_first(
    interval_ms: int, start_ns: int, number: int
) -> None:
    schedule = Schedule(ManualClock(start_ns), interval_ms)
    _, *rest = ticks(schedule, number + 1)
    interval_ns = interval_ms * 10**6
    for tick in rest:
        off = (tick.timestamp_ns + interval_ns // 2) % interval_ns - interval_ns // 2
        assert abs(off) <= 1_000 * number  # nanoseconds, lost to the monotonic clock's float


def test_a_stop_ends_the_wait_and_no_tick_follows() -> None:
    clock = ManualClock()
    stop = Event()
    schedule = Schedule(clock, 60_000)
    assert schedule.wait(stop) is not None
    clock.on_wait = lambda _: stop.set()
    assert schedule.wait(stop) is None
    assert schedule.wait(stop) is None


def test_no_tick_fires_when_stopped_before_the_first() -> None:
    stop = Event()
    stop.set()
    assert Schedule(ManualClock(), 60_000).wait(stop) is None


def test_the_system_clock_waits_for_an_event_no_longer_than_told() -> None:
    clock, event = SystemClock(), Event()
    before = clock.monotonic()
    assert clock.wait(event, 0.01) is False
    assert clock.monotonic() - before >= 0.01
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


def test_an_interval_that_changes_before_the_first_tick_does_not_delay_it() -> None:
    clock = ManualClock(start_ns=1_003 * SECOND)
    schedule = Schedule(clock, 60_000)
    schedule.change(10_000)
    assert [tick.timestamp_ns // SECOND for tick in ticks(schedule, 3)] == [1_003, 1_010, 1_020]
