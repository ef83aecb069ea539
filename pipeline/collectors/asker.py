"""Questions that may never be answered, asked without waiting for ever."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import Event, Thread
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

# How many are asked at once when one was not answered: more may not be.
_AT_ONCE = 32


class Asker(Generic[Q, A]):
    """Asks in a thread of its own, and gives up on what does not answer in time.

    A system call on the file system of a dead server blocks inside the kernel, and no one can end
    it. So its thread is left behind with it, and the question is not asked again while its answer
    is due: there are as many threads as silent questions, however long it takes. They are daemons,
    so the process ends without them. One thing only can hold it, in the kernel: a FUSE server that
    took the question and lives on without a word, until that one is killed.

    A thread costs a third of a millisecond of processor time each time, so who is sure of an answer
    asks without.

    Args:
        ask: Asks one question, in any thread.
        timeout_s: Longest wait, in seconds; once more as long when a question turns out to be
            silent, since those behind it are asked then.
        wait: Waits for an event, so long at most.
    """

    def __init__(
        self,
        ask: Callable[[Q], A],
        timeout_s: float,
        wait: Callable[[Event, float], bool] = Event.wait,
    ) -> None:
        self._ask = ask
        self._timeout_s = timeout_s
        self._wait = wait
        self._silent: dict[Q, _Batch[Q, A]] = {}

    def answers(self, questions: Iterable[Q]) -> dict[Q, A | Exception]:
        """Return what each question that is answered gives, or what it raises."""
        self._silent = {q: batch for q, batch in self._silent.items() if q not in batch.answers}
        answers, rest = self._try([q for q in questions if q not in self._silent], threads=1)
        more, _ = self._try(rest, threads=_AT_ONCE)
        return answers | more

    def _try(
        self, questions: Sequence[Q], threads: int
    ) -> tuple[dict[Q, A | Exception], Sequence[Q]]:
        """Return the answers, and the questions that nobody came to ask."""
        if not questions:
            return {}, ()
        batch = _Batch(self._ask, questions)
        for _ in questions[:threads]:
            Thread(target=batch.work, name="asker", daemon=True).start()
        self._wait(batch.done, self._timeout_s)
        rest = batch.withdraw()
        answers = dict(batch.answers)
        silent = set(questions) - set(rest) - answers.keys()
        self._silent |= dict.fromkeys(silent, batch)
        return answers, rest


class _Batch(Generic[Q, A]):
    """Questions that some threads share; each is taken by one of them, or withdrawn."""

    def __init__(self, ask: Callable[[Q], A], questions: Sequence[Q]) -> None:
        self.answers: dict[Q, A | Exception] = {}
        self.done = Event()
        self._ask = ask
        self._waiting = deque(questions)
        self._count = len(questions)

    def work(self) -> None:
        while (question := self._take()) is not None:
            try:
                answer: A | Exception = self._ask(question)
            except Exception as error:  # noqa: BLE001 - it is for who asked
                answer = error
            self.answers[question] = answer
        if len(self.answers) == self._count:
            self.done.set()

    def withdraw(self) -> Sequence[Q]:
        """Take back what no thread has taken."""
        return list(iter(self._take, None))

    def _take(self) -> Q | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None
