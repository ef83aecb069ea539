"""Block devices: what was read and written, and how long it took."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import inf
from typing import Any

from pipeline.collectors._host.cpu_times import SHORTEST_S
from pipeline.collectors._host.figures import UNREADABLE, figure, possible, printable, share
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, NoData
from pipeline.point import Point
from pipeline.settings import CollectorOptions

# Telegraf's name to psutil's, and to the column after the name in /proc/diskstats with its unit:
# https://docs.kernel.org/admin-guide/iostats.html
_NAMES = {
    "reads": ("read_count", 0, 1),
    "merged_reads": ("read_merged_count", 1, 1),
    "read_bytes": ("read_bytes", 2, 512),
    "read_time": ("read_time", 3, 1),
    "writes": ("write_count", 4, 1),
    "merged_writes": ("write_merged_count", 5, 1),
    "write_bytes": ("write_bytes", 6, 512),
    "write_time": ("write_time", 7, 1),
    "io_time": ("busy_time", 9, 1),
}

# For what psutil lacks.
_COLUMNS = {"iops_in_progress": 8, "weighted_io_time": 10}

# How many columns follow the name: in Linux since 5.5, since 4.18, and before.
_WIDTHS = (17, 15, 11)

_Counters = Mapping[str, Mapping[str, float]]


class DiskIo(Collector):
    """Writes `diskio`, as Telegraf's input of that name.

    By default, loop devices and RAM disks stay out: others' files, and no disks.
    """

    name = "diskio"
    series_tag = "name"
    default_exclude = ("loop*", "ram*")

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._before: _Counters = {}
        self._taken = host.clock.monotonic()
        with suppress(Exception):  # what fails now fails again in `collect`, and is reported there
            self._before = _read(host)

    def collect(self) -> Iterator[Point]:
        """Yield the counters since boot of each disk and partition that was ever used.

        Bytes, and milliseconds for the times. `io_util` is the share of the time since the last
        reading in which the device was busy, in percent, as iostat's %util; absent over less than
        0.1 s, and when the counters restarted. The kernel counts a request's time when it ends, so
        that more may come together than has passed: 100 then.
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
            shares = {"io_util": min(100.0, share(busy_ms / passed_ms))} if busy_ms >= 0 else {}
            yield Point("diskio", possible({**counted, **shares}), {"name": name})


def _read(host: Host) -> dict[str, dict[str, float]]:
    """Read the counters of each device that was ever used.

    Without psutil's `nowrap`, which hides that they restarted. One row that psutil cannot read,
    such as that of a device with a blank in its name, costs it all of them.

    Raises:
        OSError: They cannot be read.
    """
    rows = _rows(host)
    try:
        told = host.ps.disk_io_counters(perdisk=True, nowrap=False)
    except UNREADABLE:
        told = {}
    return {printable(name): _counters(row, told.get(name)) for name, row in rows.items()}


def _counters(row: list[bytes], told: Any) -> dict[str, float]:
    """Return the counters of one device; psutil's, where it has them."""
    counted = {
        field: getattr(told, its) if told else figure(row[column], unit)
        for field, (its, column, unit) in _NAMES.items()
    }
    return counted | {field: figure(row[column]) for field, column in _COLUMNS.items()}


def _rows(host: Host) -> dict[str, list[bytes]]:
    """Return the columns of each device that was ever used.

    A name may have blanks in it, so that its end is known by the number of columns, which is the
    same for all.
    """
    lines = host.read_file(f"{host.proc}/diskstats").split(b"\n")
    widths = [(line, width) for line in lines if (width := _width(line))]
    usual = Counter(width for _, width in widths).most_common(1)
    rows = {}
    for line, width in widths:
        head, *row = line.rsplit(None, min(width, usual[0][0]))
        if any(column != b"0" for column in row):
            rows[os.fsdecode(head.split(None, 2)[2])] = row
    return rows


def _width(line: bytes) -> int:
    """Return how many columns a line has after the name; 0 if it is none of the table."""
    words = len(line.split()) - 3
    return next((width for width in _WIDTHS if width <= words), 0)
