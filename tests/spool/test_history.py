from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.point import FieldValue, Point, encode
from pipeline.spool import Spool, SpoolReader, history, joined
from pipeline.spool.history import FieldSummary, SeriesFilter, fields
from pipeline.spool.series import Series, SeriesBuilder
from tests.spool.stores import MB

SECOND = 10**9
CPU0, CPU1 = {"cpu": "cpu0", "host": "h"}, {"cpu": "cpu1", "host": "h"}


def block(time: int, *points: Point) -> str:
    return joined(encode(point, time) for point in points)


BLOCKS = [
    block(
        time,
        Point("cpu", {"idle": 100.0 - time, "user": float(time)}, CPU1),
        Point("cpu", {"idle": 50.0}, CPU0),
        Point("mem", {"used": time, "note": f"at, {time}"}, {"host": "h", "a b": "c=d,e"}),
    )
    for time in (10, 20, 30)
]


def grown(*values: FieldValue, points: int | None = None, rate: bool = False) -> Series | None:
    """A series of a value a second."""
    builder = SeriesBuilder(points, rate=rate)
    for number, value in enumerate(values):
        builder.add(number * SECOND, value)
    return builder.series("m", "f", {})


def test_series_come_back_as_they_were_each_from_the_oldest_on() -> None:
    note, used = history.read(BLOCKS, [SeriesFilter("mem")])
    assert (note.measurement, note.field, note.tags) == (
        "mem",
        "note",
        {"host": "h", "a b": "c=d,e"},
    )
    assert list(note.samples) == [(10, "at, 10"), (20, "at, 20"), (30, "at, 30")]
    assert repr(list(used.samples)) == "[(10, 10), (20, 20), (30, 30)]"
    # A line that stands in the store twice is one sample.
    twice = [*BLOCKS[:2], block(20, Point("cpu", {"idle": 51.0}, CPU0)), BLOCKS[2]]
    (idle,) = history.read(twice, [SeriesFilter("cpu", "idle", CPU0)])
    assert list(idle.samples) == [(10, 50.0), (20, 51.0), (30, 50.0)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([SeriesFilter()], "idle cpu0, idle cpu1, user cpu1, note -, used -"),
        ([SeriesFilter("cpu", "idle", {})], "idle cpu0, idle cpu1"),
        ([SeriesFilter("cpu", "idle", {"cpu": "cpu0"})], "idle cpu0"),
        ([SeriesFilter("cpu", "idle", {"cpu": "cpu0", "host": "x"})], ""),
        ([SeriesFilter("cpu", "idle", {"nosuch": ""})], ""),
        (
            [SeriesFilter("mem", "used"), SeriesFilter("cpu", "idle", CPU0), SeriesFilter("no")],
            "idle cpu0, used -",
        ),
        *(
            ([wanted], "")
            for name in ("", "time", "nosuch", "cpu\\", "a=b", "*", "cpu,cpu=cpu0")
            for wanted in (SeriesFilter(name), SeriesFilter("cpu", name))
        ),
    ],
)
def test_what_is_named_is_read_by_measurement_field_and_tags(
    wanted: list[SeriesFilter], found: str
) -> None:
    series = history.read(BLOCKS, wanted)
    assert ", ".join(f"{one.field} {one.tags.get('cpu', '-')}" for one in series) == found


def test_what_only_looks_like_the_field_is_not_taken_for_it() -> None:
    fields: dict[str, FieldValue] = {"a,used": 1.0, "xused": 2.0, "text": ",used=3", "used": 4.0}
    without = {name: value for name, value in fields.items() if name != "text"}
    blocks = [block(1, Point("m", fields)), block(2, Point("m", without))]
    (series,) = history.read(blocks, [SeriesFilter("m", "used")])
    assert list(series.samples) == [(1, 4.0), (2, 4.0)]


def test_what_there_is_has_its_newest_value_and_number_of_series() -> None:
    assert fields(BLOCKS) == [
        FieldSummary("cpu", "idle", 2, 50.0, (50.0, 70.0)),
        FieldSummary("cpu", "user", 1, 30.0, (30.0, 30.0)),
        FieldSummary("mem", "note", 1, "at, 30"),
        FieldSummary("mem", "used", 1, 30, (30, 30)),
    ]
    without_one = block(25, Point("cpu", {"idle": 1.0}, CPU1))
    assert fields([*BLOCKS[:2], without_one, BLOCKS[2]]) == fields(BLOCKS)
    assert fields([*BLOCKS, without_one], {"cpu": "cpu1"}) == [
        FieldSummary("cpu", "idle", 1, 1.0, (1.0, 1.0)),
        FieldSummary("cpu", "user", 1, 30.0, (30.0, 30.0)),
    ]


def test_of_many_readings_some_are_enough_evenly_and_the_newest_among_them(tmp_path: Path) -> None:
    with Spool(tmp_path, MB) as spool, SpoolReader(tmp_path) as reader:
        for time in range(10, 101, 10):
            spool.append([f"m f={time}i {time}"], time)
        assert (reader.step(0, 10), reader.step(0, 4)) == (1, 3)
        assert reader.times(75, 9) == [80, 90, 100]
        for since, most, found in (
            (0, 4, [10, 40, 70, 100]),
            (25, 2, [60, 100]),
            (0, 10, list(range(10, 101, 10))),
            (80, None, [80, 90, 100]),
            (101, 5, []),
        ):
            assert reader.times(since, most) == found
            assert [int(one.split()[-1]) for one in reader.history(since, most)] == found


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
    assert len(values) > points or samples == list(whole.samples)
    assert samples == sorted(samples)
    kept = [value for _, value in samples]
    assert (min(kept), max(kept)) == (min(values), max(values))
    assert (thin.last, thin.count, thin.summary) == (whole.last, whole.count, whole.summary)


@pytest.mark.parametrize(("values", "summary"), [((4, 1, 1), (1, 2, 4)), (("a", "b", "c"), None)])
def test_a_series_is_summed_up_in_its_least_mean_and_greatest_number(
    values: tuple[FieldValue, ...], summary: tuple[float, float, float] | None
) -> None:
    for points in (None, 10):
        one = grown(*values, points=points)
        assert one is not None
        assert (one.last, one.summary, one.count) == (values[-1], summary, 3)


def test_a_rate_is_the_growth_per_second_and_a_restart_gives_none() -> None:
    one = grown(100, 700, 1300, 60, 660, rate=True)
    assert one is not None
    assert list(one.samples) == [(SECOND, 600.0), (2 * SECOND, 600.0), (4 * SECOND, 600.0)]
    assert grown("a", "b", rate=True) is None
    assert grown(1, rate=True) is None
