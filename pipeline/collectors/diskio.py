"""Block devices: what was read and written, and how long it took."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import inf

from pipeline.collectors._host.cpu_times import SHORTEST_S
from pipeline.collectors.base import Collector, Host, NoData, Options
from pipeline.point import Point

# Telegraf's names in the order of /proc/diskstats, from its fourth column on:
# https://docs.kernel.org/admin-guide/iostats.html
_COLUMNS = (
    "reads",
    "merged_reads",
    "read_bytes",
    "read_time",
    "writes",
    "merged_writes",
    "write_bytes",
    "write_time",
    "iops_in_progress",
    "io_time",
    "weighted_io_time",
)

# The name may be of several words.
_ROW = re.compile(rb"\s*\d+\s+\d+\s+(\S.*?)((?:\s+\d+){%d,})\s*" % len(_COLUMNS))

_SECTOR = 512  # whatever the device's own

Counters = Mapping[str, Mapping[str, int]]


class DiskIo(Collector):
    """Writes `diskio`, as Telegraf's input of that name.

    By default, loop devices and RAM disks stay out: others' files, and no disks.
    """

    name = "diskio"
    series_tag = "name"
    default_exclude = ("loop*", "ram*")

    def __init__(self, host: Host, options: Options) -> None:
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
            busy_ms = counted.get("io_time", 0) - before.get(name, {}).get("io_time", inf)
            shares = {"io_util": 100 * busy_ms / passed_ms} if busy_ms >= 0 else {}
            yield Point("diskio", {**counted, **shares}, {"name": name})


def _read(host: Host) -> dict[str, dict[str, int]]:
    """Read /proc/diskstats, as psutil does, which leaves out what is in progress."""
    counters = {}
    for line in host.read_file(f"{host.proc}/diskstats").splitlines():
        match = _ROW.fullmatch(line)
        if match is None:  # a partition before Linux 2.6.25, or nothing that we know
            continue
        name, counted = match[1], match[2].split()
        if not any(map(int, counted)):
            continue  # a device that was never used
        fields = dict(zip(_COLUMNS, map(int, counted), strict=False))
        fields["read_bytes"] *= _SECTOR
        fields["write_bytes"] *= _SECTOR
        counters[name.decode(errors="backslashreplace")] = fields
    return counters
