import math
import re
import sys
from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from influxdb_client import Point as ClientPoint
from line_protocol_parser import parse_line

from pipeline.point import (
    FieldValue,
    Point,
    PointError,
    decode,
    encode,
    measurement_of,
    moved,
    read_fields,
    read_series,
    scan,
    split_lines,
    writable,
)

# A closing backslash in a name and a line break do not come back as they were, and readers of line
# protocol cannot agree on control characters in names: all have tests of their own below.
texts = (
    st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1)
    .map(lambda text: text.rstrip("\\"))
    .filter(bool)
)
names = texts.filter(
    lambda text: text[0] not in "#_" and text != "time" and not re.search(r'\\[ ,="]', text)
)
strings = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\n\r"))
integers = st.integers(-(2**63), 2**63 - 1)
values: st.SearchStrategy[FieldValue] = st.one_of(
    st.booleans(), integers, strings, st.floats(allow_nan=False, allow_infinity=False)
)
points = st.builds(
    Point,
    names,
    st.dictionaries(names, values, min_size=1, max_size=5),
    st.dictionaries(names, texts, max_size=4),
)
timestamps = st.integers(-(2**63) + 2, 2**63 - 2)  # what InfluxDB takes for a time


def same(left: object, right: object) -> bool:
    return type(left) is type(right) and left == right


@given(points, timestamps)
@example(Point("=", {"f": 1.0}), 0)  # only a comma and a blank are escaped in a measurement
@example(Point("a,b c=d", {"e,f g=h": 1.0}, {"i,j k=l": "m,n o=p"}), 0)
def test_what_is_encoded_is_read_back_unchanged_with_its_types(point: Point, time: int) -> None:
    written = encode(point, time)
    (line,) = decode(written)
    assert measurement_of(written) == point.measurement
    assert (line.point.measurement, line.point.tags) == (point.measurement, point.tags)
    assert line.timestamp_ns == time
    assert line.point.fields.keys() == point.fields.keys()
    assert all(same(line.point.fields[key], value) for key, value in point.fields.items())


@given(st.lists(st.tuples(points, timestamps), max_size=4))
def test_a_block_splits_into_the_lines_it_was_made_of(made: list[tuple[Point, int]]) -> None:
    lines = [encode(point, time) for point, time in made]
    block = "".join(f"{line}\n" for line in lines)
    assert split_lines(block) == lines
    assert len(list(decode(block))) == len(lines)


@given(st.text(), st.text(), st.text())
def test_a_point_is_one_line_whatever_is_in_it(name: str, key: str, text: str) -> None:
    with suppress(PointError):
        line = encode(Point(f"m{name}", {f"f{key}": text}, {f"t{key}": text}), 7)
        assert not {"\n", "\r"} & set(line)
        assert split_lines(f"{line}\n") == [line]


@given(st.lists(st.tuples(points, timestamps), min_size=1, max_size=4), st.data())
def test_a_scan_finds_what_is_wanted_as_if_all_were_read(
    made: list[tuple[Point, int]], data: st.DataObject
) -> None:
    wanted = data.draw(st.sampled_from([point.measurement for point, _ in made]))
    block = "".join(f"{encode(point, time)}\n" for point, time in made)
    found = list(scan(block, {wanted}))
    expected = [(point, time) for point, time in made if point.measurement == wanted]
    assert len(found) == len(expected)
    assert len(list(scan(block))) == len(made)
    for line, (point, time) in zip(found, expected, strict=True):
        assert read_series(line.series) == (point.measurement, point.tags)
        assert line.timestamp_ns == time
        for key, value in point.fields.items():
            assert same(read_fields(line.fields, key)[key], value)
            assert same(read_fields(line.fields)[key], value)


def test_what_only_looks_like_what_is_wanted_is_not_found() -> None:
    lines = ['m a="x,b=2",b=1i 7', "m,t=x b=3i 7", "mX b=4i 7", "X,m b=5i 7", "n,m=m b=6i 7"]
    found = list(scan("\n".join(lines), {"m"}))
    assert [read_fields(line.fields, "b") for line in found] == [{"b": 1}, {"b": 3}]
    assert read_fields("b=1i", "a") == {}
    (line,) = scan(r"m\  b=1i 7")
    assert (line.series, line.fields) == ("m\\ ", "b=1i")
    assert measurement_of("") == measurement_of(",t=x f=1i 7") == ""


@given(points, timestamps)
def test_influxdb_client_writes_the_same_line(point: Point, time: int) -> None:
    # The client writes a float by way of str(), as we do but for whole ones beyond 1e16.
    assume(all(not isinstance(v, float) or abs(v) < 1e15 for v in point.fields.values()))
    theirs = ClientPoint(point.measurement).time(time)
    for tag, name in point.tags.items():
        theirs.tag(tag, name)
    for key, value in point.fields.items():
        theirs.field(key, value)
    (ours_read,), (theirs_read,) = decode(encode(point, time)), decode(theirs.to_line_protocol())
    assert ours_read.point.tags == theirs_read.point.tags
    assert ours_read.point.measurement == theirs_read.point.measurement
    assert sorted(ours_read.point.fields.items()) == sorted(theirs_read.point.fields.items())


@given(points, timestamps)
def test_line_protocol_parser_reads_the_same_point(point: Point, time: int) -> None:
    # That parser takes a backslash before any character for an escape, which InfluxDB does not;
    # it takes a name's first quote for a string, and refuses subnormal numbers.
    floats = [value for value in point.fields.values() if isinstance(value, float)]
    assume(not any(0 < abs(value) < sys.float_info.min for value in floats))
    texts = [point.measurement, *point.fields, *point.tags, *point.tags.values()]
    assume(not any("\\" in text or '"' in text for text in texts))
    read = parse_line(encode(point, time))
    assert (read["measurement"], read["tags"], read["time"]) == (
        point.measurement,
        point.tags,
        time,
    )
    assert read["fields"] == point.fields


def test_a_point_with_no_field_is_no_line() -> None:
    assert encode(Point("m", {}), 7) == ""


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_an_integer_beyond_64_bits_is_refused(value: int) -> None:
    with pytest.raises(PointError, match=r"'f'.*64 bits"):
        encode(Point("m", {"f": value}), 7)


@pytest.mark.parametrize(
    "point",
    [
        Point("", {"f": 1}),
        Point("#m", {"f": 1}),  # would be read as a comment, and so lost in silence
        Point("m", {"": 1}),
        Point("m", {"time": 1}),  # InfluxDB drops it in silence
        Point("m", {"f": 1}, {"time": "x"}),
        Point("m", {"f": 1}, {"": "x"}),
        Point("m", {"f": 1}, {"a\n": "x", "a\\n": "x"}),  # InfluxDB refuses doubles
        *(
            Point("m", {"f": 1}, {f"_{name}": "x"})
            for name in ("value", "time", "start", "stop", "")
        ),
        *(Point(f"a\\{sign}b", {"f": 1}) for sign in ' ,="'),  # stored, and never seen again
        *(Point("m", {f"a\\{sign}b": 1}) for sign in " ,="),
        Point("m", {"f": "x" * (2**20 + 1)}),
        Point("m", {"f": 1}, {"path": "/\udcff"}),  # a file name that is not UTF-8
        Point("m", {"f": "\udcff"}),
        Point("m", {"f": math.nan}),
        Point("m", {"f": -math.inf}),
        Point("m", {"f": None}),  # type: ignore[dict-item]  # as untyped callers can
        Point("m", {1: 1}),  # type: ignore[dict-item]
        Point("m", {"f": 1}, {"port": 80}),  # type: ignore[dict-item]
    ],
)
def test_what_line_protocol_cannot_carry_is_refused(point: Point) -> None:
    with pytest.raises(PointError):
        encode(point, 7)


bad_values = st.sampled_from(
    [math.nan, math.inf, -math.inf, 2**63, -(2**63) - 1, 10**5000, "\udcff", "x" * 2**21, None]
)


@given(
    st.dictionaries(names, values, max_size=4),
    st.dictionaries(names, bad_values, max_size=4),
    st.dictionaries(st.sampled_from(["", "time", "\udcff", "k" * 70_000]), values),
)
def test_a_field_that_cannot_be_carried_costs_itself_only(
    good: dict[str, FieldValue], bad: dict[str, FieldValue], misnamed: dict[str, FieldValue]
) -> None:
    point = Point("m", {**bad, **good, **misnamed}, {"t": "x"})
    rest, reasons = writable(point)
    assert rest == Point("m", good, {"t": "x"})
    assert len(reasons) == len(bad.keys() - good.keys()) + len(misnamed)
    assert all(len(reason) < 200 for reason in reasons)
    assert bool(encode(rest, 7)) == bool(good)


def test_why_a_field_cannot_be_carried_is_told() -> None:
    point = Point("m", {"f": 1, "g": math.nan})
    assert writable(point) == (Point("m", {"f": 1}), ["field 'g' is no finite number"])
    rest, reasons = writable(point, {"t": "x" * 65_535})
    assert not rest.fields
    assert len(set(reasons)) == 1
    assert "64 KiB" in reasons[0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("m f=1i 6", "m f=1i 106"),
        ("m f=1i -6", "m f=1i 94"),
        ("m f=1i 7", "m f=1i 7"),
        ('m f="a 6" 7', 'm f="a 6" 7'),
        ("m f=1i", "m f=1i"),
        ("", ""),
    ],
)
def test_a_line_of_before_a_time_gets_a_later_one(line: str, expected: str) -> None:
    assert moved(line, before_ns=7, by_ns=100) == expected


def test_a_types_name_survives() -> None:
    point = Point("m", {"f": 0.0, "i": 0, "b": False, "s": "0"})
    assert encode(point, 7) == 'm f=0,i=0i,b=false,s="0" 7'


def test_tags_are_merged_sorted_and_empty_ones_left_out() -> None:
    point = Point("m", {"f": 1}, {"z": "own", "empty": ""})
    assert encode(point, 7, {"a": "common", "z": "common"}) == "m,a=common,z=own f=1i 7"


def test_an_empty_tag_of_a_point_takes_no_others_place() -> None:
    point = Point("m", {"f": 1}, {"host": ""})
    assert encode(point, 7, {"host": "h"}) == "m,host=h f=1i 7"


@pytest.mark.parametrize("letter", ["x", "é"])
def test_names_are_as_long_as_influxdb_takes_them(letter: str) -> None:
    def point(length: int) -> Point:
        tag = letter * ((length - len("m,t=") - 4 - len("f")) // len(letter.encode()))
        return Point("m", {"f": 1}, {"t": tag})

    assert encode(point(65_535), 7)
    with pytest.raises(PointError, match="longer than 64 KiB"):
        encode(point(65_537), 7)


def test_a_line_break_in_a_text_becomes_the_two_characters_that_people_read() -> None:
    line = encode(Point("m", {"s": "a\r\nb\tc"}), 7)
    assert line == 'm s="a\\\\r\\\\nb\tc" 7'
    assert [one.point.fields for one in decode(line)] == [{"s": r"a\r\nb" "\tc"}]


def test_control_characters_and_a_closing_backslash_do_not_break_the_line() -> None:
    line = encode(Point("m\n\0", {"f\t": 1}, {"t": "a\nb\\", "u": "\\"}), 7)
    assert line == r"m\n\0,t=a\nb\x5c,u=\x5c f\t=1i 7"


def test_names_that_differ_in_closing_backslashes_stay_apart() -> None:
    names = ["a", "a\\", r"a\\", r"a\\" "\\"]
    lines = [encode(Point("m", {"f": 1}, {"t": name}), 7) for name in names]
    read = [line.point.tags["t"] for line in decode("\n".join(lines))]
    assert read == ["a", r"a\x5c", r"a\\x5c", r"a\\\x5c"]


@pytest.mark.parametrize("block", ["m", "m f", "m f=1i", "m f=1i 7\nrubbish", "\n"])
def test_what_is_not_line_protocol_is_told(block: str) -> None:
    with pytest.raises(ValueError, match="line protocol"):
        list(decode(block))
