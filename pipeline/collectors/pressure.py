"""Pressure: for how much of the time programs wait for processor, memory and disks."""

import errno
from collections.abc import Iterator, Mapping
from functools import lru_cache

from pipeline.collectors._host.figures import decimal, figure, part
from pipeline.collectors.base import Collector, NoData, Omission, omission
from pipeline.point import FieldValue, Point

# The processor is never short for all at once: the kernel writes 0 there.
_TYPES: Mapping[str, tuple[str, ...]] = {
    "cpu": ("some",),
    "memory": ("some", "full"),
    "io": ("some", "full"),
}
_AVERAGES = {"avg10": b"avg10", "avg60": b"avg60", "avg300": b"avg300"}

# Where nobody waits, a row stays the same from reading to reading.
_ROWS = 8


class Pressure(Collector):
    """Writes `pressure`, as Telegraf's input `kernel` with `collect = ["psi"]`.

    https://docs.kernel.org/accounting/psi.html
    """

    name = "pressure"
    series_tag = "resource"
    repeats_points = True

    def collect(self) -> Iterator[Point | Omission]:
        """Yield one point for each resource and type, in percent, and microseconds since boot.

        `some` is while at least one task waits, `full` while all that have something to do wait.
        """
        is_told = False
        for resource, types in _TYPES.items():
            try:
                text = self.host.read_file(f"{self.host.proc}/pressure/{resource}")
            except OSError as error:
                if not _is_absent(error):
                    yield omission(resource, error, points=len(types))
                continue
            rows = dict(line.partition(b" ")[::2] for line in text.splitlines())
            for kind in types:
                if row := rows.get(kind.encode()):
                    is_told = True
                    yield _point(resource, kind, row)
        if not is_told:
            raise NoData


def _is_absent(error: OSError) -> bool:
    """Tell whether a kernel does not measure: before 4.20, without PSI, or told not to.

    Those of some distributions, such as RHEL 8's, then have the files and refuse to read them.
    """
    return isinstance(error, FileNotFoundError) or error.errno == errno.EOPNOTSUPP


@lru_cache(_ROWS)
def _point(resource: str, kind: str, row: bytes) -> Point:
    told = dict([pair.partition(b"=")[::2] for pair in row.split()])
    fields: dict[str, FieldValue] = {
        name: part(decimal(told.get(key, b"")), 100.0) for name, key in _AVERAGES.items()
    }
    fields["total"] = figure(told.get(b"total", b""))
    return Point("pressure", fields, {"resource": resource, "type": kind})
