"""The summary record: a host in one line."""

import os
from collections.abc import Iterator
from math import inf

from pipeline.collectors import disk
from pipeline.collectors.collector import Host, percent
from pipeline.collectors.cpu_usage import CpuUsage
from pipeline.collectors.temperature import processor_temperature
from pipeline.point import FieldValue, Point

# A host without sensors, such as a virtual machine, keeps none; looking costs as much as the rest.
_LOOK_AGAIN_S = 600.0


class SystemMetrics:
    """Writes `system_metrics`: processor, memory and the disk of the system."""

    name = "system_metrics"
    series_tag: str | None = None
    default_exclude: tuple[str, ...] = ()

    def __init__(self, host: Host) -> None:
        self._host = host
        self._usage = CpuUsage(host, lambda: {"cpu-total": host.ps.cpu_times()})
        self._root = _system_disk()
        self._looked = -inf

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
        temperature = self._temperature()
        if temperature is not None:
            fields["cpu_temperature"] = temperature
        return fields

    def _temperature(self) -> float | None:
        now = self._host.clock.monotonic()
        read = getattr(self._host.ps, "sensors_temperatures", None)
        if read is None or now - self._looked < _LOOK_AGAIN_S:
            return None
        try:
            sensors = read()
        except (OSError, ValueError):  # a sensor that gives nonsense now may not do so next time
            return None
        if not sensors:
            self._looked = now
        return processor_temperature(sensors)

    def _memory(self) -> dict[str, FieldValue]:
        """Return the figures of `mem`: used is total - available."""
        memory = self._host.ps.virtual_memory()
        used = memory.total - memory.available
        return {
            "memory_total": memory.total,
            "memory_used": used,
            "memory_percent": percent(used, memory.total),
        }

    def _disk(self) -> dict[str, FieldValue]:
        """Return the figures of `disk` for the disk that the system is on."""
        fields = disk.usage(self._host, self._root)
        return {
            "disk_total": fields["total"],
            "disk_used": fields["used"],
            "disk_percent": fields["used_percent"],
        }


def _system_disk() -> str:
    return "/" if os.name == "posix" else os.environ.get("SYSTEMDRIVE", "C:") + "\\"
