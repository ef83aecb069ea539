import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collectors.asker import Asker


class Oracle:
    """Answers all but the silent, and these when they are woken."""

    def __init__(self, *silent: str) -> None:
        self.silent = {name: threading.Event() for name in silent}
        self.asked: list[str] = []
        self.waiting: set[str] = set()

    def ask(self, question: str) -> str:
        self.asked.append(question)
        if question in self.silent and not self.silent[question].is_set():
            self.waiting.add(question)
            assert self.silent[question].wait(60)
        return question.upper()

    def wake(self, *names: str) -> None:
        """Let them answer, and wait until that is done."""
        for name in names:
            self.silent[name].set()
            self.waiting.discard(name)
        self.wait(threading.Event(), 0.0)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until nothing can happen any more but by `wake`, however long that takes."""
        pause = threading.Event()
        for _ in range(10_000):
            if event.is_set() or len(askers()) == len(self.waiting):
                return event.is_set()
            pause.wait(0.001)
        raise AssertionError("the askers are still at it after 10 s")


def askers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "asker"]


@contextmanager
def asking(*silent: str) -> Iterator[tuple[Asker[str, str], Oracle]]:
    oracle = Oracle(*silent)
    try:
        yield Asker(oracle.ask, 1.0, oracle.wait), oracle
    finally:
        oracle.wake(*silent)
        assert askers() == []


def test_all_are_answered_in_order() -> None:
    with asking() as (asker, oracle):
        assert asker.answers("abc") == {"a": "A", "b": "B", "c": "C"}
        assert oracle.asked == ["a", "b", "c"]


def test_no_question_costs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    with asking() as (asker, _):
        monkeypatch.setattr(threading.Thread, "start", lambda self: 1 / 0)
        assert asker.answers([]) == {}


def test_what_is_raised_is_an_answer() -> None:
    error = PermissionError()

    def ask(question: str) -> str:
        if question == "b":
            raise error
        return question

    assert Asker(ask, 60.0).answers("abc") == {"a": "a", "b": error, "c": "c"}


def test_the_silent_cost_the_others_nothing() -> None:
    with asking("b", "d", "e") as (asker, oracle):
        for _ in range(3):
            assert asker.answers("abcdef") == {"a": "A", "c": "C", "f": "F"}
        assert sorted(oracle.asked) == sorted("abcdef" + 2 * "acf")
        assert len(askers()) == 3
        assert all(thread.daemon for thread in askers())


def test_what_speaks_again_is_asked_again() -> None:
    with asking("a", "b") as (asker, oracle):
        assert asker.answers("abc") == {"c": "C"}
        oracle.wake("a")
        assert asker.answers("abc") == {"a": "A", "c": "C"}
        oracle.wake("b")
        assert asker.answers("abc") == {"a": "A", "b": "B", "c": "C"}


def test_without_an_answer_the_time_is_limited() -> None:
    oracle = Oracle("a")
    assert Asker(oracle.ask, 0.01).answers("a") == {}
    oracle.wake("a")


def test_more_silent_ones_than_threads_at_once_are_learnt_of_in_the_end() -> None:
    names = [f"n{number}" for number in range(70)]
    with asking(*names) as (asker, oracle):
        for _ in range(10):
            asker.answers([*names, "x"])
        assert asker.answers([*names, "x"]) == {"x": "X"}
        assert sorted(oracle.asked) == sorted([*names, *oracle.asked.count("x") * ["x"]])


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.sets(st.sampled_from("abcdef")))
def test_whatever_is_silent_all_others_are_answered_once(
    questions: list[str], silent: set[str]
) -> None:
    with asking(*silent) as (asker, oracle):
        expected = {question: question.upper() for question in questions if question not in silent}
        assert asker.answers(questions) == expected
        assert sorted(oracle.asked) == sorted(questions)
