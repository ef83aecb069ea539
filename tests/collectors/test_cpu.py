from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collectors import NoData
from pipeline.collectors._host.cpu_times import KINDS, Times, cpu_times, difference
from pipeline.collectors._host.figures import percent
from pipeline.collectors.cpu import Cpu
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, read, types

TIMES = replace(DEFAULTS, times=True)


def after(fake: FakeHost, cpu: Cpu, passed_s: float = 1.0, **cores: Times) -> dict[str, Point]:
    """The points of a reading after so many seconds, by core; the cores are as before if none."""
    if cores:
        fake.cpu(**cores)
    fake.clock.advance(passed_s)
    return {point.tags["cpu"]: point for point in read(cpu)}


def rest(figure: str, *kinds: str) -> dict[str, float]:
    return {f"{figure}_{kind}": 0.0 for kind in kinds}


def test_points_of_two_cores(fake: FakeHost) -> None:
    cpu = Cpu(fake.host(), DEFAULTS)
    its = {"user": 13.0, "guest": 2.0, "nice": 2.0, "guest_nice": 2.0, "system": 1.0, "iowait": 1.0}
    points = after(fake, cpu, cpu0={**its, "idle": 103.0}, cpu1={"user": 20.0, "idle": 210.0})
    assert list(points) == ["cpu-total", "cpu0", "cpu1"]
    assert points["cpu0"].measurement == "cpu"
    assert points["cpu0"].fields == {
        "usage_user": 10.0,
        "usage_guest": 20.0,
        "usage_guest_nice": 20.0,
        "usage_system": 10.0,
        "usage_iowait": 10.0,
        "usage_idle": 30.0,
        "usage_active": 70.0,
        **rest("usage", "nice", "irq", "softirq", "steal"),
    }
    assert points["cpu-total"].fields["usage_idle"] == 65.0
    assert points["cpu1"].fields["usage_idle"] == 100.0
    assert {kind for point in points.values() for kind in types(point).values()} == {float}


def test_times_are_the_counters_as_they_are(fake: FakeHost) -> None:
    spent = {"user": 13.0, "nice": 1.5, "system": 2.0, "iowait": 0.25, "guest": 2.0, "idle": 105.0}
    cpu = Cpu(fake.host(), TIMES)
    points = after(fake, cpu, cpu0=spent, cpu1={"user": 20.0, "idle": 210.0})
    fields = points["cpu0"].fields
    assert {key: value for key, value in fields.items() if key.startswith("time_")} == {
        **{f"time_{kind}": seconds for kind, seconds in spent.items()},
        "time_active": 16.75,  # guests are part of user
        **rest("time", "irq", "softirq", "steal", "guest_nice"),
    }
    assert "usage_user" in fields
    assert points["cpu-total"].fields["time_idle"] == 315.0
    still = after(fake, cpu)["cpu1"].fields
    assert still["time_user"] == 20.0
    assert "usage_user" not in still


@pytest.mark.parametrize(
    ("passed", "waits", "back_s"), [(0.0, [0.1], 0), (0.04, [0.06], 0), (5.0, [], 3600)]
)
def test_first_reading_waits_for_what_is_left_of_its_span_by_whichever_wall_clock(
    fake: FakeHost, passed: float, waits: list[float], back_s: int
) -> None:
    cpu = Cpu(fake.host(), DEFAULTS)
    fake.clock.wall_ns -= back_s * 10**9
    now = {"user": 10.05, "idle": 100.05}
    points = after(fake, cpu, passed, cpu0=now, cpu1={"user": 20.0, "idle": 200.1})
    assert fake.clock.waits == [pytest.approx(left) for left in waits]
    assert points["cpu-total"].fields["usage_user"] == 25.0


def test_asked_again_too_soon_the_last_difference_holds(fake: FakeHost) -> None:
    cpu = Cpu(fake.host(), DEFAULTS)
    first = after(fake, cpu, cpu0={"user": 11.0, "idle": 100.0})
    assert after(fake, cpu, 0.0625, cpu0={"user": 11.0, "idle": 100.5}) == first
    points = after(fake, cpu, 0.0625, cpu0={"user": 11.25, "idle": 100.75})
    assert points["cpu0"].fields["usage_user"] == 25.0
    assert fake.clock.waits == []


def test_cores_come_and_go_and_one_that_stood_still_is_left_out(fake: FakeHost) -> None:
    fake.cpu(cpu0={"user": 10.0}, cpu1={"user": 20.0}, cpu7={"user": 500.0})
    cpu = Cpu(fake.host(), DEFAULTS)
    points = after(fake, cpu, cpu0={"user": 10.5, "idle": 0.5}, cpu7={"user": 501.0})
    assert points.keys() - {"cpu-total"} == {"cpu0", "cpu7"}
    assert [points[name].fields["usage_user"] for name in ("cpu0", "cpu7")] == [50.0, 100.0]
    cores = {"cpu0": {"user": 10.5, "idle": 0.5}, "cpu1": {"user": 20.0}, "cpu7": {"user": 502.0}}
    assert after(fake, cpu, 1.0, **cores).keys() == {"cpu-total", "cpu7"}
    cores["cpu1"] = {"user": 21.0}  # which counts from its second reading
    assert after(fake, cpu, 1.0, **cores).keys() == {"cpu-total", "cpu1"}
    fake.clock.advance(1.0)
    with pytest.raises(NoData):
        read(cpu)


def test_after_counters_that_start_anew_the_next_difference_is_right(fake: FakeHost) -> None:
    fake.cpu(cpu0={"user": 100.0})
    cpu = Cpu(fake.host(), DEFAULTS)
    fake.cpu(cpu0={"user": 1.0})
    fake.clock.advance(1.0)
    with pytest.raises(NoData):
        read(cpu)
    points = after(fake, cpu, cpu0={"user": 1.5, "idle": 0.5})
    assert points["cpu0"].fields["usage_user"] == 50.0


def test_counters_that_cannot_be_read_are_reported_when_asked_for(fake: FakeHost) -> None:
    fake.errors["/proc/stat"] = PermissionError()
    cpu = Cpu(fake.host(), TIMES)
    with pytest.raises(PermissionError):
        read(cpu)
    fake.errors.clear()
    assert [point.fields["time_user"] for point in read(cpu)] == [30.0, 10.0, 20.0]
    assert fake.clock.waits == [pytest.approx(0.1)]


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


readings = st.fixed_dictionaries(
    dict.fromkeys(KINDS, st.floats(min_value=0.0, max_value=1e10)),
)


@given(readings, readings)
def test_the_time_that_passed_is_shared_out_whole(before: Times, after: Times) -> None:
    spent = difference(before, after)
    whole = sum(spent.values())
    # What no guest adds to: they are counted twice by the kernel.
    single = [kind for kind in KINDS if not kind.startswith("guest")]
    assert whole == pytest.approx(sum(max(0.0, after[kind] - before[kind]) for kind in single))
    shares = [percent(spent[kind], whole) for kind in KINDS]
    assert all(0.0 <= share <= 100.0 for share in shares)
    assert sum(shares) == pytest.approx(100.0 if whole else 0.0, abs=0.01)
    assert 0.0 <= percent(whole - spent["idle"], whole) <= 100.0
