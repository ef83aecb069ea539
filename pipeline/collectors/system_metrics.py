"""The summary record: a host in one line."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from pipeline.collectors._host.cpu_times import TOTAL, CpuUsage, Times, cpu_times
from pipeline.collectors._host.figures import UNKNOWN, percent
from pipeline.collectors._host.host import Host
from pipeline.collectors._host.temperatures import Reading, processor_temperature, temperatures
from pipeline.collectors.base import Collector, Silence
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

    def collect(self) -> Iterator[Point | Silence]:
        """Yield one point, in percent, bytes and °C."""
        figures: dict[str, FieldValue | None] = {"cpu_usage": self._cpu_usage()}
        try:
            figures["cpu_temperature"] = self._cpu_temperature()
        except TimeoutError:
            yield Silence("cpu_temperature", self.host.runner.silence(self._timeout_s))
        fields = {name: value for name, value in figures.items() if value is not None}
        for what, space in (("memory", self.memory()), ("disk", self.disk())):
            if space == SpaceMetrics():
                yield Silence(what, self.host.runner.silence(self._timeout_s))
                continue
            for figure, value in asdict(space).items():
                fields[f"{what}_{figure}"] = UNKNOWN if value is None else value
        yield Point(self.name, fields)

    def cpu(self) -> CpuMetrics:
        """Read the processor; waiting for a disk is no work."""
        usage, temperature = self._cpu_usage(), None
        with suppress(TimeoutError):
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
        if self.host.is_own:  # without it, nothing here would run
            return _space(disk_usage(self.host, self._root))
        key = (self.name, self._root)
        calls = {key: lambda: disk_usage(self.host, self._root)}
        answer = self.host.runner.run(calls, self._timeout_s).get(key)
        if isinstance(answer, Exception):
            raise answer
        return SpaceMetrics() if answer is None else _space(answer)


def _space(fields: Mapping[str, FieldValue]) -> SpaceMetrics:
    total, used, share = (float(fields[name]) for name in ("total", "used", "used_percent"))
    return SpaceMetrics(
        None if math.isnan(total) else int(fields["total"]),
        None if math.isnan(used) else int(fields["used"]),
        None if math.isnan(share) else share,
    )
