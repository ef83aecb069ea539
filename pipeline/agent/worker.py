"""A job: a thread that goes on until it is ended, whatever fails in it."""

import logging
import threading
from collections.abc import Callable
from threading import Event

from pipeline.clock import Clock
from pipeline.health import Health

_RESTART_S = 10.0


class Job:
    """Runs in a thread of its own between `start` and `end`.

    Args:
        name: Its name, also in the log and as a source of trouble.
        work: Does it, until the first event is set; the second cuts its waits short, and is set
            with the first.
        clock: Waits before a job that failed goes on.
        health: Shows a failure.
    """

    def __init__(
        self, name: str, work: Callable[[Event, Event], None], clock: Clock, health: Health
    ) -> None:
        self._name = name
        self._work = work
        self._clock = clock
        self._trouble = health.trouble(name)
        self._stop = Event()
        self._wake = Event()
        # A server that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Cut its wait short."""
        self._wake.set()

    def end(self) -> None:
        """Ask it to end; `join` waits for that."""
        self._stop.set()
        self._wake.set()

    def join(self, within_s: float) -> None:
        """Wait for its end, so many seconds at most."""
        self._thread.join(max(0.0, within_s))

    def _run(self) -> None:
        while True:
            try:
                self._work(self._stop, self._wake)
                return
            except Exception as error:  # noqa: BLE001  # a job never ends by accident
                if self._stop.is_set():
                    return
                self._trouble.begins(
                    str(error),
                    f"{self._name} goes on in 10 s, it failed: {error}",
                    level=logging.ERROR,
                    error=error,
                )
                self._clock.wait(self._stop, _RESTART_S)
