import logging
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from pipeline.influx.skew import Skew
from tests.clocks import START_NS, ManualClock


def date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(START_NS / 1e9 + seconds, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("server_s", "says"),
    [
        (0, None),
        (3500, None),
        (-3500, None),
        (7200, "This host's clock is 2 h behind that of http://x;"),
        (-5 * 365 * 86_400, "This host's clock is 1825 days ahead of that of http://x;"),
    ],
)
def test_clocks_that_differ_by_more_than_an_hour_are_told_once(
    server_s: float, says: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    skew = Skew(ManualClock(), "http://x")
    skew.compare(date(server_s))
    skew.compare(date(server_s))
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (says is not None)
    assert not says or told[0].startswith(says)
    skew.compare(date(0))
    assert len(caplog.records) == 2 * len(told)


@pytest.mark.parametrize("text", ["", "soon", "Thu, 99 Foo 2026 25:00:00 GMT"])
def test_what_is_no_date_says_nothing(text: str, caplog: pytest.LogCaptureFixture) -> None:
    Skew(ManualClock(), "http://x").compare(text)
    assert caplog.records == []
