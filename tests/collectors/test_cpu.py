import pytest

from pipeline.collectors.collector import NoData
from pipeline.collectors.cpu import Cpu
from pipeline.point import Point

from .fakes import FakeHost, cpu_times, types

ONLINE = "/sys/devices/system/cpu/online"


def read(fake: FakeHost, cpu: Cpu) -> dict[str, Point]:
    fake.clock.advance(1.0)
    return {point.tags["cpu"]: point for point in cpu.collect()}


def test_points_of_two_cores(fake: FakeHost) -> None:
    cpu = Cpu(fake.host())
    fake.ps.cores = [
        cpu_times(user=13.0, guest=2.0, idle=105.0, system=1.0, iowait=1.0),
        cpu_times(user=20.0, idle=210.0),
    ]
    fake.clock.advance(1.0)
    points = list(cpu.collect())
    assert [point.tags for point in points] == [
        {"cpu": "cpu-total"},
        {"cpu": "cpu0"},
        {"cpu": "cpu1"},
    ]
    rest = dict.fromkeys(
        (f"usage_{kind}" for kind in ("nice", "irq", "softirq", "steal", "guest_nice")), 0.0
    )
    assert points[1].measurement == "cpu"
    assert points[1].fields == {
        "usage_user": 10.0,
        "usage_guest": 20.0,
        "usage_system": 10.0,
        "usage_iowait": 10.0,
        "usage_idle": 50.0,
        "usage_active": 50.0,
        **rest,
    }
    assert points[0].fields["usage_idle"] == 75.0
    assert points[2].fields["usage_idle"] == 100.0
    assert all(set(types(point).values()) == {float} for point in points)


def test_first_reading_is_right(fake: FakeHost) -> None:
    cpu = Cpu(fake.host())
    fake.ps.cores = [cpu_times(user=10.05, idle=100.05), cpu_times(user=20.0, idle=200.1)]
    total = next(iter(cpu.collect()))
    assert fake.clock.waits == [pytest.approx(0.1)]
    assert total.fields["usage_user"] == pytest.approx(25.0)


def test_cores_bear_the_numbers_that_the_kernel_gives_them(fake: FakeHost) -> None:
    fake.files[ONLINE] = b"0,2\n"
    cpu = Cpu(fake.host())
    fake.ps.cores = [cpu_times(user=11.0), cpu_times(user=22.0)]
    assert list(read(fake, cpu)) == ["cpu-total", "cpu0", "cpu2"]


@pytest.mark.parametrize("online", [b"0-3\n", b"", b"nonsense"])
def test_cores_are_counted_where_the_kernel_lists_others(fake: FakeHost, online: bytes) -> None:
    fake.files[ONLINE] = online
    cpu = Cpu(fake.host())
    fake.ps.cores = [cpu_times(user=11.0), cpu_times(user=22.0)]
    assert list(read(fake, cpu)) == ["cpu-total", "cpu0", "cpu1"]


def test_unplugged_core_leaves_the_others_and_the_total_right(fake: FakeHost) -> None:
    fake.files[ONLINE] = b"0-1,7"
    fake.ps.cores.append(cpu_times(user=500.0))
    cpu = Cpu(fake.host())
    fake.files[ONLINE] = b"0,7"
    fake.ps.cores = [cpu_times(user=10.5, idle=100.5), cpu_times(user=501.0)]
    points = read(fake, cpu)
    assert list(points) == ["cpu-total", "cpu0", "cpu7"]
    assert points["cpu-total"].fields["usage_user"] == 75.0
    assert points["cpu0"].fields["usage_user"] == 50.0
    assert points["cpu7"].fields["usage_user"] == 100.0


def test_core_that_stood_still_is_left_out(fake: FakeHost) -> None:
    cpu = Cpu(fake.host())
    fake.ps.cores = [fake.ps.cores[0], cpu_times(user=21.0, idle=201.0)]
    assert list(read(fake, cpu)) == ["cpu-total", "cpu1"]


def test_no_time_passed_is_no_data(fake: FakeHost) -> None:
    cpu = Cpu(fake.host())
    with pytest.raises(NoData):
        list(cpu.collect())
