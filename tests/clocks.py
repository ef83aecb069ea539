"""A clock that tests move themselves."""

from collections.abc import Callable
from threading import Event

START_NS = 1_700_000_000 * 10**9


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
