"""What sensors tell besides temperatures: fans, voltages, currents, power; and batteries."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from pipeline.collectors._host.figures import figure, percent
from pipeline.collectors._host.host import Host
from pipeline.collectors._host.hwmon import (
    Sensor,
    ask_sensors,
    find_sensors,
    read_text,
    sorted_names,
)
from pipeline.collectors._host.timeouts import NoAnswer
from pipeline.collectors.base import Collector, NoData, Omission, omission
from pipeline.point import FieldValue, Point
from pipeline.settings import CollectorOptions

# The start of a sensor's name to its field, and what the kernel's number is divided by: Telegraf's
# fields are in revolutions per minute, volts, amperes and watts.
_KINDS = {
    "fan": ("fan_input", 1),
    "in": ("in_input", 1_000),
    "curr": ("curr_input", 1_000),
    "power": ("power_input", 1_000_000),
}
_MEAN = "_average"
_PATTERN = rf"(?:{'|'.join(_KINDS)})\d+_input|power\d+{_MEAN}"

# Fields of batteries that count charge instead of energy.
_FILLED = (("energy_now", "energy_full"), ("charge_now", "charge_full"))


class Sensors(Collector):
    """Writes `sensors`, by the names of Telegraf's input; temperatures are in `temp`.

    psutil lacks the sensors of a container's host, a way to ask one by itself, all that is no fan,
    and a second battery.
    """

    name = "sensors"
    series_tag = "chip"
    default_enabled = False

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._timeout_s = options.timeout_ms / 1000

    def collect(self) -> Iterator[Point | Omission]:
        """Yield one point for each sensor, then one for each battery.

        A second chip of one name has a 2 behind it, and so on, whether the others answer or not.
        """
        series: dict[tuple[str, str], dict[str, float]] = {}
        silent = []
        found = _without_means(find_sensors(self.host, _PATTERN))
        chips = _chips(found)
        for told in ask_sensors(self.host, found, self._timeout_s):
            stem = told.sensor.stem
            if isinstance(told.number, NoAnswer):
                silent.append(omission(f"{told.chip} {stem}", told.number))
                continue
            if told.chip != told.sensor.chip:  # it has become another one since it was found
                continue
            chip = chips[told.sensor.name]
            field, parts = _KINDS[stem.rstrip("0123456789")]
            label = told.label.lower().replace(" ", "_") or stem
            if field in series.get((chip, label), {}):  # another one of that label
                label = stem
            series.setdefault((chip, label), {})[field] = told.number / parts
        batteries = [*self._batteries()]
        yield from silent
        if not series and not batteries:
            raise NoData
        for (chip, label), fields in series.items():
            yield Point("sensors", fields, {"chip": chip, "feature": label})
        yield from batteries

    def _batteries(self) -> Iterator[Point | Omission]:
        folder = f"{self.host.sys}/class/power_supply"
        calls = {
            ("battery", name): partial(_battery, self.host, f"{folder}/{name}")
            for name in sorted_names(self.host, folder)
        }
        answers = self.host.runner.run(calls, self._timeout_s)
        for (_, name), answer in answers.items():
            if isinstance(answer, NoAnswer):
                yield omission(name, answer)
            elif isinstance(answer, Exception):
                raise answer
            elif answer:
                yield Point("sensors", answer, {"chip": name, "feature": "battery"})


def _without_means(found: Sequence[Sensor]) -> list[Sensor]:
    """Leave out the mean of a power that is told itself, too."""
    told = {(one.name, one.stem) for one in found if not one.value.endswith(_MEAN)}
    return [
        one for one in found if not one.value.endswith(_MEAN) or (one.name, one.stem) not in told
    ]


def _chips(found: Sequence[Sensor]) -> Mapping[str, str]:
    """Return the name of each chip as it is written, by the file of its name."""
    count: Counter[str] = Counter()
    names: dict[str, str] = {}
    for one in found:
        if one.name not in names:
            count[one.chip] += 1
            number = count[one.chip]
            names[one.name] = one.chip if number == 1 else f"{one.chip}-{number}"
    return names


def _battery(host: Host, folder: str) -> Mapping[str, FieldValue]:
    """Return what a battery of the machine tells; nothing of a mains adapter, a mouse or a phone.

    https://docs.kernel.org/power/power_supply_class.html
    """
    if (
        read_text(host, f"{folder}/type") != "Battery"
        or read_text(host, f"{folder}/scope") == "Device"
    ):
        return {}
    if read_text(host, f"{folder}/present") == "0":
        return {}
    fields: dict[str, FieldValue] = {}
    capacity = read_text(host, f"{folder}/capacity").encode()
    shares = [(capacity, b"100")] if capacity else []
    for now, full in _FILLED:
        if found := read_text(host, f"{folder}/{now}").encode():
            shares.append((found, read_text(host, f"{folder}/{full}").encode()))
    if shares:
        has, whole = (figure(one) for one in shares[0])
        fields["battery_percent"] = percent(has, whole)
    if status := read_text(host, f"{folder}/status"):
        fields["battery_discharging"] = int(status == "Discharging")
    return fields
