import pytest

from pipeline.health import human
from pipeline.health.status import ServerStatus, Status
from pipeline.health.summary import summarize
from pipeline.point import FieldValue
from tests.clocks import START_NS
from tests.configured import status_of

SECOND = 10**9


def status(**changes: object) -> Status:
    """Of an agent that runs and has a reading of START_NS."""
    up = {"running": True, "pid": 7, "last_reading": "2023-11-14T22:13:20.000000000Z"}
    return status_of(**{"collection_interval_ms": 10_000, **up, **changes})


@pytest.mark.parametrize(
    ("changes", "seconds", "headline"),
    [
        ({}, 1, "The agent is well."),
        ({}, 30, "The agent is well."),
        ({}, 31, "The agent runs, but its last reading is 31 s old."),
        ({"lost": {"expired": 5}}, 1, "The agent is well."),
        ({"last_error": "no answer"}, 1, "Readings are taken, but 1 thing is wrong:"),
        (
            {"last_error": "no answer", "troubles": {"room": "full", "delivery": "no answer"}},
            1,
            "Readings are taken, but 2 things are wrong:",
        ),
        (
            {"last_error": "disk full"},
            7260,
            "The agent runs, but its last reading is 2 h 1 min old.",
        ),
        ({"last_reading": None}, 1, "The agent runs, and has no reading yet."),
        ({"running": False, "pid": None}, 1, "The agent is not running."),
        ({"running": False, "last_error": "no answer"}, 999, "The agent is not running."),
    ],
)
def test_the_first_sentence_says_the_worst(
    changes: dict[str, object], seconds: int, headline: str
) -> None:
    found = summarize(status(**changes), START_NS + seconds * SECOND)
    assert found.headline == headline
    assert found.well == headline.startswith("The agent is well")


def test_what_is_bad_is_marked() -> None:
    def bad(**changes: object) -> set[str]:
        found = summarize(status(**changes), START_NS + 100 * SECOND)
        return {row.name for row in (*found.wrong, *found.first, *found.more) if row.bad}

    assert bad(collection_interval_ms=60_000) == set()
    assert bad() == {"last reading"}
    assert bad(running=False) == {"running"}
    assert bad(collection_interval_ms=60_000, lost={"expired": 1}, last_error="x") == {
        "lost",
        "last error",
    }
    assert bad(
        collection_interval_ms=60_000,
        troubles={"collector net": "fails", "delivery": "x"},
        last_error="x",
    ) == {"collector net", "delivery"}


def test_with_mirrors_each_server_has_a_block_of_its_own() -> None:
    main = ServerStatus("http://a", 30, 0, 0, None, 20, {"expired": 3}, 0, 24.0, None)
    b = ServerStatus("http://b", 30, 7, 700, status().last_reading, 0, {}, 2, None, "too short")
    found = summarize(status(main=main, mirrors={"b": b}), START_NS + 5 * SECOND)
    assert [row.name for row in found.first] == ["running", "last reading"]
    assert [row.name for row in found.more] == ["interval", "kept", "readings", "store"]
    names = ["waiting", "lost", "bucket keeps", "delivered", "rejected"]
    assert [[row.name for row in block] for block in found.servers] == [
        ["main", *names],
        ["b", *names],
    ]
    assert [[row.text for row in block] for block in found.servers] == [
        ["http://a", "0 points, 0 B", "3 points: expired 3", "24 h", "20 points", "0 points"],
        [
            "http://b",
            "7 points, 700 B, the oldest 5 s ago, at 2023-11-14T22:13:20Z",
            "nothing",
            "not known; too short",
            "0 points",
            "2 points",
        ],
    ]
    bad = [row.name for block in found.servers for row in block if row.bad]
    assert bad == ["lost", "bucket keeps"]


def test_a_reading_of_the_future_is_no_age() -> None:
    assert summarize(status(), START_NS - 3600 * SECOND).first[1].text.startswith("0 s ago")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3659, "1 h"),
        (7320, "2 h 2 min"),
        (86_400 * 3 + 3600, "3 d 1 h"),
        (86_400 * 400, "400 d"),
    ],
)
def test_a_duration_is_short(seconds: float, text: str) -> None:
    assert human.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "how", "text"),
    [
        # Shorter still, of three digits, where there is little room.
        (0, "", 3, "0"),
        (0.0671387, "", 3, "0.0671"),
        (12.345, "percent", 3, "12.3 %"),
        (999.96, "percent", 3, "1000 %"),
        (999.9, "bytes", 3, "1000 B"),
        (1000, "bytes", 3, "1 kB"),
        (-25_276_514_304.0, "", 3, "-25.3G"),
        (25_276_514_304, "bytes", None, "25.28 GB"),
        (0, "bytes", None, "0 B"),
        (1234.0, "bytes", "rate", "1.234 kB/s"),
        (17.3041, "percent", None, "17.3 %"),
        (99.99, "percent", None, "99.99 %"),
        (0.5, "percent", "rate", "0.5 %/s"),
        (44.25, "celsius", None, "44.25 °C"),
        (7, "count", None, "7"),
        (7.5, "count", "rate", "7.5/s"),
        (12_345, "count", None, "12345"),
        (12.5, "milliseconds", None, "12.5 ms"),
        (12_500, "milliseconds", None, "12.5 s"),
        (90_061, "seconds", None, "1 d 1 h"),
        (-90, "seconds", None, "-1 min 30 s"),
        (90, "seconds", "rate", "90 s/s"),
        (1000, "Mbit/s", None, "1000 Mbit/s"),
        (17.3041, "", None, "17.3041"),
        ("3 days", "text", None, "3 days"),
        (True, "count", None, "True"),
    ],
)
def test_a_quantity_has_its_unit(
    value: FieldValue, unit: str, how: int | str | None, text: str
) -> None:
    digits = how if isinstance(how, int) else None
    assert human.quantity(value, unit, digits, rate=how == "rate") == text
