"""Work in the background, and what becomes of what it gives or raises."""

import subprocess
import sys
from threading import Event, Thread, current_thread
from unittest.mock import Mock

import pytest

from pipeline.background import in_background

HANGS = """
from threading import Event
from pipeline.background import in_background
in_background(Event().wait, "hangs")
"""


def test_work_goes_on_beside_and_gives_its_result_or_its_error() -> None:
    goes_on = Event()
    outcome = in_background(lambda: goes_on.wait(60) and current_thread().name, "its name")
    assert not outcome.done()
    goes_on.set()
    assert outcome.result() == "its name"
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 // 0, "fails").result()


def test_work_that_hangs_keeps_no_process_from_ending() -> None:
    subprocess.run([sys.executable, "-c", HANGS], check=True, timeout=60)


def test_where_the_system_starts_no_thread_it_is_done_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Thread, "start", Mock(side_effect=RuntimeError("can't start new thread")))
    assert in_background(current_thread, "none").result() is current_thread()
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 // 0, "none").result()
