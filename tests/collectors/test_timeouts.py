import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clock import SystemClock
from pipeline.collectors._host import timeouts as module
from pipeline.collectors._host.timeouts import Asker
from tests.agents import eventually


class Oracle:
    """Answers all but the silent, and these when they are woken.

    As a clock, it waits for an answer until there can be none but by `wake`, however long that
    takes.
    """

    def __init__(self, *silent: str) -> None:
        self.silent = {name: threading.Event() for name in silent}
        self.asked: list[str] = []
        self.waiting: set[str] = set()
        self.due: set[str] = set()

    def question(self, name: str) -> Callable[[], str]:
        def ask() -> str:
            self.asked.append(name)
            if name in self.silent and not self.silent[name].is_set():
                self.waiting.add(name)
                assert self.silent[name].wait(60)
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
        eventually(lambda: not self.waiting.intersection(names), "they are woken")

    def now_ns(self) -> int:
        raise NotImplementedError

    def monotonic(self) -> float:
        return 0.0

    def wait(self, event: threading.Event, seconds: float) -> bool:
        assert seconds == 1.0
        for _ in range(60_000):
            if event.wait(0.001):
                return True
            if not self.due:  # all have answered who can; the last of them may be about to say so
                return event.wait(0.02)
        raise AssertionError("no answer within a minute")


@pytest.fixture(autouse=True)
def _short_lives(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a thread without a question end at once, and see that all do."""
    monkeypatch.setattr(module, "_IDLE_S", 0.01)
    yield
    eventually(lambda: askers() == [], "no thread is left")


def askers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "asker"]


@contextmanager
def asking(*silent: str) -> Iterator[tuple[Asker, Oracle]]:
    oracle = Oracle(*silent)
    try:
        yield Asker(oracle), oracle
    finally:
        oracle.wake(*silent)


def test_all_are_answered_in_order() -> None:
    with asking() as (asker, oracle):
        answers = asker.answers(oracle.questions("cab"), 1.0)
        assert list(answers.items()) == [("c", "C"), ("a", "A"), ("b", "B")]
        assert sorted(oracle.asked) == ["a", "b", "c"]


def test_no_question_costs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    with asking() as (asker, _):
        monkeypatch.setattr(threading.Thread, "start", lambda self: 1 / 0)
        assert asker.answers({}, 1.0) == {}


def test_one_who_answers_keeps_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_S", 60.0)
    with asking() as (asker, oracle):
        asker.answers(oracle.questions("a"), 1.0)
        (thread,) = askers()
        asker.answers(oracle.questions("a"), 1.0)
        assert askers() == [thread]
        assert oracle.asked == ["a", "a"]
        monkeypatch.setattr(module, "_IDLE_S", 0.01)
        asker.answers(oracle.questions("a"), 1.0)


def test_one_whose_thread_ended_gets_another() -> None:
    with asking() as (asker, oracle):
        for _ in range(3):
            assert asker.answers(oracle.questions("a"), 1.0) == {"a": "A"}
            eventually(lambda: askers() == [], "its thread ends")


def test_what_is_raised_is_an_answer() -> None:
    error = PermissionError()

    def refuse() -> str:
        raise error

    questions: dict[str, Callable[[], str]] = {"a": str, "b": refuse}
    assert Asker(SystemClock()).answers(questions, 60.0) == {"a": "", "b": error}


def test_the_silent_cost_the_others_nothing() -> None:
    with asking("b", "d", "e") as (asker, oracle):
        for _ in range(3):
            answers = asker.answers(oracle.questions("abcdef"), 1.0)
            assert answers == {"a": "A", "c": "C", "f": "F"}
        assert sorted(oracle.asked) == sorted("abcdef" + 2 * "acf")
        assert all(thread.daemon for thread in askers())
        eventually(lambda: len(askers()) == 3, "the silent ones' threads are left")


def test_what_speaks_again_is_asked_again() -> None:
    with asking("a", "b") as (asker, oracle):

        def answers() -> dict[str, str | Exception]:
            return asker.answers(oracle.questions("abc"), 1.0)

        assert answers() == {"c": "C"}
        oracle.wake("a")
        eventually(lambda: answers() == {"a": "A", "c": "C"}, "a is asked again")
        oracle.wake("b")
        eventually(lambda: len(answers()) == 3, "b is asked again")


def test_one_that_was_not_asked_for_meanwhile_is_still_silent() -> None:
    with asking("a") as (asker, oracle):
        assert asker.answers(oracle.questions("a"), 1.0) == {}
        assert asker.answers(oracle.questions("b"), 1.0) == {"b": "B"}
        assert asker.answers(oracle.questions("ab"), 1.0) == {"b": "B"}
        assert oracle.asked.count("a") == 1


def test_each_has_the_whole_time() -> None:
    def slow() -> str:
        time.sleep(0.3)
        return "late"

    names = range(8)  # one after the other, they would take 2.4 s
    answers = Asker(SystemClock()).answers(dict.fromkeys(names, slow), 2.0)
    assert answers == dict.fromkeys(names, "late")


def test_without_an_answer_the_time_is_limited() -> None:
    oracle = Oracle("a")
    assert Asker(SystemClock()).answers(oracle.questions("a"), 0.01) == {}
    oracle.wake("a")


@settings(max_examples=10, deadline=None)  # each silent one costs a wait
@given(st.lists(st.sampled_from("abcdef"), unique=True), st.sets(st.sampled_from("abcdef")))
def test_whatever_is_silent_all_others_are_answered_once(
    names: list[str], silent: set[str]
) -> None:
    with asking(*silent) as (asker, oracle):
        expected = {name: name.upper() for name in names if name not in silent}
        assert asker.answers(oracle.questions(names), 1.0) == expected
        assert sorted(oracle.asked) == sorted(names)
