"""Which of a host's sensors tells the processor's temperature."""

from collections.abc import Mapping, Sequence
from typing import Any

# The processor's own chips, by psutil's names, the best first. ACPI's zone is often the board's.
_CHIPS = (
    "coretemp",
    "k10temp",
    "zenpower",
    "cpu_thermal",
    "cpu-thermal",
    "soc_thermal",
    "x86_pkg_temp",
    "acpitz",
)

# Tdie is the truth where an AMD's Tctl has an offset for the fan.
_WHOLE_PROCESSOR = ("Package", "Tdie")


def processor_temperature(sensors: Mapping[str, Sequence[Any]]) -> float | None:
    """Choose from psutil's `sensors_temperatures`.

    Returns:
        The hottest package of the best chip in °C, or its hottest reading if it tells no package;
        None without such a chip: a disk's temperature is no stand-in for the processor's.
    """
    readings = next((sensors[chip] for chip in _CHIPS if sensors.get(chip)), ())
    packages = [reading for reading in readings if reading.label.startswith(_WHOLE_PROCESSOR)]
    return max((float(reading.current) for reading in packages or readings), default=None)
