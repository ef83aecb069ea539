"""Interrupts, of hardware and software: how often each came to each core."""

import re
from collections.abc import Iterator

from pipeline.collectors._host.figures import figure, printable
from pipeline.collectors.base import Collector, Omission, omission
from pipeline.point import Point

_FILES = {"soft_interrupts": "softirqs", "interrupts": "interrupts"}
_OF_NO_CORE = (b"ERR", b"Err", b"MIS")
_CORES_RE = re.compile(rb"(?: *CPU\d+)+ *")


class Interrupts(Collector):
    """Writes `interrupts` and `soft_interrupts`, as Telegraf's input of that name.

    Those that never came stay out: a machine of many cores has hundreds. A core's field has the
    number that the kernel gives it, also where one before it is switched off.
    """

    name = "interrupts"
    series_tag = "irq"
    default_enabled = False

    def collect(self) -> Iterator[Point | Omission]:
        """Yield one point for each, those of software first, in the kernel's order."""
        for measurement, file in _FILES.items():
            path = f"{self.host.proc}/{file}"
            try:
                points = [*_parse(measurement, self.host.read_file(path))]
            except (OSError, ValueError) as error:
                yield omission(path, error)
            else:
                yield from points


def _parse(measurement: str, table: bytes) -> Iterator[Point]:
    """Yield a point for each row in which something was counted.

    Raises:
        ValueError: It is no such table. Some containers have an empty file in its place.
    """
    head, *rows = table.split(b"\n")
    if not _CORES_RE.fullmatch(head):
        raise ValueError("its first line does not name the cores")
    cores = [name.decode() for name in head.split()]
    for row in rows:
        irq, _, rest = row.strip().partition(b":")
        its = [] if irq in _OF_NO_CORE else cores
        columns = len(its) or 1
        words = rest.split(None, columns)
        if len(words) < columns:  # cut off
            continue
        counted = [figure(word) for word in words[:columns]]
        fields = {"total": sum(counted), **dict(zip(its, counted, strict=False))}
        if fields["total"] == 0:
            continue
        tags = {"irq": irq, **_origin(irq, words[columns:])}
        named = {key: printable(its) for key, its in tags.items() if its}
        yield Point(measurement, fields, named)


def _origin(irq: bytes, rest: list[bytes]) -> dict[str, bytes]:
    """Return what a row says after its figures; of a numbered one that ends with the device."""
    words = rest[0].split() if rest else []
    if not irq.isdigit():
        return {"type": b" ".join(words)}
    return {"type": b"".join(words[:1]), "device": b" ".join(words[1:])}
