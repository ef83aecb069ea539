"""The processor: what each core and all of them together spent their time on."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.collectors.collector import Host, NoData, percent
from pipeline.collectors.cpu_usage import CpuUsage, Spent, add
from pipeline.point import Point


class Cpu:
    """Writes `cpu`, as Telegraf's input of that name with report_active."""

    name = "cpu"
    series_tag: str | None = "cpu"
    default_exclude: tuple[str, ...] = ()

    def __init__(self, host: Host) -> None:
        self._host = host
        self._usage = CpuUsage(host, self._read)

    def collect(self) -> Iterator[Point]:
        """Yield the percentages of all cores together, then of each.

        `cpu-total` is the sum over the cores, which spares a second reading of /proc/stat: the
        kernel's own total differs by the rounding of each core to a hundredth of a second.
        """
        cores = self._usage.since_last()
        if not cores:
            raise NoData
        yield _point("cpu-total", add(cores.values()))
        for core, spent in cores.items():
            yield _point(core, spent)

    def _read(self) -> Mapping[str, Any]:
        times = self._host.ps.cpu_times(percpu=True)
        return dict(zip(_core_names(self._host, len(times)), times, strict=True))


def _point(core: str, spent: Spent) -> Point:
    whole = sum(spent.values())
    fields = {f"usage_{kind}": percent(seconds, whole) for kind, seconds in spent.items()}
    # Telegraf's active is all but idle: waiting for a disk is active.
    fields["usage_active"] = percent(whole - spent["idle"], whole)
    return Point("cpu", fields, {"cpu": core})


def _core_names(host: Host, count: int) -> list[str]:
    """Return the cores' names: psutil lists the cores in use without their numbers."""
    try:
        numbers = _numbers(host.read_file("/sys/devices/system/cpu/online").decode())
    except (OSError, ValueError):
        numbers = []
    if len(numbers) != count:  # a container may see other cores than /sys has
        numbers = list(range(count))
    return [f"cpu{number}" for number in numbers]


def _numbers(ranges: str) -> list[int]:
    """Return what `0-1,4` stands for: 0, 1, 4."""
    numbers: list[int] = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers
