import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collectors._host.cpu_times import KINDS, TOTAL, CpuUsage, Times, cpu_times, difference
from pipeline.collectors._host.figures import percent

from .fakes import FakeHost

seconds = st.floats(min_value=0.0, max_value=1e10)
readings = st.fixed_dictionaries(dict.fromkeys(KINDS, seconds))


def times(**spent: float) -> Times:
    return {**dict.fromkeys(KINDS, 0.0), **spent}


def test_counters_of_the_kernel(fake: FakeHost) -> None:
    fake.cpu(cpu0={"user": 1.25, "guest_nice": 3.0}, cpu7={"idle": 2.0, "user": 0.5})
    read = cpu_times(fake.host())
    assert list(read) == [TOTAL, "cpu0", "cpu7"]
    assert read["cpu0"] == times(user=1.25, guest_nice=3.0)
    assert read["cpu7"] == times(idle=2.0, user=0.5)
    assert read[TOTAL] == times(user=1.75, idle=2.0, guest_nice=3.0)


def test_kernel_that_counts_more_kinds_than_are_known(fake: FakeHost) -> None:
    fake.files["/proc/stat"] = b"cpu  1 2 3 4 5 6 7 8 9 10 11 12\ncpu0 1 2 3 4 5 6 7 8 9 10 11 12\n"
    assert cpu_times(fake.host())["cpu0"]["guest_nice"] == 0.1


def test_core_switched_off_during_the_reading_gives_no_other_its_name(fake: FakeHost) -> None:
    host = fake.host()
    before = cpu_times(host)
    names = host.read_file(f"{host.proc}/stat")
    fake.cpu(cpu1={"user": 1.0})
    assert cpu_times(replace(host, read_file=lambda _: names)) == before
    fake.clock.advance(1.0)
    assert before.keys() - cpu_times(host).keys() == {"cpu0"}


@pytest.mark.parametrize("figure", [b"x", b"-", b"0x10", b"1,5"])
def test_a_figure_that_cannot_be_read_costs_itself_only(fake: FakeHost, figure: bytes) -> None:
    before = cpu_times(fake.host())
    fake.files["/proc/stat"] = fake.files["/proc/stat"].replace(b"cpu0 1000", b"cpu0 " + figure, 1)
    read = cpu_times(fake.host())
    assert math.isnan(read["cpu0"]["user"])
    assert {**read["cpu0"], "user": 10.0} == before["cpu0"]
    assert [read[name] for name in ("cpu-total", "cpu1")] == [
        before[name] for name in ("cpu-total", "cpu1")
    ]


@given(readings, readings)
def test_any_two_readings_give_shares_of_one_whole(before: Times, after: Times) -> None:
    spent = difference(before, after)
    whole = sum(spent.values())
    shares = [percent(part, whole) for part in spent.values()]
    assert set(spent) == set(KINDS)
    assert all(0.0 <= share <= 100.0 for share in shares)
    assert sum(shares) == pytest.approx(100.0 if whole else 0.0, abs=0.01)
    assert 0.0 <= percent(whole - spent["idle"], whole) <= 100.0


def test_a_share_has_three_decimal_places() -> None:
    assert (percent(1, 3), percent(2, 3)) == (33.333, 66.667)
    assert (percent(199_999_999, 200_000_000), percent(1, 200_000_000)) == (100.0, 0.0)


@given(readings, readings)
def test_time_that_passed_is_shared_out_whole(before: Times, after: Times) -> None:
    # What no guest adds to: they are counted twice by the kernel.
    single = [kind for kind in KINDS if not kind.startswith("guest")]
    grown = [max(0.0, after[kind] - before[kind]) for kind in single]
    assert sum(difference(before, after).values()) == pytest.approx(sum(grown))


def test_guests_are_taken_out_of_user_and_nice() -> None:
    spent = difference(times(), times(user=5.0, guest=2.0, nice=1.0, guest_nice=1.0))
    assert (spent["user"], spent["guest"]) == (3.0, 2.0)
    assert (spent["nice"], spent["guest_nice"]) == (0.0, 1.0)


class Source:
    """Counters that a test sets, and whose reading it can make fail."""

    def __init__(self) -> None:
        self.times: dict[str, Times] = {"cpu0": times(user=100.0)}
        self.error: OSError | None = None

    def __call__(self) -> dict[str, Times]:
        if self.error:
            raise self.error
        return dict(self.times)


def test_first_difference_waits_for_what_is_left_of_its_span(fake: FakeHost) -> None:
    source = Source()
    usage = CpuUsage(fake.host(), source)
    fake.clock.advance(0.04)
    source.times["cpu0"] = times(user=100.05)
    assert usage.since_last()["cpu0"]["user"] == pytest.approx(0.05)
    assert fake.clock.waits == [pytest.approx(0.06)]


@pytest.mark.parametrize("back_s", [0, 3600])
def test_first_difference_comes_at_once_when_its_span_has_passed_by_whichever_wall_clock(
    fake: FakeHost, back_s: int
) -> None:
    source = Source()
    usage = CpuUsage(fake.host(), source)
    fake.clock.advance(5.0)
    fake.clock.wall_ns -= back_s * 10**9
    source.times["cpu0"] = times(user=101.0)
    assert usage.since_last()["cpu0"]["user"] == 1.0
    assert fake.clock.waits == []


def test_asked_again_too_soon_the_last_difference_holds(fake: FakeHost) -> None:
    source = Source()
    usage = CpuUsage(fake.host(), source)
    fake.clock.advance(1.0)
    source.times["cpu0"] = times(user=101.0)
    first = usage.since_last()
    fake.clock.advance(0.0625)
    source.times["cpu0"] = times(user=101.0625)
    assert usage.since_last() == first
    fake.clock.advance(0.0625)
    source.times["cpu0"] = times(user=101.125)
    assert usage.since_last()["cpu0"]["user"] == 0.125
    assert fake.clock.waits == []


def test_new_core_counts_from_its_second_reading_and_a_gone_one_no_more(fake: FakeHost) -> None:
    source = Source()
    usage = CpuUsage(fake.host(), source)
    fake.clock.advance(1.0)
    source.times = {"cpu0": times(user=101.0), "cpu1": times(user=999.0)}
    assert set(usage.since_last()) == {"cpu0"}
    fake.clock.advance(1.0)
    source.times = {"cpu0": times(user=102.0), "cpu1": times(user=1000.0)}
    assert set(usage.since_last()) == {"cpu0", "cpu1"}
    fake.clock.advance(1.0)
    source.times = {"cpu1": times(user=1001.0)}
    assert set(usage.since_last()) == {"cpu1"}


def test_after_counters_that_start_anew_the_next_difference_is_right(fake: FakeHost) -> None:
    source = Source()
    usage = CpuUsage(fake.host(), source)
    fake.clock.advance(1.0)
    source.times["cpu0"] = times(user=1.0)
    assert usage.since_last() == {}
    fake.clock.advance(1.0)
    source.times["cpu0"] = times(user=1.5, idle=0.5)
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
