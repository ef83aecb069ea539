"""The host's sensors of temperature, and which of them tells the processor's."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.collectors._host.host import Host
from pipeline.collectors._host.hwmon import (
    Sensor,
    ask_sensors,
    find_sensors,
    read_text,
    sorted_names,
)
from pipeline.collectors._host.timeouts import NoAnswer

# The processor's own chips by the kernel's names, best first. ACPI's zone is often the board's.
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

# What a sensor says that is broken, or not there: -273, -128, 255 or more.
_LOWEST, _HIGHEST = -100.0, 250.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sensor says.

    Attributes:
        chip: The chip that it is on, such as `coretemp`.
        label: Which of the chip's it is, such as `Package id 0`; may be empty.
        celsius: Its temperature in °C.
    """

    chip: str
    label: str
    celsius: float | NoAnswer


def temperatures(host: Host, timeout_s: float) -> list[Reading]:
    """Read all sensors, in a stable order; those that fail or talk nonsense are left out.

    psutil lacks the sensors of a container's host, a way to ask one by itself, and the zones of a
    machine whose chips tell nothing; of each sensor it also reads the limits.

    Args:
        host: The host.
        timeout_s: Longest wait, in seconds: a driver may ask a bus, a disk or another computer.
    """
    # As Telegraf: thermal zones where no chip tells anything.
    chips = _read(host, host.cached(_find_chips), timeout_s)
    return chips or _read(host, host.cached(_find_zones), timeout_s)


def processor_temperature(readings: Sequence[Reading]) -> float | None:
    """Choose the processor's temperature among all.

    Returns:
        The hottest package of the best chip in °C, or its hottest reading if it tells no package;
        None without such a chip: a disk's temperature is no stand-in for the processor's.

    Raises:
        NoAnswer: That chip did not answer in time; nor is the board's temperature a stand-in.
    """
    chips = {reading.chip for reading in readings}
    best = next((chip for chip in _CHIPS if chip in chips), None)
    its = [reading for reading in readings if reading.chip == best]
    packages = [reading for reading in its if reading.label.startswith(_WHOLE_PROCESSOR)]
    answers = [reading.celsius for reading in packages or its]
    told = [answer for answer in answers if not isinstance(answer, NoAnswer)]
    silent = [answer for answer in answers if isinstance(answer, NoAnswer)]
    if silent and not told:
        raise silent[0]
    return max(told, default=None)


def _read(host: Host, found: Sequence[Sensor], timeout_s: float) -> list[Reading]:
    readings = []
    for one in ask_sensors(host, found, timeout_s):
        celsius = one.number if isinstance(one.number, NoAnswer) else one.number / 1000
        if isinstance(celsius, NoAnswer) or _LOWEST < celsius < _HIGHEST:
            readings.append(Reading(one.chip, one.label, celsius))
    return readings


def _find_chips(host: Host) -> list[Sensor]:
    return find_sensors(host, "temp.*_input")


def _find_zones(host: Host) -> list[Sensor]:
    zones = f"{host.sys}/class/thermal"
    return [
        Sensor(
            read_text(host, kind := f"{zones}/{name}/type"), name, kind, "", f"{zones}/{name}/temp"
        )
        for name in sorted_names(host, zones)
        if name.startswith("thermal_zone")
    ]
