import threading
from dataclasses import replace

import pytest

from pipeline.collectors import Silence
from pipeline.collectors.base import NoData
from pipeline.collectors.sensors import Sensors
from pipeline.point import Point
from pipeline.settings import CollectorOptions

from .fakes import DEFAULTS, FakeHost, read, types

HWMON, SUPPLY = "/sys/class/hwmon", "/sys/class/power_supply"


def sensor(chip: str, feature: str, **fields: float) -> Point:
    return Point("sensors", fields, {"chip": chip, "feature": feature})


BATTERY = sensor("BAT0", "battery", battery_percent=71.0, battery_discharging=1)
POINTS = [
    sensor("nct6775", "in0", in_input=0.872),
    sensor("nct6775", "in1", in_input=-12.04),
    sensor("nct6775", "cpu_fan", fan_input=1186.0),
    sensor("amdgpu", "slowppt", power_input=21.16),
    sensor("BAT0", "curr1", curr_input=1.31),
    BATTERY,
]


def without(fake: FakeHost, folder: str) -> None:
    fake.files = {path: text for path, text in fake.files.items() if folder not in path}


def test_points(fake: FakeHost) -> None:
    points = read(Sensors(fake.host(), DEFAULTS))
    assert points == POINTS
    kinds = {(field, kind) for point in points for field, kind in types(point).items()}
    assert {field for field, kind in kinds if kind is not float} == {"battery_discharging"}
    fake.contain()
    assert read(Sensors(fake.host(), DEFAULTS)) == POINTS


def test_a_second_chip_of_one_name_is_another_one(fake: FakeHost) -> None:
    for number in (5, 6):
        fake.files |= {f"{HWMON}/hwmon{number}/name": b"amdgpu\n"}
        fake.files |= {f"{HWMON}/hwmon{number}/fan1_input": b"%d00\n" % number}
    points = read(Sensors(fake.host(), DEFAULTS))
    assert [point for point in points if point not in POINTS] == [
        sensor("amdgpu-2", "fan1", fan_input=500.0),
        sensor("amdgpu-3", "fan1", fan_input=600.0),
    ]


def test_the_names_of_chips_do_not_depend_on_who_answers(fake: FakeHost) -> None:
    for number in (5, 6):
        fake.files |= {f"{HWMON}/hwmon{number}/name": b"psu\n"}
        fake.files |= {f"{HWMON}/hwmon{number}/fan1_input": b"%d00\n" % number}
    fake.errors[f"{HWMON}/hwmon5/fan1_input"] = OSError(61, "No data available")
    points = read(Sensors(fake.host(), DEFAULTS))
    assert [point for point in points if point not in POINTS] == [
        sensor("psu-2", "fan1", fan_input=600.0)
    ]


def test_two_of_one_label_are_both_written(fake: FakeHost) -> None:
    fake.files |= {f"{HWMON}/hwmon5/name": b"dell_smm\n"}
    for number in (1, 2):
        fake.files |= {f"{HWMON}/hwmon5/fan{number}_input": b"%d00\n" % number}
        fake.files |= {f"{HWMON}/hwmon5/fan{number}_label": b"Video Fan\n"}
    points = read(Sensors(fake.host(), DEFAULTS))
    assert [point for point in points if point not in POINTS] == [
        sensor("dell_smm", "video_fan", fan_input=100.0),
        sensor("dell_smm", "fan2", fan_input=200.0),
    ]


@pytest.mark.parametrize(
    ("files", "point"),
    [
        ({"capacity": b"71\n", "status": b"Full\n"}, (71.0, 0)),
        ({"capacity": b"", "energy_now": b"30\n", "energy_full": b"40\n"}, (75.0, 1)),
        ({"capacity": b"", "charge_now": b"10\n", "charge_full": b"40\n"}, (25.0, 1)),
        ({"capacity": b"", "status": b"Charging\n"}, (None, 0)),
        ({"type": b"UPS\n"}, None),
        ({"scope": b"Device\n"}, None),  # a mouse's
        ({"present": b"0\n"}, None),
    ],
)
def test_batteries(
    fake: FakeHost, files: dict[str, bytes], point: tuple[float | None, int] | None
) -> None:
    fake.files |= {f"{SUPPLY}/BAT0/{name}": text for name, text in files.items()}
    found = read(Sensors(fake.host(), DEFAULTS))[len(POINTS) - 1 :]
    told = [(o.fields.get("battery_percent"), o.fields["battery_discharging"]) for o in found]
    assert told == ([point] if point else [])


def test_nonsense_and_what_fails_cost_themselves(fake: FakeHost) -> None:
    fake.files[f"{HWMON}/hwmon2/in0_input"] = b"N/A\n"
    fake.errors[f"{HWMON}/hwmon2/in1_input"] = OSError(61, "No data available")
    assert read(Sensors(fake.host(), DEFAULTS)) == POINTS[2:]


def test_what_does_not_answer_costs_itself(fake: FakeHost) -> None:
    host, released = fake.host(), threading.Event()

    def read_file(path: str) -> bytes:
        if path in (f"{HWMON}/hwmon2/fan1_input", f"{SUPPLY}/BAT0/capacity"):
            released.wait()
        return host.read_file(path)

    options = CollectorOptions(timeout_ms=200)
    items = list(Sensors(replace(host, read_file=read_file), options).collect())
    released.set()
    why = "no answer within 200 ms"
    silent = [item for item in items if isinstance(item, Silence)]
    assert silent == [Silence("nct6775 fan1", why), Silence("BAT0", why)]
    assert {repr(item) for item in items if item not in silent} <= {repr(one) for one in POINTS}


def test_a_machine_without_any_is_no_data(fake: FakeHost) -> None:
    for folder in (HWMON, SUPPLY):
        without(fake, folder)
    with pytest.raises(NoData):
        read(Sensors(fake.host(), DEFAULTS))
