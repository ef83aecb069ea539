"""The summary record: a host in one line."""

from collections.abc import Iterator, Mapping

from pipeline.collectors import disk
from pipeline.collectors.collector import Collector, Host, Options, percent
from pipeline.collectors.cpu_usage import TOTAL, CpuUsage, cpu_times
from pipeline.collectors.mem import memory
from pipeline.collectors.temperature import processor_temperature, sensors
from pipeline.point import FieldValue, Point


class SystemMetrics(Collector):
    """Writes `system_metrics`: processor, memory and the disk of the system."""

    name = "system_metrics"

    def __init__(self, host: Host, options: Options) -> None:
        super().__init__(host, options)
        self._usage = CpuUsage(host, lambda: {TOTAL: host.recent(cpu_times)[TOTAL]})
        self._root = host.seen("/")
        self._timeout_s = options.timeout_ms / 1000
        self._asker = host.asker(self.name)

    def collect(self) -> Iterator[Point]:
        """Yield one point, in percent, bytes and °C."""
        yield Point("system_metrics", {**self._cpu(), **self._memory(), **self._disk()})

    def _cpu(self) -> dict[str, FieldValue]:
        """Return the share of time that was neither idle nor waiting, as psutil.cpu_percent."""
        fields: dict[str, FieldValue] = {}
        for spent in self._usage.since_last().values():
            resting = spent["idle"] + spent["iowait"]
            whole = sum(spent.values())
            fields["cpu_usage"] = percent(max(0.0, whole - resting), whole)
        temperature = processor_temperature(self.host.recent(sensors))
        if temperature is not None:
            fields["cpu_temperature"] = temperature
        return fields

    def _memory(self) -> dict[str, FieldValue]:
        """Return the figures of `mem`: used is total - available."""
        fields = self.host.recent(memory)
        return {
            "memory_total": fields["total"],
            "memory_used": fields["used"],
            "memory_percent": fields["used_percent"],
        }

    def _disk(self) -> dict[str, FieldValue]:
        """Return the figures of `disk` for the disk that the system is on; none if it is silent."""
        fields = self._usage_of_root()
        if fields is None:
            return {}
        return {
            "disk_total": fields["total"],
            "disk_used": fields["used"],
            "disk_percent": fields["used_percent"],
        }

    def _usage_of_root(self) -> Mapping[str, FieldValue] | None:
        if self.host.is_own:  # without it, nothing here would run
            return disk.usage(self.host, self._root)
        question = {self._root: lambda: disk.usage(self.host, self._root)}
        answer = self._asker.answers(question, self._timeout_s).get(self._root)
        if isinstance(answer, Exception):
            raise answer
        return answer
