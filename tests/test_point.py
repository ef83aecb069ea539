import math
import re
import sys
from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
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
    series_of,
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
    st.dictionaries(names, values, min_size=1, max_size=3),
    st.dictionaries(names, texts, max_size=3),
)
timestamps = st.integers(-(2**63) + 2, 2**63 - 2)  # what InfluxDB takes for a time


Block = list[tuple[Point, int]]
blocks: st.SearchStrategy[Block] = st.lists(st.tuples(points, timestamps), max_size=3)


def written(block: Block) -> str:
    return "".join(f"{encode(point, time)}\n" for point, time in block)


def typed(fields: Mapping[str, FieldValue]) -> dict[str, tuple[type, FieldValue]]:
    return {key: (type(value), value) for key, value in fields.items()}


@given(blocks)
@example([(Point("=", {"f": 1.0}), 0)])  # only a comma and a blank are escaped in a measurement
@example([(Point("a,b c=d", {"e,f g=h": 1.0}, {"i,j k=l": "m,n o=p"}), 0)])
def test_what_is_encoded_is_read_back_unchanged_with_its_types(block: Block) -> None:
    lines = split_lines(written(block))
    assert lines == [encode(point, time) for point, time in block]
    assert [measurement_of(line) for line in lines] == [point.measurement for point, _ in block]
    read = list(decode(written(block)))
    assert [(line.point, line.timestamp_ns) for line in read] == block
    for line, (point, _) in zip(read, block, strict=True):
        assert typed(line.point.fields) == typed(point.fields)


@given(blocks.filter(bool))
def test_a_scan_finds_what_is_wanted_as_if_all_were_read(block: Block) -> None:
    wanted = block[0][0].measurement
    expected = [(point, time) for point, time in block if point.measurement == wanted]
    assert len(list(scan(written(block)))) == len(block)
    for line, (point, time) in zip(scan(written(block), {wanted}), expected, strict=True):
        assert read_series(line.series) == (point.measurement, point.tags)
        assert line.timestamp_ns == time
        assert typed(read_fields(line.fields)) == typed(point.fields)
        for key, value in point.fields.items():
            assert typed(read_fields(line.fields, key)) == typed({key: value})


@given(st.text(), st.text(), st.text())
def test_a_point_is_one_line_whatever_is_in_it(name: str, key: str, text: str) -> None:
    with suppress(PointError):
        line = encode(Point(f"m{name}", {f"f{key}": text}, {f"t{key}": text}), 7)
        assert not {"\n", "\r"} & set(line)
        assert split_lines(f"{line}\n") == [line]


def test_what_only_looks_like_what_is_wanted_is_not_found() -> None:
    lines = ['m a="x,b=2",b=1i 7', "m,t=x b=3i 7", "mX b=4i 7", "X,m b=5i 7", "n,m=m b=6i 7"]
    found = list(scan("\n".join(lines), {"m"}))
    assert [read_fields(line.fields, "b") for line in found] == [{"b": 1}, {"b": 3}]
    assert read_fields("b=1i", "a") == {}
    (line,) = scan(r"m\  b=1i 7")
    assert (line.series, line.fields) == ("m\\ ", "b=1i")
    assert (
        measurement_of("") == measurement_of(",t=x f=1i 7") == series_of("") == series_of("m") == ""
    )


@given(points, timestamps)
def test_line_protocol_parser_reads_the_same_point(point: Point, time: int) -> None:
    # That parser takes a backslash before any character for an escape, which InfluxDB does not;
    # it takes a name's first quote for a string, and refuses subnormal numbers.
    floats = [value for value in point.fields.values() if isinstance(value, float)]
    assume(not any(0 < abs(value) < sys.float_info.min for value in floats))
    texts = [point.measurement, *point.fields, *point.tags, *point.tags.values()]
    assume(not any("\\" in text or '"' in text for text in texts))
    read = parse_line(encode(point, time))
    assert Point(read["measurement"], read["fields"], read["tags"]) == point
    assert read["time"] == time


BACKSLASH = "\\"
ONE: dict[str, FieldValue] = {"f": 1}
RESERVED = "must not be empty or `time`, which InfluxDB reserves"


@pytest.mark.parametrize(
    ("point", "says"),
    [
        (Point("", ONE), "measurement '' must not be empty or start with #"),
        # It would be read as a comment, and so lost in silence.
        (Point("#m", ONE), "measurement '#m' must not be empty or start with #"),
        (Point("m", {"": 1}), f"key '' {RESERVED}"),
        (Point("m", {"time": 1}), f"key 'time' {RESERVED}"),  # InfluxDB drops it in silence
        (Point("m", ONE, {"time": "x"}), f"key 'time' {RESERVED}"),
        (Point("m", ONE, {"": "x"}), f"key '' {RESERVED}"),
        *(
            (Point("m", ONE, {name: "x"}), f"tag '{name}' begins with _, which InfluxDB reserves")
            for name in ("_value", "_time", "_start", "_stop", "_")
        ),
        (
            Point("m", ONE, {"a\n": "x", "a\\n": "x"}),
            "two of its tags have one name once they are written",  # InfluxDB refuses doubles
        ),
        *(  # stored, and never seen again
            (Point(name, ONE), f"measurement {name!r} has a backslash before a sign")
            for name in ("a\\ b", "a\\,b", "a\\=b", 'a\\"b')
        ),
        *(
            (Point("m", {name: 1}), f"field {name!r} has a backslash before a sign")
            for name in ("a\\ b", "a\\,b", "a\\=b")
        ),
        (Point("m", {"f": "x" * (2**20 + 1)}), "field 'f': its text is longer than 1 MiB"),
        (Point("m", {"f": "é" * (2**19 + 1)}), "field 'f': its text is longer than 1 MiB"),
        # A file name that is not UTF-8.
        (Point("m", ONE, {"path": "/\udcff"}), r"'/\udcff' holds what is no text"),
        (Point("m", {"f": "\udcff"}), r"'\udcff' holds what is no text"),
        *((Point("m", {"f": no}), "field 'f' is no finite number") for no in (math.nan, -math.inf)),
        *((Point("m", {"f": no}), "field 'f' does not fit in 64 bits") for no in (2**63, ~(2**63))),
        # As untyped callers can.
        (Point("m", {"f": b"x"}), "field 'f': bytes is not a type of InfluxDB"),  # type: ignore[dict-item]
        (Point("m", {1: 1}), "1 is no text"),  # type: ignore[dict-item]
        (Point("m", ONE, {"port": 80}), "80 is no text"),  # type: ignore[dict-item]
    ],
)
def test_what_line_protocol_cannot_carry_is_refused(point: Point, says: str) -> None:
    with pytest.raises(PointError) as caught:
        encode(point, 7)
    assert str(caught.value) == says


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


@pytest.mark.parametrize(
    ("point", "common", "line"),
    [
        (Point("m", {}), {}, ""),
        # A value's type is told by how it is written.
        (Point("m", {"f": 0.0, "i": 0, "b": False, "s": "0"}), {}, 'm f=0,i=0i,b=false,s="0" 7'),
        (Point("m", {"f": 2**63 - 1, "g": -(2**63)}), {}, f"m f={2**63 - 1}i,g={-(2**63)}i 7"),
        # Tags are merged and sorted; an empty one is none, and takes no other's place.
        (
            Point("m", ONE, {"z": "own", "empty": "", "host": ""}),
            {"host": "h", "a": "x", "z": "common"},
            "m,a=x,host=h,z=own f=1i 7",
        ),
        # A control character becomes the two characters that people read.
        (Point("m", {"s": "a\r\nb\tc"}), {}, 'm s="a\\\\r\\\\nb\tc" 7'),
        (Point("m\n\0", {"f\t": 1}, {"t": "a\nb"}), {}, r"m\n\0,t=a\nb f\t=1i 7"),
        # A closing backslash is written out; names that differ in those stay apart.
        *(
            (
                Point("m", ONE, {"t": "a" + BACKSLASH * n}),
                {},
                rf"m,t=a{BACKSLASH * (n - 1)}\x5c f=1i 7",
            )
            for n in (1, 2, 3)
        ),
    ],
)
def test_a_point_becomes_this_line(point: Point, common: dict[str, str], line: str) -> None:
    assert encode(point, 7, common) == line
    assert [encode(read.point, read.timestamp_ns) for read in decode(line)] == split_lines(line)


@pytest.mark.parametrize("letter", ["x", "é"])
def test_names_are_as_long_as_influxdb_takes_them(letter: str) -> None:
    def point(length: int) -> Point:
        tag = letter * ((length - len("m,t=") - 4 - len("f")) // len(letter.encode()))
        return Point("m", {"f": 1}, {"t": tag})

    assert encode(point(65_535), 7)
    assert encode(Point("m", {"f": letter * (2**20 // len(letter.encode()))}), 7)
    with pytest.raises(PointError) as caught:
        encode(point(65_537), 7)
    why = "its measurement, tags and field key are longer than 64 KiB together"
    assert str(caught.value) == why
    too_long = point(65_537)
    assert writable(Point("m", {"f": 1, "g": math.nan}), too_long.tags) == (
        Point("m", {}),
        [why] * 2,
    )


@pytest.mark.parametrize("block", ["m", "m f", "m f=1i", "m f=1i 7\nrubbish", "\n"])
def test_what_is_not_line_protocol_is_told(block: str) -> None:
    with pytest.raises(ValueError, match="line protocol"):
        list(decode(block))
