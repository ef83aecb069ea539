"""Calls that may never return, made without waiting for ever."""

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from math import inf
from threading import Condition, Event, Lock, Thread
from typing import Any, TypeVar

from pipeline.clock import Clock

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")

# The kernel's own files answer within microseconds. A call that takes longer than this keeps its
# thread, and another thread makes the calls behind it.
_PATIENCE_S = 0.01

# A call that is made when the time of the tick is over still gets so long: one that hung before it
# must not cost it.
_LEAST_S = 0.2

# How long the runner remembers what a call took the last time.
_REMEMBERED_S = 600.0


class NoAnswer(TimeoutError):  # noqa: N818 - an outcome, not an error
    """A call did not return in time."""


class TimeoutRunner:
    """Makes calls in threads of its own, and gives up on what does not return in time.

    A system call on a dead server's file system or a broken sensor blocks inside the kernel, and
    nothing can end it. So its thread is left to it, and no other call with the same key is made
    until it returns: there are as many threads as calls that hang, and one more. The threads are
    daemons, so the process ends without them. Only one thing can hold it, inside the kernel: a FUSE
    server that took the request and neither answers nor ends.

    Within one tick, whoever asks again for the same thing gets the same answer. An answer that
    comes too late is dropped, and what took too long the last time is not waited for: once it is
    quick enough again, its next answer counts.

    Args:
        clock: Waits for the calls.
        idle_s: How long a thread without a call is kept, in seconds. To start one costs more than
            most calls; to keep one that is seldom needed costs memory.
    """

    def __init__(self, clock: Clock, idle_s: float = 10.0) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._calls: dict[Hashable, _Call] = {}
        self._tick: Hashable = None
        self._began = 0.0
        self._budget_s = inf
        self._running = Lock()
        self._changed = Condition()
        self._queue: deque[_Call] = deque()
        self._idle = 0

    def bound(self, budget_s: float) -> None:
        """Wait no longer than so many seconds in all from the begin of a tick on."""
        self._budget_s = budget_s

    def begin(self, tick: Hashable) -> None:
        """Another tick begins, unless it is the same one: its answers are to be new ones."""
        with self._running:
            if tick == self._tick:
                return
            self._tick, self._began = tick, self._clock.monotonic()
            oldest = self._began - _REMEMBERED_S
            self._calls = {
                key: call
                for key, call in self._calls.items()
                if call.asked > oldest or not call.done.is_set()
            }

    def run(self, calls: Mapping[K, Callable[[], A]], timeout_s: float) -> dict[K, A | Exception]:
        """Return what each call that returns in time gives, or what it raises.

        Args:
            calls: Key to call; two calls with one key may wait for the same thing, whoever asks.
            timeout_s: Longest wait for all together, in seconds; they are made at the same time.

        Returns:
            Key to what the call gives; a NoAnswer if it did not return in time, and a RuntimeError
            while the system starts no thread.
        """
        with self._running:
            asked = {key: self._ask(key, call) for key, call in calls.items()}
            self._see_to_queue()
            return {
                key: call.result if self._answered(call, timeout_s) else self.no_answer(timeout_s)
                for key, call in asked.items()
            }

    def call(self, key: Hashable, make: Callable[[], A], timeout_s: float, whom: str) -> A:
        """Make one call, and return what it gives.

        Args:
            key: As of `run`.
            make: The call.
            timeout_s: Longest wait, in seconds.
            whom: Who is asked, for the message.

        Raises:
            NoAnswer: It did not return in time.
            Exception: What it raised.
        """
        answer = self.run({key: make}, timeout_s)[key]
        if isinstance(answer, NoAnswer):
            raise NoAnswer(f"{answer} from {whom}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def no_answer(self, timeout_s: float) -> NoAnswer:
        """Return what stands for an answer that did not come in time."""
        return NoAnswer(f"no answer within {1000 * min(timeout_s, self._budget_s):.0f} ms")

    def _ask(self, key: Hashable, make: Callable[[], Any]) -> "_Call":
        before = self._calls.get(key)
        if before:
            is_of_this_tick = before.tick == self._tick is not None
            if is_of_this_tick or not before.done.is_set():
                return before
        call = _Call(make, self._clock, self._tick, before.seconds if before else 0.0)
        self._calls[key] = call
        with self._changed:
            self._queue.append(call)
            self._changed.notify()
        return call

    def _answered(self, call: "_Call", timeout_s: float) -> bool:
        """Wait for a call, and tell whether it returned in time."""
        if call.tick != self._tick:  # if it has returned meanwhile, it is too old
            return False
        until = call.asked + timeout_s
        if self._tick is not None:
            budget = max(self._began + self._budget_s, call.asked + _LEAST_S)
            until = min(until, budget)
        if call.expected_s > until - call.asked:
            until = -inf
        while (left := until - self._clock.monotonic()) > 0 and not call.done.is_set():
            if not self._clock.wait(call.done, min(left, _PATIENCE_S) if self._queue else left):
                self._see_to_queue()
        return call.done.is_set()

    def _see_to_queue(self) -> None:
        """Start a thread if calls wait and all threads are busy."""
        with self._changed:
            if not self._queue or self._idle:
                return
            try:
                Thread(target=self._work, name="timeout", daemon=True).start()
            except RuntimeError as error:
                while self._queue:
                    self._queue.popleft().end(error, 0.0)

    def _work(self) -> None:
        while (call := self._next()) is not None:
            call.make()
            del call  # it may hold much

    def _next(self) -> "_Call | None":
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._queue, self._idle_s)
            self._idle -= 1
            return self._queue.popleft() if self._queue else None


class _Call:
    """A call that is to be made, or has been.

    Attributes:
        tick: The tick in which it was asked for.
        asked: When, by the monotonic clock, in seconds.
        expected_s: How long the last one with its key took, in seconds.
        seconds: How long it took.
        done: Set when it has returned.
        result: What it gave, or raised.
    """

    def __init__(
        self, make: Callable[[], Any], clock: Clock, tick: Hashable, expected_s: float
    ) -> None:
        self.tick = tick
        self.asked = clock.monotonic()
        self.expected_s = expected_s
        self.seconds = inf
        self.done = Event()
        self.result: Any = None
        self._make = make
        self._clock = clock

    def make(self) -> None:
        """Make it, in the thread of the caller."""
        began = self._clock.monotonic()
        try:
            result = self._make()
        except Exception as error:  # noqa: BLE001 - it is for the caller
            result = error
        self.end(result, self._clock.monotonic() - began)

    def end(self, result: Any, seconds: float) -> None:
        """Set what it gave, or raised, and how long it took."""
        self.result, self.seconds = result, seconds
        self._make = lambda: None  # it may hold much
        self.done.set()
