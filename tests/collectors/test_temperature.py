import pytest

from pipeline.collectors.temperature import processor_temperature

from .fakes import sensor


def test_package_speaks_for_its_cores() -> None:
    cores = [sensor("Core 0", 60.0), sensor("Core 1", 45.0)]
    assert processor_temperature({"coretemp": [sensor("Package id 0", 58.0), *cores]}) == 58.0


def test_hottest_of_two_packages() -> None:
    packages = [sensor("Package id 0", 51.0), sensor("Package id 1", 52.0)]
    assert processor_temperature({"coretemp": packages}) == 52.0


def test_die_is_preferred_to_the_control_value() -> None:
    assert processor_temperature({"k10temp": [sensor("Tctl", 77.0), sensor("Tdie", 50.0)]}) == 50.0


def test_hottest_reading_without_a_package() -> None:
    readings = [sensor("Tctl", 40.0), sensor("Tccd1", 55.5)]
    assert processor_temperature({"k10temp": readings}) == 55.5


@pytest.mark.parametrize("chip", ["zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal"])
def test_processor_before_board(chip: str) -> None:
    sensors = {"acpitz": [sensor("", 27.8)], "nvme": [sensor("", 70.0)], chip: [sensor("", 48.0)]}
    assert processor_temperature(sensors) == 48.0


def test_board_before_nothing() -> None:
    assert processor_temperature({"acpitz": [sensor("", 27.8)]}) == 27.8


@pytest.mark.parametrize("sensors", [{}, {"coretemp": []}, {"nvme": [sensor("", 40.0)]}])
def test_none(sensors: dict[str, list[object]]) -> None:
    assert processor_temperature(sensors) is None


def test_always_a_float() -> None:
    assert type(processor_temperature({"coretemp": [sensor("", 48)]})) is float
