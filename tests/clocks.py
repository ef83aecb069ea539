"""Clocks that tests move themselves."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Event
from unittest.mock import patch

from pipeline.clock import SystemClock

START_NS = 1_700_000_000 * 10**9
CENTRAL_EUROPE = "CET-1CEST,M3.5.0,M10.5.0/3"


@contextmanager
def zone(name: str) -> Iterator[None]:
    """Set the zone of local times, as tzset(3) has it."""
    with patch.dict(os.environ, TZ=name):
        time.tzset()
        yield
    time.tzset()


class ManualClock:
    """Stands still until it is waited on; then the wait is over at once.

    `on_wait` is called before each wait ends, with the number of waits so far: a test sets an
    event, moves the wall clock or counts there.
    """

    def __init__(self, start_ns: int = START_NS) -> None:
        self.wall_ns = start_ns
        self.elapsed = 0.0
        self.waits: list[float] = []
        self.on_wait: Callable[[int], None] = lambda _: None

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic(self) -> float:
        return self.elapsed

    def wait(self, event: Event, seconds: float) -> bool:
        if event.is_set():
            return True
        self.waits.append(seconds)
        self.on_wait(len(self.waits))
        if not event.is_set():
            self.advance(seconds)
        return event.is_set()

    def advance(self, seconds: float) -> None:
        self.elapsed += seconds
        self.wall_ns += round(seconds * 1e9)


class ShiftedClock(SystemClock):
    """Differs from the machine's by as much as a test says."""

    shift_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.shift_ns


class SharedClock:
    """Stands still while any of its threads works; `go_on` moves it from wait to wait.

    Args:
        threads: How many wait on it when nothing is to be done.
        start_ns: The wall clock at its start.
    """

    def __init__(self, threads: int, start_ns: int) -> None:
        self._threads = threads
        self._start_ns = start_ns
        self._elapsed = 0.0
        self._changed = Condition()
        self._waiting: dict[object, tuple[float, Event]] = {}

    def now_ns(self) -> int:
        return self._start_ns + round(self._elapsed * 1e9)

    def monotonic(self) -> float:
        return self._elapsed

    def wait(self, event: Event, seconds: float) -> bool:
        with self._changed:
            due, waiter = self._elapsed + max(0.0, seconds), object()
            self._waiting[waiter] = (due, event)
            while not event.is_set() and self._elapsed < due:
                self._changed.wait(0.005)  # an event that another thread sets tells nobody
            del self._waiting[waiter]
        return event.is_set()

    def go_on(self, until_s: float, within_s: float = 120.0) -> None:
        """Let so much time pass since the start; every thread is idle when this returns."""
        deadline = time.monotonic() + within_s
        with self._changed:
            while True:
                if self._idle():
                    if self._elapsed >= until_s:
                        return
                    first = min(due for due, _ in self._waiting.values())
                    self._elapsed = min(first, until_s)
                    self._changed.notify_all()
                assert time.monotonic() < deadline, f"a thread is busy: {self._waiting}"
                self._changed.wait(0.001)

    def _idle(self) -> bool:
        waits = self._waiting.values()
        return len(waits) == self._threads and all(
            due > self._elapsed and not event.is_set() for due, event in waits
        )
