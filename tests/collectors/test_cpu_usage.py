from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collectors.collector import percent
from pipeline.collectors.cpu_usage import KINDS, CpuUsage, add, difference

from .fakes import CPU_KINDS, FakeHost, cpu_times

seconds = st.floats(min_value=0.0, max_value=1e10)
readings = st.builds(cpu_times, **dict.fromkeys(CPU_KINDS, seconds))


@given(readings, readings)
def test_any_two_readings_give_shares_of_one_whole(before: Any, after: Any) -> None:
    spent = difference(before, after)
    whole = sum(spent.values())
    shares = [percent(part, whole) for part in spent.values()]
    assert set(spent) == set(KINDS)
    assert all(0.0 <= share <= 100.0 for share in shares)
    assert sum(shares) == pytest.approx(100.0 if whole else 0.0)
    assert 0.0 <= percent(whole - spent["idle"], whole) <= 100.0


@given(readings, readings)
def test_time_that_passed_is_shared_out_whole(before: Any, after: Any) -> None:
    # What no guest adds to: they are counted twice by the kernel.
    single = [kind for kind in KINDS if not kind.startswith("guest")]
    grown = [max(0.0, getattr(after, kind) - getattr(before, kind)) for kind in single]
    assert sum(difference(before, after).values()) == pytest.approx(sum(grown))


def test_guests_are_taken_out_of_user_and_nice() -> None:
    spent = difference(cpu_times(), cpu_times(user=5.0, guest=2.0, nice=1.0, guest_nice=1.0))
    assert (spent["user"], spent["guest"]) == (3.0, 2.0)
    assert (spent["nice"], spent["guest_nice"]) == (0.0, 1.0)


def test_sum_is_kind_by_kind() -> None:
    one = difference(cpu_times(), cpu_times(user=1.0, idle=2.0))
    two = difference(cpu_times(), cpu_times(user=3.0, steal=4.0))
    assert {kind: part for kind, part in add([one, two]).items() if part} == {
        "user": 4.0,
        "idle": 2.0,
        "steal": 4.0,
    }


class Source:
    """Counters that a test sets, and whose reading it can make fail."""

    def __init__(self) -> None:
        self.times: dict[str, Any] = {"cpu0": cpu_times(user=100.0)}
        self.error: OSError | None = None

    def __call__(self) -> dict[str, Any]:
        if self.error:
            raise self.error
        return dict(self.times)


def test_first_difference_waits_for_what_is_left_of_its_span(fake: FakeHost) -> None:
    source = Source()
    usage = CpuUsage(fake.host(), source)
    fake.clock.advance(0.04)
    source.times["cpu0"] = cpu_times(user=100.05)
    assert usage.since_last()["cpu0"]["user"] == pytest.approx(0.05)
    assert fake.clock.waits == [pytest.approx(0.06)]


def test_first_difference_comes_at_once_when_its_span_has_passed(fake: FakeHost) -> None:
    source = Source()
    usage = CpuUsage(fake.host(), source)
    fake.clock.advance(5.0)
    source.times["cpu0"] = cpu_times(user=101.0)
    assert usage.since_last()["cpu0"]["user"] == 1.0
    assert fake.clock.waits == []


def test_asked_again_too_soon_the_last_difference_holds(fake: FakeHost) -> None:
    source = Source()
    usage = CpuUsage(fake.host(), source)
    fake.clock.advance(1.0)
    source.times["cpu0"] = cpu_times(user=101.0)
    first = usage.since_last()
    fake.clock.advance(0.0625)
    source.times["cpu0"] = cpu_times(user=101.0625)
    assert usage.since_last() == first
    fake.clock.advance(0.0625)
    source.times["cpu0"] = cpu_times(user=101.125)
    assert usage.since_last()["cpu0"]["user"] == 0.125
    assert fake.clock.waits == []


def test_new_core_counts_from_its_second_reading_and_a_gone_one_no_more(fake: FakeHost) -> None:
    source = Source()
    usage = CpuUsage(fake.host(), source)
    fake.clock.advance(1.0)
    source.times = {"cpu0": cpu_times(user=101.0), "cpu1": cpu_times(user=999.0)}
    assert set(usage.since_last()) == {"cpu0"}
    fake.clock.advance(1.0)
    source.times = {"cpu0": cpu_times(user=102.0), "cpu1": cpu_times(user=1000.0)}
    assert set(usage.since_last()) == {"cpu0", "cpu1"}
    fake.clock.advance(1.0)
    source.times = {"cpu1": cpu_times(user=1001.0)}
    assert set(usage.since_last()) == {"cpu1"}


def test_after_counters_that_start_anew_the_next_difference_is_right(fake: FakeHost) -> None:
    source = Source()
    usage = CpuUsage(fake.host(), source)
    fake.clock.advance(1.0)
    source.times["cpu0"] = cpu_times(user=1.0)
    assert usage.since_last() == {}
    fake.clock.advance(1.0)
    source.times["cpu0"] = cpu_times(user=1.5, idle=0.5)
    assert usage.since_last()["cpu0"]["user"] == 0.5


def test_counters_that_cannot_be_read_are_reported_when_asked_for(fake: FakeHost) -> None:
    source = Source()
    source.error = PermissionError("no /proc/stat")
    usage = CpuUsage(fake.host(), source)
    with pytest.raises(PermissionError):
        usage.since_last()
    source.error = None
    usage.since_last()
    assert fake.clock.waits == [pytest.approx(0.1)]
