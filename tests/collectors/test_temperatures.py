import itertools
import re
from dataclasses import replace

import pytest

from pipeline.collectors._host.temperatures import Reading, processor_temperature, temperatures

from .fakes import FakeHost

HWMON, THERMAL = "/sys/class/hwmon", "/sys/class/thermal"


def unplug(fake: FakeHost) -> None:
    fake.files = {path: content for path, content in fake.files.items() if HWMON not in path}


def test_sensors_of_all_chips(fake: FakeHost) -> None:
    assert temperatures(fake.host(), 5.0) == [
        Reading("acpitz", "", 27.8),
        Reading("coretemp", "Package id 0", 48.0),
        Reading("coretemp", "Core 0", 46.5),
    ]


def test_order_is_by_number(fake: FakeHost) -> None:
    unplug(fake)
    for chip in (10, 2):
        fake.files[f"{HWMON}/hwmon{chip}/name"] = f"chip{chip}\n".encode()
        for number in (10, 2):
            fake.files[f"{HWMON}/hwmon{chip}/temp{number}_input"] = f"{number}000\n".encode()
    assert [(one.chip, one.celsius) for one in temperatures(fake.host(), 5.0)] == [
        ("chip2", 2.0),
        ("chip2", 10.0),
        ("chip10", 2.0),
        ("chip10", 10.0),
    ]


@pytest.mark.parametrize(
    "nonsense", [b"-273150\n", b"-128000\n", b"4294967295\n", b"nan\n", b"inf\n", b"", b"N/A\n"]
)
def test_nonsense_is_left_out(fake: FakeHost, nonsense: bytes) -> None:
    fake.files[f"{HWMON}/hwmon0/temp1_input"] = nonsense
    assert {reading.chip for reading in temperatures(fake.host(), 5.0)} == {"coretemp"}


def test_sensor_that_fails_costs_no_other(fake: FakeHost) -> None:
    fake.errors[f"{HWMON}/hwmon1/temp1_input"] = OSError(61, "No data available")
    assert [reading.label for reading in temperatures(fake.host(), 5.0)] == ["", "Core 0"]


def test_frost_is_no_nonsense(fake: FakeHost) -> None:
    fake.files[f"{HWMON}/hwmon0/temp1_input"] = b"-40000\n"
    assert temperatures(fake.host(), 5.0)[0].celsius == -40.0


def test_chips_of_older_kernels(fake: FakeHost) -> None:
    unplug(fake)
    fake.files[f"{HWMON}/hwmon0/device/name"] = b"k8temp\n"
    fake.files[f"{HWMON}/hwmon0/device/temp1_input"] = b"30000\n"
    assert temperatures(fake.host(), 5.0) == [Reading("k8temp", "", 30.0)]


def test_thermal_zones_where_no_chip_tells(fake: FakeHost) -> None:
    fake.files[f"{THERMAL}/thermal_zone0/type"] = b"cpu-thermal\n"
    fake.files[f"{THERMAL}/thermal_zone0/temp"] = b"51000\n"
    fake.files[f"{THERMAL}/cooling_device0/type"] = b"Processor\n"
    assert "cpu-thermal" not in {reading.chip for reading in temperatures(fake.host(), 5.0)}
    fake.errors[f"{HWMON}/hwmon0/temp1_input"] = OSError(61, "No data available")
    for number in (1, 2):
        fake.files[f"{HWMON}/hwmon1/temp{number}_input"] = b"-273150\n"
    assert temperatures(fake.host(), 5.0) == [Reading("cpu-thermal", "", 51.0)]
    unplug(fake)
    assert temperatures(fake.host(), 5.0) == [Reading("cpu-thermal", "", 51.0)]


def test_chip_without_a_name_goes_by_its_folder(fake: FakeHost) -> None:
    del fake.files[f"{HWMON}/hwmon1/name"]
    assert [reading.chip for reading in temperatures(fake.host(), 5.0)] == [
        "acpitz",
        "hwmon1",
        "hwmon1",
    ]


def test_sensor_keeps_its_name_when_drivers_change_numbers(fake: FakeHost) -> None:
    host = fake.host()
    before = temperatures(host, 5.0)
    swapped = {"hwmon0": "hwmon1", "hwmon1": "hwmon0"}
    fake.files = {
        re.sub("hwmon[01]", lambda match: swapped[match[0]], path): content
        for path, content in fake.files.items()
    }
    fake.clock.advance(1.0)
    assert sorted(temperatures(host, 5.0), key=repr) == sorted(before, key=repr)


def test_name_and_value_are_from_one_look(fake: FakeHost) -> None:
    before, host, looks = temperatures(fake.host(), 5.0), fake.host(), itertools.count()
    swapped = {
        path.replace("hwmon0", "hwmonX")
        .replace("hwmon1", "hwmon0")
        .replace("hwmonX", "hwmon1"): its
        for path, its in fake.files.items()
    }

    def read_file(path: str) -> bytes:
        if next(looks) == 2:  # the drivers are loaded anew when both chips have been found
            fake.files = swapped
        return host.read_file(path)

    found = temperatures(replace(host, read_file=read_file), 5.0)
    assert {(one.chip, one.celsius) for one in found} < {(one.chip, one.celsius) for one in before}


@pytest.mark.parametrize("silent", ["Package id 0", "Core 0"])
def test_of_a_processor_that_does_not_answer_no_other_chip_speaks(silent: str) -> None:
    readings = [
        Reading("acpitz", "", 27.8),
        *(Reading("coretemp", label, None) for label in (silent,)),
    ]
    with pytest.raises(TimeoutError):
        processor_temperature(readings)
    assert processor_temperature([*readings, Reading("coretemp", silent, 50.0)]) == 50.0


def of(chip: str, **celsius: float) -> list[Reading]:
    return [Reading(chip, label.replace("_", " "), found) for label, found in celsius.items()]


BOARD, DRIVE = Reading("acpitz", "", 27.8), Reading("nvme", "", 70.0)
OTHER_CHIPS = ("zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal")


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        (of("coretemp", Core_0=60.0, Core_1=45.0, Package_id_0=58.0), 58.0),
        (of("coretemp", Package_id_0=51.0, Package_id_1=52.0), 52.0),
        (of("k10temp", Tctl=77.0, Tdie=50.0), 50.0),
        (of("k10temp", Tctl=40.0, Tccd1=55.5), 55.5),
        *([[BOARD, DRIVE, Reading(chip, "", 48.0)], 48.0] for chip in OTHER_CHIPS),
        ([BOARD], 27.8),
        ([], None),
        ([DRIVE], None),
    ],
    ids=[
        *("package-for-cores", "hottest-package", "die-before-control-value"),
        *("hottest-without-package", *OTHER_CHIPS, "board-before-nothing", "nothing", "drive"),
    ],
)
def test_the_processors_temperature(readings: list[Reading], expected: float | None) -> None:
    assert processor_temperature(readings) == expected
