"""Questions that may never be answered, asked without waiting for ever."""

from collections.abc import Callable, Hashable, Mapping
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, TypeVar

from pipeline.clock import Clock

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")

# To start a thread costs as much as many an answer; to keep one that is hardly needed costs memory.
_IDLE_S = 10.0


class Asker:
    """Asks each question in a thread of its own, and gives up on what does not answer in time.

    A system call on the file system of a dead server blocks inside the kernel, and no one can end
    it. So its thread is left behind with it, and whom it asks is not asked again until it answers:
    there are as many threads as silent ones, however long it takes. They are daemons, so the
    process ends without them. One thing only can hold it, in the kernel: a FUSE server that took
    the question and lives on without a word, until that one is killed.

    Args:
        clock: Waits for the answers.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._workers: dict[Hashable, _Worker] = {}

    def answers(
        self, questions: Mapping[K, Callable[[], A]], timeout_s: float
    ) -> dict[K, A | Exception]:
        """Return what each question that is answered gives, or what it raises.

        Args:
            questions: Whom to ask, each with the question; the same key is the same one asked.
            timeout_s: Longest wait, in seconds: for all together, since all are asked at once.
        """
        self._workers = {
            key: worker
            for key, worker in self._workers.items()
            if key in questions or not worker.is_free
        }
        for key in questions:
            self._workers.setdefault(key, _Worker())
        asked = {key: self._workers[key] for key in questions if self._workers[key].is_free}
        for key, worker in asked.items():
            worker.ask(questions[key])
        deadline = self._clock.monotonic() + timeout_s
        answers: dict[K, A | Exception] = {}
        for key, worker in asked.items():
            if self._clock.wait(worker.answered, max(0.0, deadline - self._clock.monotonic())):
                answers[key] = worker.answer
        return answers


class _Worker:
    """A thread that asks one question at a time, and ends when none has come for a while."""

    def __init__(self) -> None:
        self.answered = Event()
        self.answered.set()
        self.answer: Any = None
        self._questions: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self._lock = Lock()
        self._lives = False

    @property
    def is_free(self) -> bool:
        return self.answered.is_set()

    def ask(self, question: Callable[[], Any]) -> None:
        self.answered.clear()
        with self._lock:
            self._questions.put(question)
            if not self._lives:
                Thread(target=self._work, name="asker", daemon=True).start()
                self._lives = True

    def _work(self) -> None:
        while (question := self._next()) is not None:
            try:
                self.answer = question()
            except Exception as error:  # noqa: BLE001 - it is for who asked
                self.answer = error
            del question  # it may hold much
            self.answered.set()

    def _next(self) -> Callable[[], Any] | None:
        try:
            return self._questions.get(timeout=_IDLE_S)
        except Empty:
            with self._lock:
                self._lives = not self._questions.empty()
                return self._questions.get() if self._lives else None
