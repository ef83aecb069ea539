from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.point import FieldValue, Point, encode
from pipeline.spool import Spool, SpoolReader, history
from pipeline.spool.history import FieldSummary, SeriesFilter, fields
from pipeline.spool.series import Series, SeriesBuilder

SECOND = 10**9
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


def held(spool: Spool, since_ns: int, most: int | None = None) -> list[str]:
    with SpoolReader(spool.path.parent) as reader:
        return list(reader.history(since_ns, most))


def read(spool: Spool, wanted: SeriesFilter, since_ns: int = 0) -> list[Series]:
    return history.read(held(spool, since_ns), [wanted])


def grown(*values: FieldValue, points: int | None = None, rate: bool = False) -> Series | None:
    """A series of a value a second."""
    builder = SeriesBuilder(points, rate=rate)
    for number, value in enumerate(values):
        builder.add(number * SECOND, value)
    return builder.series("m", "f", {})


def test_a_field_is_read_with_all_its_series_each_from_the_oldest_on(spool: Spool) -> None:
    cpu0, cpu1 = read(spool, SeriesFilter("cpu", "idle"))
    assert (cpu0.measurement, cpu0.field, cpu0.tags) == ("cpu", "idle", CPU0)
    assert list(cpu0.samples) == [(10, 50.0), (20, 50.0), (30, 50.0)]
    assert cpu1.tags == CPU1
    assert list(cpu1.samples) == [(10, 90.0), (20, 80.0), (30, 70.0)]


def test_values_and_tags_come_back_as_they_were_whatever_they_hold(spool: Spool) -> None:
    note, used = read(spool, SeriesFilter("mem"), 0)
    assert note.tags == {"host": "h", "a b": "c=d,e"}
    assert list(note.samples) == [(10, "at, 10"), (20, "at, 20"), (30, "at, 30")]
    assert [type(value) for _, value in used.samples] == [int, int, int]


def test_with_nothing_named_all_is_read_by_measurement_field_and_tags(spool: Spool) -> None:
    found = [
        (one.measurement, one.field, one.tags.get("cpu")) for one in read(spool, SeriesFilter(), 0)
    ]
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
    assert len(read(spool, SeriesFilter("cpu", "idle", tags), 0)) == number


def test_only_what_is_young_enough_is_read(spool: Spool) -> None:
    (used,) = read(spool, SeriesFilter("mem", "used"), 20)
    assert list(used.samples) == [(20, 20), (30, 30)]
    assert read(spool, SeriesFilter(), 31) == []


def test_nothing_is_found_where_there_is_nothing(spool: Spool) -> None:
    assert read(spool, SeriesFilter("nosuch"), 0) == []
    assert read(spool, SeriesFilter("cpu", "nosuch"), 0) == []


def test_several_things_are_read_at_once(spool: Spool) -> None:
    wanted = [
        SeriesFilter("mem", "used"),
        SeriesFilter("cpu", "user"),
        SeriesFilter("cpu", "idle", {"cpu": "cpu0"}),
    ]
    found = history.read(held(spool, 0), wanted)
    assert [(one.field, one.last) for one in found] == [
        ("idle", 50.0),
        ("user", 30.0),
        ("used", 30),
    ]


def test_a_line_that_stands_in_the_store_twice_is_one_sample(spool: Spool) -> None:
    spool.append([encode(Point("cpu", {"idle": 51.0}, CPU0), 20)], 20)
    (series,) = read(spool, SeriesFilter("cpu", "idle", {"cpu": "cpu0"}))
    assert list(series.samples) == [(10, 50.0), (20, 51.0), (30, 50.0)]


@pytest.mark.parametrize("name", ["", "time", "cpu\\", "a=b", "*", "cpu,cpu=cpu0"])
def test_a_name_that_nothing_can_have_finds_nothing(spool: Spool, name: str) -> None:
    assert read(spool, SeriesFilter(name)) == []
    assert read(spool, SeriesFilter("cpu", name)) == []


def test_what_only_looks_like_the_field_is_not_taken_for_it(tmp_path: Path) -> None:
    fields: dict[str, FieldValue] = {"a,used": 1.0, "xused": 2.0, "text": ",used=3", "used": 4.0}
    with Spool(tmp_path, 2**24) as spool:
        spool.append([encode(Point("m", fields), 1)], 1)
        del fields["text"]
        spool.append([encode(Point("m", fields), 2)], 2)
        (series,) = read(spool, SeriesFilter("m", "used"))
    assert list(series.samples) == [(1, 4.0), (2, 4.0)]


def test_what_there_is_has_its_newest_value_and_number_of_series(spool: Spool) -> None:
    assert fields(held(spool, 0)) == [
        FieldSummary("cpu", "idle", 2, 50.0, (50.0, 70.0)),
        FieldSummary("cpu", "user", 1, 30.0, (30.0, 30.0)),
        FieldSummary("mem", "note", 1, "at, 30"),
        FieldSummary("mem", "used", 1, 30, (30, 30)),
    ]
    assert fields(held(spool, 0), {"cpu": "cpu1"}) == [
        FieldSummary("cpu", "idle", 1, 70.0, (70.0, 70.0)),
        FieldSummary("cpu", "user", 1, 30.0, (30.0, 30.0)),
    ]


def test_a_field_that_is_not_in_every_line_is_listed_too(spool: Spool) -> None:
    spool.append([encode(Point("cpu", {"idle": 1.0}, CPU1), 40)], 40)
    found = {one.field: one.last for one in fields(held(spool, 0), CPU1)}
    assert found == {"idle": 1.0, "user": 30.0}


def test_of_many_readings_some_are_enough_evenly_and_the_newest_among_them(spool: Spool) -> None:
    for time in range(40, 101, 10):
        spool.append([f"m f={time}i {time}"], time)
    with SpoolReader(spool.path.parent) as reader:
        assert (reader.step(0, 10), reader.step(0, 4)) == (1, 3)
        assert reader.times(0, 4) == [10, 40, 70, 100]
        assert reader.times(75, 9) == [80, 90, 100]
    assert [int(block.split()[-1]) for block in held(spool, 0, 4)] == [10, 40, 70, 100]
    assert [int(block.split()[-1]) for block in held(spool, 25, 2)] == [60, 100]
    assert len(held(spool, 0, 10)) == 10
    assert held(spool, 101, 5) == []


def test_a_series_is_summed_up_in_its_least_mean_and_greatest_value() -> None:
    one = grown(4, 1, 1)
    assert one is not None
    assert (one.last, one.summary, one.count) == (1, (1, 2, 4), 3)


@pytest.mark.parametrize("points", [None, 10])
def test_a_series_of_texts_has_a_last_value_and_no_summary(points: int | None) -> None:
    one = grown("a", "b", points=points)
    assert one is not None
    assert (one.last, one.summary, one.count) == ("b", None, 2)


@given(st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text())))
def test_every_value_is_kept_with_its_type(values: list[FieldValue]) -> None:
    one = grown(*values)
    kept = [] if one is None else [value for _, value in one.samples]
    assert list(map(repr, kept)) == list(map(repr, values))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.integers(1, 20))
def test_a_thinned_series_is_short_and_keeps_its_extremes_and_its_summary(
    values: list[float], points: int
) -> None:
    whole, thin = grown(*values), grown(*values, points=points)
    assert whole is not None
    assert thin is not None
    samples = list(thin.samples)
    assert len(samples) <= 2 * points
    assert set(samples) <= set(whole.samples)
    assert samples == sorted(samples)
    kept = [value for _, value in thin.samples]
    assert (min(kept), max(kept)) == (min(values), max(values))
    assert (thin.last, thin.count, thin.summary) == (whole.last, whole.count, whole.summary)


def test_a_series_that_fits_is_not_thinned() -> None:
    one = grown(*map(float, range(20)), points=20)
    assert one is not None
    assert [value for _, value in one.samples] == list(map(float, range(20)))


def test_a_rate_is_the_growth_per_second_and_a_restart_gives_none() -> None:
    one = grown(100, 700, 1300, 60, 660, rate=True)
    assert one is not None
    assert list(one.samples) == [(SECOND, 600.0), (2 * SECOND, 600.0), (4 * SECOND, 600.0)]


def test_a_text_or_a_single_reading_has_no_rate() -> None:
    assert grown("a", "b", rate=True) is None
    assert grown(1, rate=True) is None
