"""The system as a whole: load, cores, uptime."""

from collections.abc import Iterator

from pipeline.collectors.collector import Host
from pipeline.point import FieldValue, Point


class System:
    """Writes `system`, as Telegraf's input of that name."""

    name = "system"
    series_tag: str | None = None
    default_exclude: tuple[str, ...] = ()

    def __init__(self, host: Host) -> None:
        self._ps = host.ps
        self._clock = host.clock
        self._cores: tuple[int | None, int | None] = (None, None)

    def collect(self) -> Iterator[Point]:
        """Yield one point: load averages, numbers of cores, and seconds since boot.

        The uptime is the wall clock less psutil's `boot_time`, which the kernel shifts when the
        clock is set, so it is asked for each time.
        """
        ps = self._ps
        fields: dict[str, FieldValue] = {}
        fields["load1"], fields["load5"], fields["load15"] = ps.getloadavg()
        logical, physical = self._count_cores()
        if logical is not None:
            fields["n_cpus"] = logical
        if physical is not None:
            fields["n_physical_cpus"] = physical
        uptime = max(0, self._clock.now_ns() // 10**9 - int(ps.boot_time()))
        fields["uptime"] = uptime
        fields["uptime_format"] = format_uptime(uptime)
        yield Point("system", fields)

    def _count_cores(self) -> tuple[int | None, int | None]:
        """Return the cores, logical and physical; the latter change with the former at most.

        Counting the physical ones opens a file for each logical one.
        """
        logical = self._ps.cpu_count()
        if logical is None or logical != self._cores[0]:
            self._cores = (logical, self._ps.cpu_count(logical=False))
        return self._cores


def format_uptime(seconds: int) -> str:
    """Return an uptime as Telegraf and `uptime` write it, such as `3 days,  4:05`."""
    days, rest = divmod(seconds, 86_400)
    hours, minutes = rest // 3600, rest % 3600 // 60
    lead = f"{days} day{'s' if days > 1 else ''}, " if days else ""
    return f"{lead}{hours:2d}:{minutes:02d}"
