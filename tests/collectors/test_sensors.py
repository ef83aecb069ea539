from dataclasses import replace

import pytest

from pipeline.collectors import NoData, Silence
from pipeline.collectors.sensors import Sensors
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, Hang, read, types

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


def others(fake: FakeHost) -> list[Point]:
    """The points of a reading that are not those of the captured files."""
    return [point for point in read(Sensors(fake.host(), DEFAULTS)) if point not in POINTS]


def add(fake: FakeHost, number: int, chip: bytes, label: bytes = b"", fans: int = 1) -> None:
    """Add a chip with fans, which turn faster the higher the numbers of both are."""
    folder = f"{HWMON}/hwmon{number}"
    fake.files[f"{folder}/name"] = chip
    for fan in range(1, fans + 1):
        fake.files[f"{folder}/fan{fan}_input"] = b"%d%d\n" % (number, fan)
        if label:
            fake.files[f"{folder}/fan{fan}_label"] = label


def test_points(fake: FakeHost) -> None:
    points = read(Sensors(fake.host(), DEFAULTS))
    assert points == POINTS
    kinds = {(field, kind) for point in points for field, kind in types(point).items()}
    assert {field for field, kind in kinds if kind is not float} == {"battery_discharging"}


def test_chips_of_one_name_have_numbers_whether_the_others_answer_or_not(fake: FakeHost) -> None:
    for number in (5, 6):
        add(fake, number, b"amdgpu\n")
    second, third = (
        sensor("amdgpu-2", "fan1", fan_input=51.0),
        sensor("amdgpu-3", "fan1", fan_input=61.0),
    )
    assert others(fake) == [second, third]
    fake.errors[f"{HWMON}/hwmon5/fan1_input"] = OSError(61, "No data available")
    assert others(fake) == [third]


def test_a_mean_is_written_only_where_the_power_itself_is_not_told(fake: FakeHost) -> None:
    fake.files[f"{HWMON}/hwmon3/power1_input"] = b"30000000\n"
    assert others(fake) == [sensor("amdgpu", "slowppt", power_input=30.0)]


def test_a_chip_that_became_another_one_since_it_was_found_is_left_out(fake: FakeHost) -> None:
    host, names = fake.host(), iter([b"amdgpu\n"])

    def read_file(path: str) -> bytes:
        return next(names, b"nvme\n") if path.endswith("hwmon3/name") else host.read_file(path)

    points = read(Sensors(replace(host, read_file=read_file), DEFAULTS))
    assert points == [point for point in POINTS if point.tags["chip"] != "amdgpu"]


def test_two_of_one_label_are_both_written(fake: FakeHost) -> None:
    add(fake, 5, b"dell_smm\n", label=b"Video Fan\n", fans=2)
    assert others(fake) == [
        sensor("dell_smm", "video_fan", fan_input=51.0),
        sensor("dell_smm", "fan2", fan_input=52.0),
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
    for path in (f"{HWMON}/hwmon2/fan1_input", f"{SUPPLY}/BAT0/capacity"):
        fake.errors[path] = Hang()
    why = "no answer within 1000 ms"
    assert list(Sensors(fake.host(), DEFAULTS).collect()) == [
        Silence("nct6775 fan1", why),
        *(point for point in POINTS[:-1] if "fan_input" not in point.fields),
        Silence("BAT0", why),
    ]


def test_a_machine_without_any_is_no_data(fake: FakeHost) -> None:
    fake.without(HWMON, SUPPLY)
    with pytest.raises(NoData):
        read(Sensors(fake.host(), DEFAULTS))
