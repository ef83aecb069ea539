"""The host's sensors of temperature, and which of them tells the processor's."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pipeline.collectors._host.host import Host

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
    celsius: float


_Sensor = tuple[str, str, str]
"""Chip, label and file of a sensor."""


def sensors(host: Host) -> list[Reading]:
    """Read all sensors, in a stable order; those that fail or talk nonsense are left out.

    psutil lacks the sensors of a container's host, a way to ask one by itself, and the zones of a
    machine whose chips tell nothing; of each sensor it also reads the limits.
    """
    # As Telegraf: thermal zones where no chip tells anything.
    return _read(host, _find_chips) or _read(host, _find_zones)


def processor_temperature(readings: Sequence[Reading]) -> float | None:
    """Choose the processor's temperature among all.

    Returns:
        The hottest package of the best chip in °C, or its hottest reading if it tells no package;
        None without such a chip: a disk's temperature is no stand-in for the processor's.
    """
    chips = {reading.chip for reading in readings}
    best = next((chip for chip in _CHIPS if chip in chips), None)
    its = [reading for reading in readings if reading.chip == best]
    packages = [reading for reading in its if reading.label.startswith(_WHOLE_PROCESSOR)]
    return max((reading.celsius for reading in packages or its), default=None)


def _read(host: Host, find: Callable[[Host], list[_Sensor]]) -> list[Reading]:
    readings = []
    for chip, label, path in find(host):
        with suppress(OSError, ValueError):
            readings.append(Reading(chip, label, float(host.read_file(path)) / 1000))
    return [reading for reading in readings if _LOWEST < reading.celsius < _HIGHEST]


def _find_chips(host: Host) -> list[_Sensor]:
    """Return the chips' sensors: https://docs.kernel.org/hwmon/sysfs-interface.html."""
    chips = [f"{host.sys}/class/hwmon/{name}" for name in _list(host, f"{host.sys}/class/hwmon")]
    for folders in (chips, [f"{chip}/device" for chip in chips]):  # the latter: older kernels
        found = [
            (_chip(host, folder), _text(host, f"{folder}/{stem}_label"), path)
            for folder in folders
            for stem, path in _inputs(host, folder)
        ]
        if found:
            return found
    return []


def _find_zones(host: Host) -> list[_Sensor]:
    zones = f"{host.sys}/class/thermal"
    return [
        (_text(host, f"{zones}/{name}/type"), "", f"{zones}/{name}/temp")
        for name in _list(host, zones)
        if name.startswith("thermal_zone")
    ]


def _chip(host: Host, folder: str) -> str:
    return _text(host, f"{folder}/name") or folder.removesuffix("/device").rpartition("/")[2]


def _inputs(host: Host, folder: str) -> Iterator[tuple[str, str]]:
    for name in _list(host, folder):
        if name.startswith("temp") and name.endswith("_input"):
            yield name.removesuffix("_input"), f"{folder}/{name}"


def _list(host: Host, folder: str) -> list[str]:
    """Return the names in a folder by number, temp2 before temp10; none if there is no folder."""
    with suppress(OSError):
        return sorted(host.list_folder(folder), key=lambda name: (len(name), name))
    return []


def _text(host: Host, path: str) -> str:
    with suppress(OSError):
        return host.read_file(path).decode(errors="backslashreplace").strip()
    return ""
