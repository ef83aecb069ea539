"""The chips that measure: https://docs.kernel.org/hwmon/sysfs-interface.html."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from pipeline.collectors._host.figures import printable, whole
from pipeline.collectors._host.host import Host
from pipeline.collectors._host.timeouts import NoAnswer


@dataclass(frozen=True, slots=True)
class Sensor:
    """Where a sensor is.

    Attributes:
        chip: The chip that it is on, such as `coretemp`, when it was found.
        stem: The kernel's name of it on the chip, such as `temp1`.
        name: The file of the chip's name.
        label: The file of its label; "" if it has none.
        value: The file of its value.
    """

    chip: str
    stem: str
    name: str
    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sensor says.

    Attributes:
        sensor: The sensor.
        chip: The chip that it is on, such as `coretemp`.
        label: Which of the chip's it is, such as `Package id 0`; may be empty.
        number: Its value in the kernel's unit.
    """

    sensor: Sensor
    chip: str
    label: str
    number: int | NoAnswer


def find_sensors(host: Host, pattern: str) -> list[Sensor]:
    """Return the chips' sensors whose files of values have such names, in a stable order."""
    root = f"{host.sys}/class/hwmon"
    chips = [f"{root}/{name}" for name in sorted_names(host, root)]
    for folders in (chips, [f"{chip}/device" for chip in chips]):  # the latter: older kernels
        if found := [one for folder in folders for one in _inputs(host, folder, pattern)]:
            return found
    return []


def ask_sensors(host: Host, found: Sequence[Sensor], timeout_s: float) -> list[Answer]:
    """Read each sensor by itself, together with its names: drivers may exchange their numbers.

    Args:
        host: The host.
        found: The sensors.
        timeout_s: Longest wait, in seconds: a driver may ask a bus, a disk or another computer.

    Returns:
        The answer of each in the same order, but for those that fail or tell no number.
    """
    calls = {("sensor", one): partial(_look, host, one) for one in found}
    answers = host.runner.run(calls, timeout_s)
    told = []
    for key in calls:
        answer = answers[key]
        if isinstance(answer, Answer):
            told.append(answer)
        elif isinstance(answer, NoAnswer):
            told.append(Answer(key[1], key[1].chip, key[1].stem, answer))
        elif not isinstance(answer, OSError | ValueError):
            raise answer
    return told


def sorted_names(host: Host, folder: str) -> list[str]:
    """Return the names in a folder by number, temp2 before temp10; none if there is no folder."""
    with suppress(OSError):
        return sorted(host.list_folder(folder), key=lambda name: (len(name), name))
    return []


def read_text(host: Host, path: str) -> str:
    """Return the text in a file; "" if it cannot be read."""
    with suppress(OSError):
        return printable(host.read_file(path)).strip()
    return ""


def _look(host: Host, one: Sensor) -> Answer:
    chip, label = _chip(host, one.name), read_text(host, one.label) if one.label else ""
    return Answer(one, chip, label, whole(host.read_file(one.value)))


def _chip(host: Host, name: str) -> str:
    folder = name.rpartition("/")[0].removesuffix("/device")
    return read_text(host, name) or folder.rpartition("/")[2]


def _inputs(host: Host, folder: str, pattern: str) -> Iterator[Sensor]:
    names = [name for name in sorted_names(host, folder) if re.fullmatch(pattern, name)]
    chip = _chip(host, f"{folder}/name") if names else ""
    for name in names:
        stem = name.rpartition("_")[0]
        yield Sensor(chip, stem, f"{folder}/name", f"{folder}/{stem}_label", f"{folder}/{name}")
