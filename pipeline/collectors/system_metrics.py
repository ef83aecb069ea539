"""The summary record: a host in one line."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial

from pipeline.collectors._host.cpu_times import TOTAL, CpuUsage, Times, cpu_times
from pipeline.collectors._host.figures import UNKNOWN, percent
from pipeline.collectors._host.host import Host
from pipeline.collectors._host.temperatures import Reading, processor_temperature, temperatures
from pipeline.collectors._host.timeouts import NoAnswer
from pipeline.collectors.base import Collector, Omission, omission
from pipeline.collectors.disk import usage as disk_usage
from pipeline.collectors.mem import memory
from pipeline.point import FieldValue, Point
from pipeline.settings import CollectorOptions


@dataclass(frozen=True, slots=True)
class CpuMetrics:
    """The processor.

    Attributes:
        usage: The share of all cores' time in which they worked, in percent, as of
            psutil.cpu_percent; None when it is not known.
        temperature: In °C; None where the host has no sensor of it.
    """

    usage: float | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class SpaceMetrics:
    """The space in memory or on a disk; each figure is None when it is not known.

    Attributes:
        total: How much there is, in bytes.
        used: How much of it is in use, in bytes.
        percent: The share that is in use, in percent.
    """

    total: int | None = None
    used: int | None = None
    percent: float | None = None


class Summary(Collector):
    """Writes `system_metrics`: processor, memory and the disk of the system."""

    name = "system_metrics"

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._usage = CpuUsage(host, self._cpu_times)
        self._root = host.host_path("/")
        self._timeout_s = options.timeout_ms / 1000

    def _cpu_times(self) -> Mapping[str, Times]:
        return {name: its for name, its in self.host.cached(cpu_times).items() if name == TOTAL}

    def collect(self) -> Iterator[Point | Omission]:
        """Yield one point, in percent, bytes and °C."""
        figures: dict[str, FieldValue | None] = {"cpu_usage": self._cpu_usage()}
        try:
            figures["cpu_temperature"] = self._cpu_temperature()
        except NoAnswer as silence:
            yield omission("cpu_temperature", silence)
        fields = {name: value for name, value in figures.items() if value is not None}
        fields |= _fields("memory", self.memory())
        try:
            fields |= _fields("disk", self._disk())
        except NoAnswer as silence:
            yield omission("disk", silence)
        yield Point(self.name, fields)

    def cpu(self) -> CpuMetrics:
        """Read the processor; waiting for a disk is no work."""
        usage, temperature = self._cpu_usage(), None
        with suppress(NoAnswer):
            temperature = self._cpu_temperature()
        return CpuMetrics(usage, temperature)

    def _cpu_usage(self) -> float | None:
        usage = None
        for spent in self._usage.since_last().values():
            resting = spent["idle"] + spent["iowait"]
            whole = sum(spent.values())
            usage = percent(max(0.0, whole - resting), whole)
        return usage

    def _cpu_temperature(self) -> float | None:
        readings: Sequence[Reading] = ()
        with suppress(OSError, ValueError):  # what fails to tell now may not do so next time
            readings = temperatures(self.host, self._timeout_s)
        return processor_temperature(readings)

    def memory(self) -> SpaceMetrics:
        """Read the memory, by the figures of `mem`: used is total - available."""
        return _space(self.host.cached(memory))

    def disk(self) -> SpaceMetrics:
        """Read the disk that the system is on, by the figures of `disk`; none if it is silent."""
        with suppress(NoAnswer):
            return self._disk()
        return SpaceMetrics()

    def _disk(self) -> SpaceMetrics:
        look = partial(disk_usage, self.host, self._root)
        if self.host.is_own:  # the agent itself runs from it
            return _space(look())
        key = (self.name, self._root)
        answer = self.host.runner.run({key: look}, self._timeout_s)[key]
        if isinstance(answer, Exception):
            raise answer
        return _space(answer)


def _fields(what: str, space: SpaceMetrics) -> dict[str, FieldValue]:
    return {
        f"{what}_{figure}": UNKNOWN if value is None else value
        for figure, value in asdict(space).items()
    }


def _space(fields: Mapping[str, FieldValue]) -> SpaceMetrics:
    total, used, share = (float(fields[name]) for name in ("total", "used", "used_percent"))
    return SpaceMetrics(
        None if math.isnan(total) else int(fields["total"]),
        None if math.isnan(used) else int(fields["used"]),
        None if math.isnan(share) else share,
    )
