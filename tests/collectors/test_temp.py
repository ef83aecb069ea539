import pytest

from pipeline.collectors.base import NoData
from pipeline.collectors.temp import Temp
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, read, types

HWMON = "/sys/class/hwmon"


def test_points(fake: FakeHost) -> None:
    points = read(Temp(fake.host(), DEFAULTS))
    assert points == [
        Point("temp", {"temp": 27.8}, {"sensor": "acpitz"}),
        Point("temp", {"temp": 48.0}, {"sensor": "coretemp_package_id_0"}),
        Point("temp", {"temp": 46.5}, {"sensor": "coretemp_core_0"}),
    ]
    assert {kind for point in points for kind in types(point).values()} == {float}


def test_hottest_speaks_for_sensors_of_one_name(fake: FakeHost) -> None:
    for number, heat in enumerate((31000, 44000, 40000), start=2):
        chip = f"{HWMON}/hwmon{number}"
        fake.files |= {f"{chip}/name": b"nvme\n", f"{chip}/temp1_label": b"Composite\n"}
        fake.files[f"{chip}/temp1_input"] = f"{heat}\n".encode()
    points = [p for p in read(Temp(fake.host(), DEFAULTS)) if "nvme" in p.tags["sensor"]]
    assert points == [Point("temp", {"temp": 44.0}, {"sensor": "nvme_composite"})]


def test_machine_without_sensors_is_no_data(fake: FakeHost) -> None:
    fake.files = {path: content for path, content in fake.files.items() if HWMON not in path}
    with pytest.raises(NoData):
        list(Temp(fake.host(), DEFAULTS).collect())
