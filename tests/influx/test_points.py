import re
import uuid
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.influx.connection import Connection
from pipeline.influx.points import HostPoints, UnreadableError, count_by_host
from pipeline.point import Point, PointError, encode
from pipeline.settings import Age
from tests.influxd import api
from tests.influxd.api import Bucket

T0 = 1_700_000_000 * 10**9
SECOND = 10**9


def put(bucket: Bucket, host: str, *seconds: int) -> None:
    points = [
        Point("cpu", {"usage": 1.0, "n": 2, "name": "x"}, {"host": host, "cpu": "0"}),
        Point("cpu", {"usage": 1.0, "n": 2, "name": "x"}, {"host": host, "cpu": "1"}),
        Point("mem", {"used": 3, "flag": True}, {"host": host}),
    ]
    api.put(bucket, *(encode(one, T0 + second * SECOND) for second in seconds for one in points))


def test_exactly_the_points_of_a_host_and_a_span_are_found_counted_and_deleted(
    bucket: Bucket, connection: Connection
) -> None:
    put(bucket, "h1", 5, 6, 7, 8)
    put(bucket, "h2", 1, 5, 6, 7, 8)
    points, end = HostPoints(connection, "h1"), T0 + 100 * SECOND
    assert points.count(T0, end) == 12  # a point is a line, whatever its fields
    assert points.count(T0 + 6 * SECOND, T0 + 7 * SECOND) == 3  # the start, and not the stop
    assert points.count(T0, T0 + 5 * SECOND) == 0
    assert points.oldest(0, end) == T0 + 5 * SECOND
    assert points.oldest(T0 + 6 * SECOND, end) == T0 + 6 * SECOND
    assert points.oldest(0, T0 + 5 * SECOND) is None
    points.delete(T0 + 6 * SECOND, T0 + 8 * SECOND)
    assert points.count(T0, end) == 6
    assert points.oldest(T0 + 6 * SECOND, end) == T0 + 8 * SECOND
    assert HostPoints(connection, "h2").count(T0, end) == 15


texts = (
    st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=12)
    .map(lambda text: text.rstrip("\\"))
    .filter(bool)
)
NASTY = st.sampled_from(
    ["", '"', "\\", '\\"', "${x}", '" OR host!="', "' or host != '", "ü €", " "]
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts, texts, NASTY, NASTY)
def test_any_host_and_measurement_is_safe_in_flux_and_in_the_predicate(
    bucket: Bucket, connection: Connection, text: str, host: str, nasty: str, odd: str
) -> None:
    # What an example leaves behind must not fail the next.
    host = f"{host}{odd}{uuid.uuid4()}"
    name = f"m{text}{nasty}x"
    assume(not re.search(r'\\[ ,="]', name))  # which is refused
    other, third = f"{name} other", "a third"
    lines = [
        encode(Point(measurement, {"n": 1, "t": "x", "f": 0.5}, {"host": tag}), T0)
        for measurement in (name, other, third)
        for tag in (host, f"{host} other")
    ]
    api.put(bucket, *lines)
    points, others = HostPoints(connection, host), HostPoints(connection, f"{host} other")
    its, rest = Age(1, name), Age(1, None, (name,))
    assert points.counts(T0, T0 + 1) == {name: 1, other: 1, third: 1}
    assert points.measurements(T0, T0 + 1) == {name: T0, other: T0, third: T0}
    assert (points.count(T0, T0 + 1, its), points.count(T0, T0 + 1, rest)) == (1, 2)
    assert points.remove(T0, T0 + 1, its) == 1
    assert points.counts(T0, T0 + 1) == {other: 1, third: 1}
    assert points.remove(T0, T0 + 1, its) == 0
    assert points.remove(T0, T0 + 1, rest) == 2
    assert points.counts(T0, T0 + 1) == {}
    assert others.counts(T0, T0 + 1) == {name: 1, other: 1, third: 1}
    assert others.remove(T0, T0 + 1) == 3


def test_what_a_delete_leaves_behind_is_not_counted(bucket: Bucket, connection: Connection) -> None:
    class Late(HostPoints):
        """Another writer puts a point back while the points go."""

        def delete(self, start_ns: int, stop_ns: int, measurement: str | None = None) -> None:
            super().delete(start_ns, stop_ns, measurement)
            put(bucket, "h1", 0)

    put(bucket, "h1", 0, 1)
    assert Late(connection, "h1").remove(T0, T0 + 2 * SECOND) == 3


@pytest.mark.parametrize("key", ["_value", "_time", "_start", "_stop"])
def test_points_that_flux_cannot_read_cost_their_own_measurements_count_alone(
    bucket: Bucket, connection: Connection, key: str
) -> None:
    put(bucket, "h1", 0, 1)
    put(bucket, "h2", 0, 1)
    api.put(bucket, *(f"bad,host=h1,{key}=x v=1 {T0 + second * SECOND}" for second in (0, 1)))
    api.put(bucket, f"own n=1 {T0}", f"own n=1 {T0 + 2 * SECOND}")  # of no host, and too young
    first, both = (T0, T0 + SECOND), (T0, T0 + 2 * SECOND)
    points = HostPoints(connection, "h1")
    with pytest.raises(UnreadableError):
        points.oldest(*both)
    assert points.unreadable(*both) == ["bad"]
    assert points.unreadable(*both, Age(0, "cpu")) == []
    assert points.unreadable(*both, Age(0, None, ("bad",))) == []
    assert HostPoints(connection, "h2").unreadable(*both) == []
    assert points.measurements_ever() == ["bad", "cpu", "mem"]
    counts, unreadable = count_by_host(connection, bucket.name, both[1])
    # Flux can count what has a second _start or _stop.
    assert unreadable == (["bad"] if key in ("_value", "_time") else [])
    assert counts == {"h1": 6 if unreadable else 8, "h2": 6, "": 1}
    assert points.remove_unreadable(*first) == ["bad"]
    assert points.unreadable(*first) == []
    assert points.count(*first) == 3
    assert points.unreadable(*both) == ["bad"]


# A backslash is odd before a character that would be escaped, and before a quote.
odd_names = st.text(st.sampled_from("\\ ,=\"'#${}a_\x01\u2028é"), min_size=1, max_size=4)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(odd_names, min_size=30, max_size=30))
def test_whatever_is_written_can_be_read_back(
    bucket: Bucket, connection: Connection, names: list[str]
) -> None:
    host = str(uuid.uuid4())
    made = [
        point
        for name in names
        for point in (
            Point(name, {"f": 1.0}),
            Point("field", {name: 1.0}),
            Point("value", {"f": 1.0}, {"t": name}),
            Point("key", {"f": 1.0}, {name: "x"}),
        )
    ]
    lines = []
    for number, point in enumerate(made):
        with suppress(PointError):
            lines.append(encode(point, T0 + number, {"host": host}))
    api.put(bucket, *lines)
    assert HostPoints(connection, host).count(T0, T0 + len(made)) == len(lines)
