"""Block devices: what was read and written, and how long it took."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import inf

from pipeline.collectors._host.cpu_times import SHORTEST_S
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, NoData, printable
from pipeline.point import Point
from pipeline.settings import CollectorOptions

# Telegraf's name to psutil's.
_NAMES = {
    "reads": "read_count",
    "merged_reads": "read_merged_count",
    "read_bytes": "read_bytes",
    "read_time": "read_time",
    "writes": "write_count",
    "merged_writes": "write_merged_count",
    "write_bytes": "write_bytes",
    "write_time": "write_time",
    "io_time": "busy_time",
}

# Telegraf's name to the column in /proc/diskstats, for what psutil lacks:
# https://docs.kernel.org/admin-guide/iostats.html
_COLUMNS = {"iops_in_progress": 11, "weighted_io_time": 13}

Counters = Mapping[str, Mapping[str, int]]


class DiskIo(Collector):
    """Writes `diskio`, as Telegraf's input of that name.

    By default, loop devices and RAM disks stay out: others' files, and no disks.
    """

    name = "diskio"
    series_tag = "name"
    default_exclude = ("loop*", "ram*")

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._before: Counters = {}
        self._taken = host.clock.monotonic()
        with suppress(Exception):  # what fails now fails again in `collect`, and is reported there
            self._before = _read(host)

    def collect(self) -> Iterator[Point]:
        """Yield the counters since boot of each disk and partition that was ever used.

        Bytes, and milliseconds for the times. `io_util` is the share of the time since the last
        reading in which the device was busy, in percent, as iostat's %util; absent over less than
        0.1 s, and when the counters began anew.
        """
        counters = _read(self.host)
        now = self.host.clock.monotonic()
        passed_ms = (now - self._taken) * 1000
        before = self._before if passed_ms >= SHORTEST_S * 1000 else {}
        if before or not self._before:
            self._before, self._taken = counters, now
        if not counters:
            raise NoData
        for name, counted in counters.items():
            busy_ms = counted["io_time"] - before.get(name, {}).get("io_time", inf)
            shares = {"io_util": 100 * busy_ms / passed_ms} if busy_ms >= 0 else {}
            yield Point("diskio", {**counted, **shares}, {"name": name})


def _read(host: Host) -> dict[str, dict[str, int]]:
    """Read the counters of each device, without `nowrap`, which hides that they began anew.

    Raises:
        OSError: They cannot be read.
        ValueError: The name of one has a space in it, which psutil takes for the name's end.
    """
    lacking = _read_lacking(host)
    return {
        printable(name): {field: getattr(disk, its) for field, its in _NAMES.items()}
        | lacking[name]
        for name, disk in host.ps.disk_io_counters(perdisk=True, nowrap=False).items()
        if name in lacking
    }


def _read_lacking(host: Host) -> dict[str, dict[str, int]]:
    """Read what psutil lacks of each device that was ever used."""
    rows = [line.split() for line in host.read_file(f"{host.proc}/diskstats").splitlines()]
    return {
        os.fsdecode(row[2]): {field: int(row[column]) for field, column in _COLUMNS.items()}
        for row in rows
        if any(map(int, row[3:]))
    }
