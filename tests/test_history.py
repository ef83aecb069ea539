from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.history import Series, Wanted, read, seconds
from pipeline.point import Point, encode
from pipeline.spool import Spool

CPU0, CPU1 = {"cpu": "cpu0", "host": "h"}, {"cpu": "cpu1", "host": "h"}


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path, 2**24) as opened:
        for time in (10, 20, 30):
            points = [
                Point("cpu", {"idle": 100.0 - time, "user": float(time)}, CPU1),
                Point("cpu", {"idle": 50.0}, CPU0),
                Point("mem", {"used": time, "note": f"at, {time}"}, {"host": "h", "a b": "c=d,e"}),
            ]
            opened.append([encode(point, time) for point in points], time)
        yield opened


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800), ("2w", 1_209_600), ("0s", 0)],
)
def test_a_span_is_read_in_seconds(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "1", "h", "1 h", "-1h", "1.5h", "1h30m", "1y", "1H", "1h\n"])
def test_what_is_no_span_is_refused_with_what_one_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match="is no span of time; write one such as 90s, 15m, 1h"):
        seconds(text)


def test_a_field_is_read_with_all_its_series_each_from_the_oldest_on(spool: Spool) -> None:
    assert read(spool, Wanted("cpu", "idle"), 0) == [
        Series("cpu", "idle", CPU0, ((10, 50.0), (20, 50.0), (30, 50.0))),
        Series("cpu", "idle", CPU1, ((10, 90.0), (20, 80.0), (30, 70.0))),
    ]


def test_values_and_tags_come_back_as_they_were_whatever_they_hold(spool: Spool) -> None:
    note, used = read(spool, Wanted("mem"), 0)
    assert note.tags == {"host": "h", "a b": "c=d,e"}
    assert note.samples == ((10, "at, 10"), (20, "at, 20"), (30, "at, 30"))
    assert [type(value) for _, value in used.samples] == [int, int, int]


def test_with_nothing_named_all_is_read_by_measurement_field_and_tags(spool: Spool) -> None:
    found = [(one.measurement, one.field, one.tags.get("cpu")) for one in read(spool, Wanted(), 0)]
    assert found == [
        ("cpu", "idle", "cpu0"),
        ("cpu", "idle", "cpu1"),
        ("cpu", "user", "cpu1"),
        ("mem", "note", None),
        ("mem", "used", None),
    ]


@pytest.mark.parametrize(
    ("tags", "number"),
    [
        ({"cpu": "cpu0"}, 1),
        ({"cpu": "cpu0", "host": "h"}, 1),
        ({"cpu": "cpu0", "host": "x"}, 0),
        ({"nosuch": ""}, 0),
        ({}, 2),
    ],
)
def test_tags_narrow_what_is_read(spool: Spool, tags: dict[str, str], number: int) -> None:
    assert len(read(spool, Wanted("cpu", "idle", tags), 0)) == number


def test_only_what_is_young_enough_is_read(spool: Spool) -> None:
    (used,) = read(spool, Wanted("mem", "used"), 20)
    assert used.samples == ((20, 20), (30, 30))
    assert read(spool, Wanted(), 31) == []


def test_nothing_is_found_where_there_is_nothing(spool: Spool) -> None:
    assert read(spool, Wanted("nosuch"), 0) == []
    assert read(spool, Wanted("cpu", "nosuch"), 0) == []


def test_a_series_is_summed_up_in_its_least_mean_and_greatest_value() -> None:
    one = Series("m", "f", {}, ((1, 4), (2, 1), (3, 1)))
    assert (one.last, one.summary()) == (1, (1, 2, 4))


def test_a_series_of_texts_has_a_last_value_and_no_summary() -> None:
    one = Series("m", "f", {}, ((1, "a"), (2, "b")))
    assert (one.last, one.numbers, one.summary()) == ("b", [], None)


def test_a_line_that_stands_in_the_store_twice_is_one_sample(spool: Spool) -> None:
    spool.append([encode(Point("cpu", {"idle": 51.0}, CPU0), 20)], 20)
    (series,) = read(spool, Wanted("cpu", "idle", {"cpu": "cpu0"}), 0)
    assert series.samples == ((10, 50.0), (20, 51.0), (30, 50.0))
