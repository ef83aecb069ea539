"""What the server refuses again and again costs neither a search each time nor a good reading."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.delivery.refusals import HOLD_S
from pipeline.influx import Answer
from pipeline.point import Point, decode, encode
from pipeline.spool import Spool, SpoolReader
from tests.clocks import START_NS
from tests.delivery.bench import BAD, DOWN, Bench, Server, fill

HOUR_NS = 3600 * 10**9
START_OF_HOUR_NS = START_NS // HOUR_NS * HOUR_NS
SERIES = 150


class Typed(Server):
    """Holds each field of a measurement to its type within an hour, as InfluxDB does."""

    def __init__(self, **types: type) -> None:
        super().__init__()
        self.types = types

    def write(self, body: bytes) -> Answer:
        self.requests.append(gzip.decompress(body).decode().splitlines())
        if self.answers:
            return self.answers.pop(0)
        reasons = []
        for text in self.requests[-1]:
            (line,) = decode(text)
            if reason := self.reason(line.point):
                reasons.append(reason)
            else:
                self.stored.add(text)
        if not reasons:
            return Answer(204)
        message = f"partial write: {reasons[0]} dropped={len(reasons)}"
        return Answer(422, "unprocessable entity", message)

    def reason(self, point: Point) -> str:
        for name, value in point.fields.items():
            wanted = self.types.setdefault(name, type(value))
            if type(value) is not wanted:
                return (
                    f'field type conflict: input field "{name}" on measurement '
                    f'"{point.measurement}" is type {type(value).__name__}, '
                    f"already exists as type {wanted.__name__}"
                )
        return ""


def tick(second: int, *points: Point) -> list[str]:
    return [encode(point, START_OF_HOUR_NS + second * 10**9) for point in points]


def bad(series: int, **fields: float) -> Point:
    return Point("bad", {"f": series + 0.5, **fields}, {"n": str(series)})


def good(series: int) -> Point:
    return Point("good", {"g": series}, {"n": str(series)})


class Beat:
    """Takes readings, and delivers each before the next one."""

    def __init__(self, spool: Spool, server: Server) -> None:
        self.spool, self.server = spool, server
        self.bench = Bench(spool, server, batch=1000)
        self.good = 0

    def take(self, second: int, *points: Point) -> int:
        """Take a reading and deliver it; return how many requests that took."""
        before = len(self.server.requests)
        self.spool.append(tick(second, *points), second)
        self.good += sum(point.measurement == "good" for point in points)
        self.bench.delivery.drain(Event())
        assert self.spool.contents().backlog_points == 0
        return len(self.server.requests) - before

    @property
    def all_good_delivered(self) -> bool:
        return sum(line.startswith("good") for line in self.server.stored) == self.good


def test_series_that_are_refused_again_and_again_are_searched_for_twice(spool: Spool) -> None:
    beat = Beat(spool, Typed(f=int))
    reading = [*map(bad, range(SERIES)), *map(good, range(30))]
    costs = [beat.take(second, *reading) for second in range(60)]
    assert all(cost < 3 * SERIES for cost in costs[:2])
    assert costs[2:] == [1] * 58
    assert beat.server.requests[-1] == tick(59, *map(good, range(30)))
    assert beat.all_good_delivered
    contents = spool.contents()
    assert contents.lost == {"rejected": 60 * SERIES}
    assert contents.delivered_points == 60 * 30
    with SpoolReader(spool.path.parent) as reader:
        kept = reader.rejected(SERIES)
    assert {one.line for one in kept} == {*tick(59, *map(bad, range(SERIES)))}
    assert all("already exists as type int" in one.reason for one in kept)


def test_in_a_backlog_one_search_finds_all_lines_of_a_series(spool: Spool) -> None:
    server = Typed(f=int)
    for second in range(20):
        spool.append(tick(second, *map(bad, range(SERIES)), good(0)), second)
    Bench(spool, server, batch=5000).delivery.drain(Event())
    assert len(server.requests) < 6 * SERIES
    contents = spool.contents()
    assert (contents.delivered_points, contents.lost) == (20, {"rejected": 20 * SERIES})


def test_what_is_held_back_is_tried_again_and_delivered_once_the_server_takes_it(
    spool: Spool,
) -> None:
    server = Typed(f=int)
    beat = Beat(spool, server)
    for second in range(3):
        beat.take(second, bad(1), good(1))
    assert beat.take(3, bad(1), good(1)) == 1
    beat.bench.clock.advance(HOLD_S)
    assert beat.take(4, bad(1), good(1)) == 3  # whole, and each half
    assert beat.take(5, bad(1), good(1)) == 1  # one more refusal is enough
    server.types["f"] = float
    assert beat.take(6, bad(1), good(1)) == 1
    assert spool.contents().lost == {"rejected": 7}
    beat.bench.clock.advance(HOLD_S)
    for second in (7, 8):
        assert beat.take(second, bad(1), good(1)) == 1
    assert spool.contents().lost == {"rejected": 7}
    assert {*tick(7, bad(1)), *tick(8, bad(1))} <= server.stored


def test_what_one_hour_refuses_is_sent_in_the_next_whose_shard_is_another(spool: Spool) -> None:
    server = Typed(f=int)
    beat = Beat(spool, server)
    for second in (3596, 3597, 3598):
        beat.take(second, bad(1))
    assert beat.take(3599, bad(1)) == 0
    server.types["f"] = float
    beat.take(3600, bad(1))
    assert server.stored == {*tick(3600, bad(1))}


def test_it_is_known_by_the_field_and_its_type_and_by_the_series(spool: Spool) -> None:
    beat = Beat(spool, Typed(f=int, other=float))
    for second in (0, 1):
        beat.take(second, bad(1, other=float(second)))
    for second, point in enumerate((bad(1), bad(1, more=1, other=0.5)), 2):
        assert beat.take(second, point) == 0
    fit = Point("bad", {"f": 1, "other": 0.5}, {"n": "1"})
    another_field = Point("bad", {"other": 0.5}, {"n": "1"})
    another_series = Point("bad", {"f": 0.5}, {"n": "2"})
    for second, point in enumerate((fit, another_field, another_series), 4):
        assert beat.take(second, point) == 1
    assert beat.server.stored == {*tick(4, fit), *tick(5, another_field)}


def test_where_the_reason_names_no_field_it_is_known_by_all_of_them(spool: Spool) -> None:
    server = Server()
    server.refusal = Answer(422, "unprocessable entity", "no more than one field, please")
    beat = Beat(spool, server)
    for second in (0, 1):
        beat.take(second, bad(1, other=0.5))
    assert beat.take(2, bad(1, other=1.5)) == 0
    assert beat.take(3, bad(1)) == 1


def test_lines_of_one_series_may_be_good_and_bad(spool: Spool) -> None:
    beat = Beat(spool, Typed(f=int))
    other = Point("bad", {"other": 1}, {"n": "1"})
    costs = [beat.take(second, bad(1), other) for second in range(6)]
    assert costs[2:] == [1] * 4
    assert len(beat.server.stored) == 6


def test_a_line_that_is_refused_for_its_value_holds_back_no_other(spool: Spool) -> None:
    server = Server()
    server.refuses = "=13"
    beat = Beat(spool, server)

    def refuse(lines: list[str]) -> Answer | None:
        server.refusal = Answer(400, "invalid", f"unable to parse '{lines[0]}'")
        return None

    server.before = refuse
    for second, value in enumerate((13, 13, 13, 1, 2)):
        assert beat.take(second, Point("m", {"f": value})) == 1
    assert server.stored == {*tick(3, Point("m", {"f": 1})), *tick(4, Point("m", {"f": 2}))}


def test_a_line_that_was_taken_in_between_was_refused_for_no_state_that_lasts(spool: Spool) -> None:
    server = Typed(f=int)
    beat = Beat(spool, server)
    for second, kind in enumerate((int, float, int, float, int, float)):
        server.types["f"] = kind
        assert beat.take(second, bad(1)) == 1
    assert len(server.stored) == 3


def test_one_line_that_is_sought_twice_shows_nothing(spool: Spool) -> None:
    server = Typed(f=int)
    server.answers = [Answer(413), BAD, DOWN]
    beat = Beat(spool, server)
    beat.take(0, bad(1), good(1))
    assert beat.take(1, bad(1)) == 1


def test_a_single_line_that_is_too_large_holds_back_no_other(spool: Spool) -> None:
    server = Server()
    server.refusal = Answer(413, message="too large")
    beat = Beat(spool, server)
    for second in range(3):
        assert beat.take(second, bad(1)) == 1


def test_readings_of_nothing_but_what_is_refused_end_no_outage(spool: Spool) -> None:
    server = Typed(f=int)
    beat = Beat(spool, server)
    for second in range(3):
        beat.take(second, bad(1))
    fill(spool, tick(3, good(1)), tick(4, bad(1)))
    server.answers = [DOWN, DOWN]
    shown: list[bool] = []
    server.before = lambda _: None
    beat.bench.clock.on_wait = lambda _: shown.append("delivery" in beat.bench.health.troubles())
    beat.bench.delivery.drain(Event())
    assert shown.count(True) == 2
    assert beat.bench.health.troubles() == {}
    assert server.stored == {*tick(3, good(1))}
    assert spool.contents().backlog_points == 0


def test_the_log_says_once_that_it_begins_and_once_that_it_ends(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    server = Typed(f=int)
    beat = Beat(spool, server)
    for minute in range(60):
        beat.take(60 * minute, bad(1), bad(2), good(1))
        beat.bench.clock.advance(60)
    (begins,) = caplog.messages
    assert begins.startswith(
        "InfluxDB refused 2 of 3 points, kept as rejected; the first: bad,n=1 "
    )
    server.types["f"] = float
    for minute in range(60, 80):
        beat.take(60 * minute, bad(1), bad(2), good(1))
        beat.bench.clock.advance(60)
    assert caplog.messages[1:] == ["InfluxDB refuses no points any more"]
    server.types["f"] = int
    beat.take(60 * 80, bad(1))
    assert len(caplog.messages) == 3


def test_a_series_that_is_gone_ends_it_too(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    beat = Beat(spool, Typed(f=int))
    for minute in range(90):
        beat.take(60 * minute, *[bad(1)] * (minute < 3), good(1))
        beat.bench.clock.advance(60)
    assert caplog.messages[1:] == ["InfluxDB refuses no points any more"]


def test_what_takes_turns_is_logged_once(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    server = Typed(f=int)
    beat = Beat(spool, server)
    for minute in range(30):
        server.types["f"] = float if minute % 2 else int
        beat.take(60 * minute, bad(1))
        beat.bench.clock.advance(60)
    assert len(caplog.messages) == 1


def test_what_is_remembered_is_bounded(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.delivery.refusals._MOST", 10)
    beat = Beat(spool, Typed(f=int))
    costs = [beat.take(second, *map(bad, range(20)), good(1)) for second in range(4)]
    # Those beyond the bound are searched for as before.
    assert 20 < costs[2] == costs[3] < costs[0]
    assert spool.contents().lost == {"rejected": 80}
    assert beat.all_good_delivered


KINDS = st.sampled_from([1, 0.5, "text", True])
POINTS = st.builds(
    Point,
    st.sampled_from(["m", "f"]),
    st.dictionaries(st.sampled_from(["f", "g", 'a "m"']), KINDS, min_size=1),
    st.dictionaries(st.just("n"), st.sampled_from(["1", "2"])),
)


@settings(max_examples=50)  # a store each
@given(st.lists(st.lists(POINTS, max_size=6), max_size=12), st.integers(1, 20))
def test_while_nothing_changes_what_is_held_back_is_what_would_be_refused(
    readings: list[list[Point]], batch: int
) -> None:
    def unlike(points: Iterable[Point]) -> list[Point]:
        """Of those that are one point to InfluxDB, the first."""
        return list({(p.measurement, *p.tags.items()): p for p in reversed(list(points))}.values())

    server = Typed(**{"f": int, "g": float, 'a "m"': str})
    expected: set[str] = set()
    with TemporaryDirectory() as folder, Spool(Path(folder), 2**24) as spool:
        for second, points in enumerate(map(unlike, readings)):
            fits = [point for point in points if not server.reason(point)]
            expected |= {*tick(second, *fits)}
            if points:
                spool.append(tick(second, *points), second)
        Bench(spool, server, batch=batch).delivery.drain(Event())
        contents = spool.contents()
    assert server.stored == expected
    assert contents.delivered_points == len(expected)
    assert contents.delivered_points + contents.lost.get("rejected", 0) == contents.points
