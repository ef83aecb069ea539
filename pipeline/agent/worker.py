"""The threads of a session: each runs until it is ended, whatever fails in it."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from threading import Event

from pipeline.clock import Clock
from pipeline.health import Health, Trouble

_RESTART_S = 10.0
_TAKE_OVER_S = 2.0

Work = Callable[[Event, Event], None]
"""Works until the first event is set, or all is done; the second cuts its waits short, and is set
with the first.
"""


def _nothing() -> None:
    pass


class Worker:
    """Does its work in a thread of its own until `end`, again after a failure.

    Args:
        name: Its name, also in the log and as a source of trouble.
        work: What it does.
        clock: The source of time.
        health: Shows a failure.
        before: The worker that this one replaces; it runs until the thread of this one does.
        retire: Is called before the worker ends because another one replaces it: it is to report
            and to finish nothing any more.
        begin: Is called before the work, when the one before has ended or had its time to.
    """

    def __init__(
        self,
        name: str,
        work: Work,
        clock: Clock,
        health: Health,
        before: "Worker | None" = None,
        retire: Callable[[], None] = _nothing,
        begin: Callable[[], None] = _nothing,
    ) -> None:
        self.name = name
        self._work = work
        self._clock = clock
        self._trouble = health.trouble(name)
        self._accident = Trouble()  # only logged, once: it is over when the thread runs again
        self._before = before
        self._retire = retire
        self._begin = begin
        self._stop = Event()
        self._wake = Event()
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def running(self) -> "Worker | None":
        """Return the one to replace: itself, or, while it had no thread yet, the one before it."""
        return self._before if self._thread is None else self

    def start(self) -> None:
        """Start a thread, unless one runs or it was asked to end.

        Raises:
            RuntimeError: The system starts no thread at present.
        """
        if self.alive or self._stop.is_set():
            return
        if self._thread is not None:
            line = f"The thread {self.name} ended by accident and is started again"
            self._accident.begins(line, line, level=logging.ERROR)
        # A server that hangs must not keep the process from ending.
        thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        thread.start()
        self._thread = thread

    def wake(self) -> None:
        """Cut its wait short."""
        self._wake.set()
        if (before := self._before) is not None:
            before.wake()

    def end(self) -> None:
        """Ask it to end; `join` waits for that."""
        self._stop.set()
        self.wake()
        if (before := self._before) is not None:
            before.retire()

    def retire(self) -> None:
        """Ask it to end, since another one replaces it."""
        self._retire()
        self.end()

    def join(self, deadline: float) -> None:
        """Wait for its end until that moment of the monotonic clock."""
        if (before := self._before) is not None:
            before.join(deadline)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, deadline - self._clock.monotonic()))

    def _run(self) -> None:
        if self._before is not None:
            self._before.retire()
            self._before.join(self._clock.monotonic() + _TAKE_OVER_S)
            self._before = None
        self._begin()
        while True:
            try:
                self._work(self._stop, self._wake)
                self._stop.set()
                return
            except Exception as error:  # noqa: BLE001  # no error may end the thread
                if self._stop.is_set():
                    return
                why = str(error) or type(error).__name__
                with contextlib.suppress(Exception):  # to report it may fail for the same reason
                    self._trouble.begins(
                        why,
                        f"{self.name} failed, retrying in 10 s: {why}",
                        level=logging.ERROR,
                        error=error,
                    )
                self._clock.wait(self._stop, _RESTART_S)


def in_turns(steps: Iterator[object], clock: Clock, stop: Event, trouble: Trouble) -> None:
    """Go through steps that use the store until `stop`; others have it as long as each took.

    A trouble ends with the next step that works, or when nothing is left to do.
    """
    begun = clock.monotonic()
    for _ in steps:
        trouble.ends()
        if clock.wait(stop, clock.monotonic() - begun):
            return
        begun = clock.monotonic()
    trouble.ends()


class Workers:
    """The workers of a session, one of a name.

    Args:
        clock: The source of time.
        health: Is told which threads do not run.
    """

    def __init__(self, clock: Clock, health: Health) -> None:
        self._clock = clock
        self._health = health
        self._lock = threading.Lock()
        self._workers: dict[str, Worker] = {}

    def start(
        self,
        name: str,
        work: Work,
        retire: Callable[[], None] = _nothing,
        begin: Callable[[], None] = _nothing,
    ) -> None:
        """Start a worker; it replaces the one of the same name, as `Worker` says."""
        with self._lock:
            former = self._workers.get(name)
            before = former and former.running()
            self._workers[name] = Worker(
                name, work, self._clock, self._health, before, retire, begin
            )
        self.start_missing()

    def start_missing(self) -> None:
        """Start each worker whose thread could not be started, or has died."""
        why = None
        with self._lock:
            try:
                for worker in self._workers.values():
                    worker.start()
            except RuntimeError as error:
                why = f"{worker.name} does not run: {error}; raise TasksMax= or ulimit -u"
        trouble = self._health.trouble("threads")
        if why:
            line = f"A thread could not be started, retrying: {why}"
            trouble.begins(why, line, level=logging.ERROR)
        else:
            trouble.ends("All threads run again")

    def runs(self, name: str) -> bool:
        """Return whether a worker of that name is at work."""
        worker = self._workers.get(name)
        return worker is not None and worker.alive

    def wake(self, name: str) -> None:
        """Cut the wait of a worker short, if there is one of that name."""
        if (worker := self._workers.get(name)) is not None:
            worker.wake()

    def end(self, within_s: float, *names: str, retire: bool = False) -> None:
        """End workers for good, and wait for that so many seconds at most.

        With `retire` they finish nothing, as if others replaced them.
        """
        with self._lock:
            found = [self._workers.pop(name) for name in names if name in self._workers]
            for worker in found:
                if retire:
                    worker.retire()
                else:
                    worker.end()
        deadline = self._clock.monotonic() + within_s
        for worker in found:
            worker.join(deadline)
