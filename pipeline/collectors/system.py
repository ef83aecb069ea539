"""The system as a whole: load, cores, uptime."""

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

from pipeline.collectors._host.cpu_times import TOTAL, cpu_times
from pipeline.collectors._host.figures import UNKNOWN, UNREADABLE, decimal, figure, possible
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, Omission, gather
from pipeline.point import FieldValue, Point
from pipeline.settings import CollectorOptions


class System(Collector):
    """Writes `system`, as Telegraf's input of that name."""

    name = "system"

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._cores: Collection[str] = ()
        self._physical: int | None = None

    def collect(self) -> Iterator[Point | Omission]:
        """Yield one point: load averages, numbers of cores, and seconds since boot."""
        fields: dict[str, FieldValue] = {}
        parts = {"load": self._load, "cores": self._count, "uptime": self._uptime}
        yield from gather(fields, parts)
        yield Point("system", possible(fields))

    def _load(self) -> Mapping[str, FieldValue]:
        return dict(zip(("load1", "load5", "load15"), _load(self.host), strict=True))

    def _count(self) -> Mapping[str, FieldValue]:
        cores = self.host.cached(cpu_times).keys() - {TOTAL}
        if cores != self._cores:  # counting the physical ones opens a file for each
            self._physical = None
            with suppress(OSError, *UNREADABLE):
                self._physical = self.host.ps.cpu_count(logical=False)
            self._cores = cores
        physical = {"n_physical_cpus": self._physical} if self._physical else {}
        return {"n_cpus": len(cores) or UNKNOWN, **physical}

    def _uptime(self) -> Mapping[str, FieldValue]:
        uptime = _uptime(self.host)
        text = UNKNOWN if math.isnan(uptime) else _in_words(int(uptime))
        return {"uptime": uptime, "uptime_format": text}


def _load(host: Host) -> tuple[float, float, float]:
    """Return the load averages: psutil's are those of /proc, wherever the host's is.

    The kernel counts in parts of 1/2048: four digits tell all of them apart.
    """
    if host.proc == "/proc":
        load1, load5, load15 = (round(load, 4) for load in host.ps.getloadavg())
    else:
        told = host.read_file(f"{host.proc}/loadavg").split()[:3]
        load1, load5, load15 = [*map(decimal, told), UNKNOWN, UNKNOWN, UNKNOWN][:3]
    return load1, load5, load15


def _uptime(host: Host) -> float:
    """Return the seconds since boot, those asleep included, as Telegraf's.

    psutil's `boot_time` is by the wall clock, so that its distance to now depends on both being
    asked for before and after the same setting of it.
    """
    return figure(host.read_file(f"{host.proc}/uptime").partition(b".")[0])


def _in_words(seconds: int) -> str:
    """Return an uptime as Telegraf and `uptime` write it, such as `3 days,  4:05`."""
    days, rest = divmod(seconds, 86_400)
    hours, minutes = rest // 3600, rest % 3600 // 60
    lead = f"{days} day{'s' if days > 1 else ''}, " if days else ""
    return f"{lead}{hours:2d}:{minutes:02d}"
