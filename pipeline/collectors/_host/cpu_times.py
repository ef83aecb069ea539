"""What the processor spent its time on: since boot, and between two readings."""

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Event

from pipeline.collectors._host.figures import UNREADABLE, figure
from pipeline.collectors._host.host import Host

TOTAL = "cpu-total"
"""The name of all cores together."""

KINDS = (
    "user",
    "nice",
    "system",
    "idle",
    "iowait",
    "irq",
    "softirq",
    "steal",
    "guest",
    "guest_nice",
)
"""The kinds of work by psutil's names, which are Telegraf's too."""

_ROW_RE = re.compile(rb"^cpu(\d*) +([^\n]*)", re.MULTILINE)

Times = Mapping[str, float]
"""Kind of work to seconds since boot; guests' time is also part of `user` and `nice`."""

Spent = Mapping[str, float]
"""Kind of work to seconds; the kinds do not overlap, so that they add up to the time passed."""

# Counters advance by hundredths of a second: over less than this, their difference says little.
SHORTEST_S = 0.1


def stat(host: Host) -> bytes:
    """Return /proc/stat; by `cached`, since the kernel takes long over it.

    Raises:
        OSError: It cannot be read.
    """
    return host.read_file(f"{host.proc}/stat")


def cpu_times(host: Host) -> dict[str, Times]:
    """Read the counters of all cores together, then of each that is in use.

    psutil lacks the cores' names: where cpu1 is switched off, its second core is cpu2.

    Raises:
        OSError: They cannot be read.
    """
    rows = _ROW_RE.findall(host.cached(stat))
    names = [f"cpu{number.decode()}" if number else TOTAL for number, _ in rows]
    try:
        told = [host.ps.cpu_times(), *host.ps.cpu_times(percpu=True)]
        if names[:1] == [TOTAL] and len(told) == len(names):
            named = zip(names, told, strict=True)
            return {name: {kind: getattr(its, kind, 0.0) for kind in KINDS} for name, its in named}
    except UNREADABLE:
        pass
    # A core was switched on or off meanwhile, or the row of one cannot be read.
    return {name: _parse(row) for name, (_, row) in zip(names, rows, strict=True)}


def _parse(row: bytes) -> Times:
    """Read a row of proc_stat(5), each of whose figures may be none."""
    counted = [figure(text) / os.sysconf("SC_CLK_TCK") for text in row.split()]
    return dict.fromkeys(KINDS, 0.0) | dict(zip(KINDS, counted, strict=False))


class CpuUsage:
    """Differences between successive readings of the processor's counters.

    A difference spans 0.1 s at least. The first reading is taken when the object is made; whoever
    asks sooner waits the first time, and gets the last difference again from then on.
    """

    def __init__(self, host: Host, read: Callable[[], Mapping[str, Times]]) -> None:
        self._clock = host.clock
        self._read = read
        self._times: Mapping[str, Times] = {}
        self._taken = 0.0
        self._last: dict[str, Spent] = {}
        with suppress(Exception):  # what fails now fails again in `since_last`, which reports it
            self._take()

    def since_last(self) -> dict[str, Spent]:
        """Return what each core did since the last call; new ones and halted ones are left out.

        Raises:
            OSError: The counters cannot be read.
        """
        if not self._times:
            self._take()
        remaining = self._taken + SHORTEST_S - self._clock.monotonic()
        if remaining > 0:
            if self._last:
                return self._last
            self._clock.wait(Event(), remaining)
        before = self._times
        self._take()
        both = {name: times for name, times in self._times.items() if name in before}
        spent = {name: difference(before[name], times) for name, times in both.items()}
        self._last = {name: parts for name, parts in spent.items() if any(parts.values())}
        return self._last

    def _take(self) -> None:
        self._times = self._read()
        self._taken = self._clock.monotonic()


def difference(before: Times, after: Times) -> Spent:
    """Return what the time between two readings was spent on.

    A counter that went back (idle and iowait do, and all do after a live migration) counts as one
    that stood still. Guests' time, which the kernel also counts as user and nice, is taken out of
    these.
    """
    spent = {kind: max(seconds - before[kind], 0.0) for kind, seconds in after.items()}
    for guest, holder in (("guest", "user"), ("guest_nice", "nice")):
        spent[guest] = min(spent[guest], spent[holder])
        spent[holder] -= spent[guest]
    return spent
