"""The kernel's own counters: context switches, interrupts, forks; its start and its entropy."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

from pipeline.collectors._host.cpu_times import stat
from pipeline.collectors._host.figures import UNREADABLE, figure, possible
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, Omission, gather
from pipeline.point import FieldValue, Point

# The start of the host changes when the clock is set, and today's kernels' entropy never.
_RARE_LASTS_S = 10.0


class Kernel(Collector):
    """Writes `kernel`, as Telegraf's input of that name on Linux."""

    name = "kernel"

    def collect(self) -> Iterator[Point | Omission]:
        """Yield one point: counters since boot, seconds since 1970, and bits.

        What a kernel does not tell is left out.
        """
        fields: dict[str, FieldValue] = {}
        parts = {
            "context_switches, interrupts": lambda: _switches(self.host),
            "processes_forked": lambda: _row(self.host, "processes_forked", b"processes"),
            "boot_time": lambda: self.host.cached(_boot_time, _RARE_LASTS_S),
            "entropy_avail": lambda: self.host.cached(_entropy, _RARE_LASTS_S),
        }
        yield from gather(fields, parts)
        yield Point("kernel", possible(fields))


def _switches(host: Host) -> Mapping[str, FieldValue]:
    try:
        told = host.ps.cpu_stats()
    except UNREADABLE:
        switches = _row(host, "context_switches", b"ctxt")
        return {**switches, **_row(host, "interrupts", b"intr")}
    counted = {"context_switches": told.ctx_switches, "interrupts": told.interrupts}
    return {field: number for field, number in counted.items() if number is not None}


def _boot_time(host: Host) -> Mapping[str, FieldValue]:
    with suppress(*UNREADABLE, RuntimeError):
        return {"boot_time": int(host.ps.boot_time())}
    return _row(host, "boot_time", b"btime")


def _row(host: Host, field: str, key: bytes) -> Mapping[str, FieldValue]:
    """Return the first number of a row of proc_stat(5); psutil lacks that of the forks."""
    _, _, row = host.cached(stat).partition(b"\n" + key + b" ")
    return {field: figure(row.split(None, 1)[0])} if row.strip() else {}


def _entropy(host: Host) -> Mapping[str, FieldValue]:
    """Return the bits of entropy, which psutil lacks."""
    with suppress(FileNotFoundError):
        text = host.read_file(f"{host.proc}/sys/kernel/random/entropy_avail")
        return {"entropy_avail": figure(text)}
    return {}
