"""The processor: what each core and all of them together spent their time on."""

from collections.abc import Iterator

from pipeline.collectors._host.cpu_times import CpuUsage, Spent, Times, cpu_times
from pipeline.collectors._host.figures import percent, possible
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, NoData
from pipeline.point import FieldValue, Point
from pipeline.settings import CollectorOptions


class Cpu(Collector):
    """Writes `cpu`, as Telegraf's input of that name with report_active.

    With the option `times`, also as with collect_cpu_time.
    """

    name = "cpu"
    series_tag = "cpu"

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._times = options.times
        self._usage = CpuUsage(host, lambda: host.cached(cpu_times))

    def collect(self) -> Iterator[Point]:
        """Yield the percentages of all cores together, then of each, and their seconds since boot.

        `cpu-total` is the kernel's own sum, which also counts cores that are switched off by now.
        """
        spent = self._usage.since_last()
        times = self.host.cached(cpu_times) if self._times else {}
        cores = times or spent
        if not cores:
            raise NoData
        for core in cores:
            fields: dict[str, FieldValue] = {}
            if core in spent:
                fields |= _shares(spent[core])
            if core in times:
                fields |= _seconds(times[core])
            yield Point("cpu", possible(fields), {"cpu": core})


def _shares(spent: Spent) -> dict[str, FieldValue]:
    whole = sum(spent.values())
    fields: dict[str, FieldValue] = {
        f"usage_{kind}": percent(seconds, whole) for kind, seconds in spent.items()
    }
    # Telegraf's active is all but idle: waiting for a disk is active.
    fields["usage_active"] = percent(whole - spent["idle"], whole)
    return fields


def _seconds(times: Times) -> dict[str, FieldValue]:
    """Return the counters as the kernel has them: guests' time is part of time_user, time_nice."""
    fields: dict[str, FieldValue] = {f"time_{kind}": seconds for kind, seconds in times.items()}
    resting = times["idle"] + times["guest"] + times["guest_nice"]
    fields["time_active"] = sum(times.values()) - resting
    return fields
