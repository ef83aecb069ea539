"""A clock that an agent lives by without waiting: time passes when all its threads wait."""

import threading
from dataclasses import dataclass, field
from threading import Event

# An event that another thread sets tells nobody else.
_LOOK_S = 0.05


@dataclass(eq=False)
class _Waiter:
    due: float
    gate: Event = field(default_factory=Event)


class FastClock:
    """Goes on to the first moment that one of its threads waits for, once all of them wait.

    Args:
        threads: How many threads there are.
        start_ns: The wall clock at the start.
    """

    def __init__(self, threads: int, start_ns: int) -> None:
        self._threads = threads
        self._start_ns = start_ns
        self._elapsed = 0.0
        self._lock = threading.Lock()
        self._waiting: list[_Waiter] = []

    def now_ns(self) -> int:
        """Return the wall clock in nanoseconds since 1970-01-01 UTC."""
        return self._start_ns + round(self._elapsed * 1e9)

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return self._elapsed

    def wait(self, event: Event, seconds: float) -> bool:
        """Wait for the event, `seconds` at most; return whether it is set."""
        if event.is_set():
            return True
        waiter = _Waiter(self._elapsed + max(0.0, seconds))
        with self._lock:
            self._waiting.append(waiter)
            if len(self._waiting) == self._threads:
                first = min(self._waiting, key=lambda each: each.due)
                self._elapsed = max(self._elapsed, first.due)
                self._waiting.remove(first)
                first.gate.set()
        while not waiter.gate.wait(_LOOK_S) and not event.is_set():
            pass
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
        return event.is_set()
