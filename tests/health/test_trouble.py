import logging

import pytest

from pipeline.health import Trouble


def test_it_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    reasons: list[str | None] = []
    trouble = Trouble(lambda it: reasons.append(it.reason))
    trouble.ends("It works again")
    for _ in range(2):
        for reason in ("a", "a", "b"):
            trouble.begins(reason, f"It does not work: {reason}", "So wait", level=logging.ERROR)
            assert trouble.under_way
        for _ in range(2):
            trouble.ends("It works again")
            assert not trouble.under_way
    assert reasons == ["a", "b", None] * 2
    once = [("ERROR", "It does not work: a"), ("ERROR", "So wait"), ("INFO", "It works again")]
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == once * 2


def test_each_kind_of_reason_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble()
    for kind in (401, None, 401, None, 503):
        trouble.begins(f"answer {kind}", f"answer {kind}", kind=kind)
    trouble.ends()
    trouble.begins("answer 401", "answer 401", kind=401)
    assert caplog.messages == ["answer 401", "answer None", "answer 503", "answer 401"]


@pytest.mark.parametrize(("level", "shown"), [(logging.DEBUG, True), (logging.INFO, False)])
def test_a_traceback_is_for_those_who_debug(
    caplog: pytest.LogCaptureFixture, level: int, shown: bool
) -> None:
    caplog.set_level(level)
    Trouble().begins("no", "It does not work", error=OSError("no"))
    assert ("OSError: no" in caplog.text) is shown
