"""The host's sensors of temperature, and which of them tells the processor's."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from pipeline.collectors._host.figures import whole
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
        celsius: Its temperature in °C; None when it does not answer in time.
    """

    chip: str
    label: str
    celsius: float | None


@dataclass(frozen=True, slots=True)
class _Sensor:
    """Where a sensor is: the files of its chip's name, its label and its value; and two names."""

    chip: str
    stem: str
    name: str
    label: str
    value: str


def sensors(host: Host, timeout_s: float) -> list[Reading]:
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
        TimeoutError: That chip did not answer in time; nor is the board's temperature a stand-in.
    """
    chips = {reading.chip for reading in readings}
    best = next((chip for chip in _CHIPS if chip in chips), None)
    its = [reading for reading in readings if reading.chip == best]
    packages = [reading for reading in its if reading.label.startswith(_WHOLE_PROCESSOR)]
    chosen = packages or its
    told = [reading.celsius for reading in chosen if reading.celsius is not None]
    if chosen and not told:
        raise TimeoutError(f"{best} does not answer")
    return max(told, default=None)


def _read(host: Host, found: Sequence[_Sensor], timeout_s: float) -> list[Reading]:
    """Read each sensor by itself, with its names: the drivers' numbers may change hands."""
    calls = {("sensor", one): partial(_look, host, one) for one in found}
    answers = host.runner.run(calls, timeout_s)
    readings = []
    for key in calls:
        silent = Reading(key[1].chip, key[1].stem, None)
        answer = answers.get(key, silent)
        if isinstance(answer, Reading):
            readings.append(answer)
        elif not isinstance(answer, OSError | ValueError):
            raise answer
    return [one for one in readings if one.celsius is None or _LOWEST < one.celsius < _HIGHEST]


def _look(host: Host, one: _Sensor) -> Reading:
    chip, label = _chip(host, one.name), _text(host, one.label) if one.label else ""
    return Reading(chip, label, whole(host.read_file(one.value)) / 1000)


def _find_chips(host: Host) -> list[_Sensor]:
    """Return the chips' sensors: https://docs.kernel.org/hwmon/sysfs-interface.html."""
    chips = [f"{host.sys}/class/hwmon/{name}" for name in _list(host, f"{host.sys}/class/hwmon")]
    for folders in (chips, [f"{chip}/device" for chip in chips]):  # the latter: older kernels
        if found := [one for folder in folders for one in _inputs(host, folder)]:
            return found
    return []


def _find_zones(host: Host) -> list[_Sensor]:
    zones = f"{host.sys}/class/thermal"
    return [
        _Sensor(_text(host, kind := f"{zones}/{name}/type"), name, kind, "", f"{zones}/{name}/temp")
        for name in _list(host, zones)
        if name.startswith("thermal_zone")
    ]


def _chip(host: Host, name: str) -> str:
    folder = name.rpartition("/")[0].removesuffix("/device")
    return _text(host, name) or folder.rpartition("/")[2]


def _inputs(host: Host, folder: str) -> Iterator[_Sensor]:
    names = [name for name in _list(host, folder) if re.fullmatch("temp.*_input", name)]
    chip = _chip(host, f"{folder}/name") if names else ""
    for name in names:
        stem = name.removesuffix("_input")
        yield _Sensor(chip, stem, f"{folder}/name", f"{folder}/{stem}_label", f"{folder}/{name}")


def _list(host: Host, folder: str) -> list[str]:
    """Return the names in a folder by number, temp2 before temp10; none if there is no folder."""
    with suppress(OSError):
        return sorted(host.list_folder(folder), key=lambda name: (len(name), name))
    return []


def _text(host: Host, path: str) -> str:
    with suppress(OSError):
        return host.read_file(path).decode(errors="backslashreplace").strip()
    return ""
