"""What the processor spent its time on between two readings."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from threading import Event
from typing import Any

from pipeline.collectors.collector import Host

KINDS = (
    "user",
    "system",
    "idle",
    "nice",
    "iowait",
    "irq",
    "softirq",
    "steal",
    "guest",
    "guest_nice",
)
"""The kinds of work, by psutil's names, which are Telegraf's too."""

Spent = Mapping[str, float]
"""Kind of work to seconds; the kinds do not overlap, so that they add up to the time passed."""

# Counters advance by hundredths of a second: over less than this, their difference says little.
_SHORTEST = 0.1


class CpuUsage:
    """Differences between successive readings of the processor's counters.

    A difference spans 0.1 s at least. The first reading is taken when the object is made; whoever
    asks sooner waits the first time, and gets the last difference again from then on.

    Args:
        host: What is read.
        read: Reads the counters: name of a core to psutil's `cpu_times`.
    """

    def __init__(self, host: Host, read: Callable[[], Mapping[str, Any]]) -> None:
        self._clock = host.clock
        self._read = read
        self._times: Mapping[str, Any] = {}
        self._taken = 0.0
        self._last: dict[str, Spent] = {}
        with suppress(
            Exception
        ):  # what fails now fails again in `since_last`, and is reported there
            self._take()

    def since_last(self) -> dict[str, Spent]:
        """Return what each core did since the last call; new ones and halted ones are left out.

        Raises:
            OSError: The counters cannot be read.
        """
        if not self._times:
            self._take()
        remaining = self._taken + _SHORTEST - self._clock.monotonic()
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


def difference(before: Any, after: Any) -> Spent:
    """Return what the time between two readings of psutil's `cpu_times` was spent on.

    A counter that went back (idle and iowait do, and all do after a live migration) counts as one
    that stood still. Guests' time, which the kernel also counts as user and nice, is taken out of
    these. A kind that the platform does not count is 0.
    """
    spent = {
        kind: max(0.0, getattr(after, kind, 0.0) - getattr(before, kind, 0.0)) for kind in KINDS
    }
    for guest, holder in (("guest", "user"), ("guest_nice", "nice")):
        spent[guest] = min(spent[guest], spent[holder])
        spent[holder] -= spent[guest]
    return spent


def add(all_spent: Iterable[Spent]) -> Spent:
    """Return the sum, kind by kind."""
    every = list(all_spent)
    return {kind: sum(spent[kind] for spent in every) for kind in KINDS}
