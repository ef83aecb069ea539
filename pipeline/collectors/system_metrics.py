"""The summary record: a host in one line."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass

from pipeline.collectors._host.cpu_times import TOTAL, CpuUsage, cpu_times
from pipeline.collectors._host.host import Host
from pipeline.collectors._host.sensors import processor_temperature, sensors
from pipeline.collectors.base import Collector, percent
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
        self._usage = CpuUsage(host, lambda: {TOTAL: host.cached(cpu_times)[TOTAL]})
        self._root = host.host_path("/")
        self._timeout_s = options.timeout_ms / 1000
        self._runner = host.timeout_runner(self.name)

    def collect(self) -> Iterator[Point]:
        """Yield one point, in percent, bytes and °C."""
        parts: dict[str, CpuMetrics | SpaceMetrics] = {
            "cpu": self.cpu(),
            "memory": self.memory(),
            "disk": self.disk(),
        }
        fields = {
            f"{part}_{figure}": value
            for part, figures in parts.items()
            for figure, value in asdict(figures).items()
            if value is not None
        }
        yield Point(self.name, fields)

    def cpu(self) -> CpuMetrics:
        """Read the processor; waiting for a disk is no work."""
        usage = temperature = None
        for spent in self._usage.since_last().values():
            resting = spent["idle"] + spent["iowait"]
            whole = sum(spent.values())
            usage = percent(max(0.0, whole - resting), whole)
        with suppress(OSError, ValueError):  # what fails to tell now may not do so next time
            temperature = processor_temperature(self.host.cached(sensors))
        return CpuMetrics(usage, temperature)

    def memory(self) -> SpaceMetrics:
        """Read the memory, by the figures of `mem`: used is total - available."""
        return _space(self.host.cached(memory))

    def disk(self) -> SpaceMetrics:
        """Read the disk that the system is on, by the figures of `disk`; none if it is silent."""
        if self.host.is_own:  # without it, nothing here would run
            return _space(disk_usage(self.host, self._root))
        question = {self._root: lambda: disk_usage(self.host, self._root)}
        answer = self._runner.run(question, self._timeout_s).get(self._root)
        if isinstance(answer, Exception):
            raise answer
        return SpaceMetrics() if answer is None else _space(answer)


def _space(fields: Mapping[str, FieldValue]) -> SpaceMetrics:
    return SpaceMetrics(int(fields["total"]), int(fields["used"]), float(fields["used_percent"]))
