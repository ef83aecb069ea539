import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from pipeline.clock import SystemClock
from pipeline.collectors._host.timeouts import NoAnswer, TimeoutRunner
from tests.agents import eventually


class Oracle:
    """Answers all but the silent, and these when they are woken.

    As a clock, it waits for an answer until there can be none but by `wake`, however long that
    takes; then the time is over. So a slow thread is not taken for one that hangs.
    """

    def __init__(self, *silent: str) -> None:
        self.elapsed = 0.0
        self.silent = {name: threading.Event() for name in silent}
        self.asked: list[str] = []
        self.waiting: set[str] = set()
        self.due: set[str] = set()
        self.returning: set[threading.Thread] = set()

    def question(self, name: str) -> Callable[[], str]:
        def ask() -> str:
            thread = threading.current_thread()
            self.returning.discard(thread)
            self.asked.append(name)
            if name in self.silent and not self.silent[name].is_set():
                self.waiting.add(name)
                assert self.silent[name].wait(60)
            self.returning.add(thread)
            self.waiting.discard(name)
            self.due.discard(name)
            return name.upper()

        return ask

    def questions(self, names: Iterable[str]) -> dict[str, Callable[[], str]]:
        speaking = {name for name, woken in self.silent.items() if woken.is_set()}
        self.due = set(names) - (self.silent.keys() - speaking)
        return {name: self.question(name) for name in names}

    def wake(self, *names: str) -> None:
        for name in names:
            self.silent[name].set()
        if woken := {*names}:
            eventually(lambda: not self.waiting & woken and self.returned(), "they are woken")

    def returned(self) -> bool:
        """Whether all answers have arrived: their threads have ended, or are asked anew."""
        return not any(thread.is_alive() for thread in self.returning.copy())

    def now_ns(self) -> int:
        raise NotImplementedError

    def monotonic(self) -> float:
        return self.elapsed

    def wait(self, event: threading.Event, seconds: float) -> bool:
        for _ in range(60_000):
            if event.wait(0.001):
                return True
            if seconds < 0.1:  # calls wait for a thread
                if self.waiting:
                    return event.wait(seconds)
            elif not self.due and self.returned():  # all have answered who can
                self.elapsed += seconds
                return event.is_set()
        raise AssertionError("no answer within a minute")


Threads = Callable[[], list[threading.Thread]]


@pytest.fixture
def threads() -> Threads:
    """Tells which threads this test has; those that an earlier one left may end meanwhile."""
    before = set(threading.enumerate())

    def own() -> list[threading.Thread]:
        now = set(threading.enumerate()) - before
        return [thread for thread in now if thread.name == "timeout"]

    return own


def answered(runner: TimeoutRunner, oracle: Oracle, names: Iterable[str]) -> str:
    """Ask these, and tell who answered, in order."""
    answers = runner.run(oracle.questions(names), 1.0)
    assert [*answers] == [*names]
    told = {name: answer for name, answer in answers.items() if not isinstance(answer, NoAnswer)}
    assert told == {name: name.upper() for name in told}
    return "".join(told)


@contextmanager
def asking(*silent: str, idle_s: float = 0.01) -> Iterator[tuple[TimeoutRunner, Oracle]]:
    oracle = Oracle(*silent)
    try:
        yield TimeoutRunner(oracle, idle_s), oracle
    finally:
        oracle.wake(*silent)


def test_quick_ones_share_a_thread_which_is_kept(threads: Threads) -> None:
    with asking(idle_s=60.0) as (runner, oracle):
        assert answered(runner, oracle, "") == ""
        assert threads() == []
        for runs in (1, 2, 3):
            assert answered(runner, oracle, "cabdefghij") == "cabdefghij"
            assert 1 <= len(threads()) <= runs  # the last one may just be about to be idle
        assert sorted(oracle.asked) == sorted(3 * "abcdefghij")


def test_what_no_thread_could_be_started_for_is_asked_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with asking() as (runner, oracle):
        with monkeypatch.context() as shortage:
            shortage.setattr(threading.Thread, "start", refuse)
            answers = runner.run(oracle.questions("ab"), 1.0)
            assert [type(answer) for answer in answers.values()] == [RuntimeError, RuntimeError]
        assert answered(runner, oracle, "a") == "a"


def test_one_whose_thread_ended_gets_another(threads: Threads) -> None:
    with asking() as (runner, oracle):
        for _ in range(3):
            assert answered(runner, oracle, "a") == "a"
            eventually(lambda: threads() == [], "its thread ends")


def test_what_is_raised_is_an_answer() -> None:
    error = PermissionError()

    def refuse() -> str:
        raise error

    runner = TimeoutRunner(SystemClock(), 0.01)
    calls: dict[str, Callable[[], str]] = {"a": str, "b": refuse}
    assert runner.run(calls, 60.0) == {"a": "", "b": error}
    assert runner.call("a", str, 60.0, whom="a") == ""
    with pytest.raises(PermissionError):
        runner.call("b", refuse, 60.0, whom="b")


def test_the_silent_cost_the_others_nothing(threads: Threads) -> None:
    with asking("b", "d", "e") as (runner, oracle):
        for _ in range(3):
            assert answered(runner, oracle, "abcdef") == "acf"
        assert sorted(oracle.asked) == sorted("abcdef" + 2 * "acf")
        assert all(thread.daemon for thread in threads())
        eventually(lambda: len(threads()) == 3, "the silent ones' threads are left")
    eventually(lambda: threads() == [], "woken, these end too")


def test_what_speaks_again_is_asked_again_and_nobody_else() -> None:
    with asking("a", "b") as (runner, oracle):
        assert answered(runner, oracle, "abc") == "c"
        assert answered(runner, oracle, "c") == "c"
        assert answered(runner, oracle, "abc") == "c"
        assert sorted(oracle.asked) == [*"abccc"]
        oracle.wake("a")
        eventually(lambda: answered(runner, oracle, "abc") == "ac", "a is asked again")
        oracle.wake("b")
        eventually(lambda: answered(runner, oracle, "abc") == "abc", "b is asked again")


def test_in_one_tick_nothing_is_asked_twice() -> None:
    with asking("b") as (runner, oracle):
        for tick in (1, 2):
            runner.begin(tick)
            for _ in range(2):
                runner.begin(tick)
                assert answered(runner, oracle, "ab") == "a"
        assert oracle.asked == ["a", "b", "a"]
        assert oracle.elapsed == 1.0  # that was waited for b once


def test_who_was_late_is_not_waited_for_until_it_is_quick_enough_again() -> None:
    with asking("a") as (runner, oracle):
        runner.begin(1)
        assert answered(runner, oracle, "a") == ""
        oracle.elapsed += 5.0
        oracle.wake("a")
        oracle.silent["a"].clear()
        runner.begin(2)
        eventually(
            lambda: answered(runner, oracle, "a") or oracle.asked == [*"aa"], "the next call"
        )
        assert answered(runner, oracle, "a") == ""
        assert oracle.elapsed == 6.0
        oracle.wake("a")
        ticks = itertools.count(3)

        def in_a_new_tick() -> str:
            runner.begin(next(ticks))
            return answered(runner, oracle, "a")

        eventually(in_a_new_tick, "an answer")
        assert oracle.elapsed == 6.0


def test_a_tick_waits_no_longer_than_it_may() -> None:
    with asking("a", "b") as (runner, oracle):
        runner.bound(0.75)
        runner.begin(1)
        assert answered(runner, oracle, "a") == ""
        assert oracle.elapsed == 0.75
        assert answered(runner, oracle, "bc") == "c"  # which has some time left
        assert oracle.elapsed == pytest.approx(0.95)


def test_without_an_answer_the_time_is_limited() -> None:
    oracle = Oracle("a")
    runner = TimeoutRunner(SystemClock(), 0.01)
    with pytest.raises(NoAnswer, match=r"^no answer within 10 ms from you$"):
        runner.call("a", oracle.question("a"), 0.01, whom="you")
    oracle.wake("a")
