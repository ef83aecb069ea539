"""`temp`, and which of the temperatures is the processor's."""

import itertools
from dataclasses import replace

import pytest

from pipeline.collectors import NoData
from pipeline.collectors._host.temperatures import Reading, processor_temperature
from pipeline.collectors._host.timeouts import NoAnswer
from pipeline.collectors.temp import Temp
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, figures, read, types

HWMON, THERMAL = "/sys/class/hwmon", "/sys/class/thermal"
BOARD, PACKAGE, CORE = "acpitz", "coretemp_package_id_0", "coretemp_core_0"
NO_DATA = OSError(61, "No data available")


def told(temp: Temp) -> dict[str, object]:
    """The temperatures of a reading, by sensor."""
    return {name.removesuffix(" temp"): its for name, its in figures(read(temp)).items()}


def of(fake: FakeHost) -> dict[str, object]:
    return told(Temp(fake.host(), DEFAULTS))


def swapped(files: dict[str, bytes]) -> dict[str, bytes]:
    """Files after two drivers have changed their numbers."""
    others = {"hwmon0": "hwmon1", "hwmon1": "hwmon0"}
    parts = ((path.split("/"), text) for path, text in files.items())
    return {"/".join(others.get(part, part) for part in path): text for path, text in parts}


def test_points(fake: FakeHost) -> None:
    points = read(Temp(fake.host(), DEFAULTS))
    assert points == [
        Point("temp", {"temp": 27.8}, {"sensor": BOARD}),
        Point("temp", {"temp": 48.0}, {"sensor": PACKAGE}),
        Point("temp", {"temp": 46.5}, {"sensor": CORE}),
    ]
    assert {kind for point in points for kind in types(point).values()} == {float}


def test_hottest_speaks_for_sensors_of_one_name(fake: FakeHost) -> None:
    for number, heat in enumerate((31000, 44000, 40000), start=2):
        chip = f"{HWMON}/hwmon{number}"
        fake.files |= {f"{chip}/name": b"nvme\n", f"{chip}/temp1_label": b"Composite\n"}
        fake.files[f"{chip}/temp1_input"] = f"{heat}\n".encode()
    assert of(fake)["nvme_composite"] == 44.0


def test_order_is_by_number(fake: FakeHost) -> None:
    fake.without(HWMON)
    for chip, sensor in itertools.product((10, 2), (10, 2)):
        folder = f"{HWMON}/hwmon{chip}"
        fake.files |= {f"{folder}/name": b"c%d" % chip, f"{folder}/temp{sensor}_input": b"2000\n"}
        fake.files[f"{folder}/temp{sensor}_label"] = b"%d\n" % sensor
    assert [*of(fake)] == ["c2_2", "c2_10", "c10_2", "c10_10"]


@pytest.mark.parametrize(
    "content",
    [b"-273150\n", b"-128000\n", b"4294967295\n", b"nan\n", b"inf\n", b"", b"N/A\n", NO_DATA],
)
def test_a_sensor_that_fails_or_talks_nonsense_costs_no_other(
    fake: FakeHost, content: bytes | OSError
) -> None:
    fake.files[f"{HWMON}/hwmon0/temp1_input"] = b"-40000\n"  # frost is none
    path = f"{HWMON}/hwmon1/temp1_input"
    if isinstance(content, OSError):
        fake.errors[path] = content
    else:
        fake.files[path] = content
    assert of(fake) == {BOARD: -40.0, CORE: 46.5}


def test_chips_of_older_kernels(fake: FakeHost) -> None:
    fake.without(HWMON)
    folder = f"{HWMON}/hwmon0/device"
    fake.files |= {f"{folder}/name": b"k8temp\n", f"{folder}/temp1_input": b"30000\n"}
    assert of(fake) == {"k8temp": 30.0}


def test_thermal_zones_where_no_chip_tells(fake: FakeHost) -> None:
    fake.files[f"{THERMAL}/thermal_zone0/type"] = b"cpu-thermal\n"
    fake.files[f"{THERMAL}/thermal_zone0/temp"] = b"51000\n"
    fake.files[f"{THERMAL}/cooling_device0/type"] = b"Processor\n"
    assert "cpu-thermal" not in of(fake)
    fake.errors[f"{HWMON}/hwmon0/temp1_input"] = NO_DATA
    for number in (1, 2):
        fake.files[f"{HWMON}/hwmon1/temp{number}_input"] = b"-273150\n"
    assert of(fake) == {"cpu-thermal": 51.0}
    fake.without(HWMON)
    assert of(fake) == {"cpu-thermal": 51.0}
    fake.without(THERMAL)
    with pytest.raises(NoData):
        of(fake)


def test_chip_without_a_name_goes_by_its_folder(fake: FakeHost) -> None:
    fake.without("hwmon1/name")
    assert [*of(fake)] == [BOARD, "hwmon1_package_id_0", "hwmon1_core_0"]


def test_name_and_value_are_from_one_look(fake: FakeHost) -> None:
    before, host, looks = of(fake), fake.host(), itertools.count()

    def read_file(path: str) -> bytes:
        if next(looks) == 2:  # the drivers are loaded anew when both chips have been found
            fake.files = swapped(fake.files)
        return host.read_file(path)

    found = told(Temp(replace(host, read_file=read_file), DEFAULTS))
    assert found.items() < before.items()


def chip(name: str, **celsius: float | NoAnswer) -> list[Reading]:
    return [Reading(name, label.replace("_", " "), its) for label, its in celsius.items()]


@pytest.mark.parametrize("label", ["Package_id_0", "Core_0"])
def test_of_a_processor_that_does_not_answer_no_other_chip_speaks(label: str) -> None:
    readings = [*chip("acpitz", x=27.8), *chip("coretemp", **{label: NoAnswer()})]
    with pytest.raises(NoAnswer):
        processor_temperature(readings)
    assert processor_temperature([*readings, *chip("coretemp", **{label: 50.0})]) == 50.0


OTHER_CHIPS = ("zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal")


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        (chip("coretemp", Core_0=60.0, Core_1=45.0, Package_id_0=58.0), 58.0),
        (chip("coretemp", Package_id_0=51.0, Package_id_1=52.0), 52.0),
        (chip("k10temp", Tctl=77.0, Tdie=50.0), 50.0),
        (chip("k10temp", Tctl=40.0, Tccd1=55.5), 55.5),
        *((chip("acpitz", x=27.8) + chip(name, x=48.0), 48.0) for name in OTHER_CHIPS),
        (chip("acpitz", x=27.8) + chip("nvme", x=70.0), 27.8),
        (chip("nvme", x=70.0), None),
        ([], None),
    ],
)
def test_the_processors_temperature(readings: list[Reading], expected: float | None) -> None:
    assert processor_temperature(readings) == expected
