"""Calls that may never return, made without waiting for ever."""

from collections.abc import Callable, Hashable, Mapping
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, TypeVar

from pipeline.clock import Clock

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")


class TimeoutRunner:
    """Makes each call in a thread of its own, and gives up on what does not return in time.

    A system call on the file system of a dead server blocks inside the kernel, and nothing can end
    it. So its thread is left to it, and no other call with the same key is made until it returns:
    there are as many threads as calls that hang, however long they do. The threads are daemons, so
    the process ends without them. Only one thing can hold it, inside the kernel: a FUSE server that
    took the request and neither answers nor ends.

    Args:
        clock: Waits for the calls.
        idle_s: How long a thread without a call is kept, in seconds. To start one costs more than
            most calls; to keep one that is seldom needed costs memory.
    """

    def __init__(self, clock: Clock, idle_s: float = 10.0) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._workers: dict[Hashable, _Worker] = {}

    def run(self, calls: Mapping[K, Callable[[], A]], timeout_s: float) -> dict[K, A | Exception]:
        """Return what each call that returns in time gives, or what it raises.

        Args:
            calls: Key to call; two calls with one key may wait for the same thing.
            timeout_s: Longest wait for all together, in seconds; they are made at the same time.

        Raises:
            RuntimeError: The system starts no thread at present.
        """
        self._workers = {
            key: worker for key, worker in self._workers.items() if key in calls or not worker.idle
        }
        for key in calls:
            self._workers.setdefault(key, _Worker(self._idle_s))
        started = {key: self._workers[key] for key in calls if self._workers[key].idle}
        for key, worker in started.items():
            worker.start(calls[key])
        deadline = self._clock.monotonic() + timeout_s
        results: dict[K, A | Exception] = {}
        for key, worker in started.items():
            if self._clock.wait(worker.done, max(0.0, deadline - self._clock.monotonic())):
                results[key] = worker.result
        return results


class _Worker:
    """A thread that makes one call at a time, and ends when none has come for a while."""

    def __init__(self, idle_s: float) -> None:
        self.done = Event()
        self.done.set()
        self.result: Any = None
        self._idle_s = idle_s
        self._calls: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self._lock = Lock()
        self._lives = False

    @property
    def idle(self) -> bool:
        return self.done.is_set()

    def start(self, call: Callable[[], Any]) -> None:
        with self._lock:
            if not self._lives:  # first, for the system may start no thread
                Thread(target=self._work, name="timeout", daemon=True).start()
                self._lives = True
            self.done.clear()
            self._calls.put(call)

    def _work(self) -> None:
        while (call := self._next()) is not None:
            try:
                self.result = call()
            except Exception as error:  # noqa: BLE001 - it is for the caller
                self.result = error
            del call  # it may hold much
            self.done.set()

    def _next(self) -> Callable[[], Any] | None:
        try:
            return self._calls.get(timeout=self._idle_s)
        except Empty:
            with self._lock:
                self._lives = not self._calls.empty()
                return self._calls.get() if self._lives else None
