from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.collectors import file_lines
from pipeline.point import FieldValue, Point, encode
from tests.test_point import points


def parse(text: str) -> Iterator[Point]:
    return file_lines.parse(file_lines.content_lines(text))


def only(line: str) -> Point:
    (point,) = parse(line)
    return point


def problem(text: str) -> str:
    with pytest.raises(ValueError, match=r"^line \d+: .") as caught:
        list(parse(text))
    return str(caught.value)


def test_lines() -> None:
    text = '# rooms\n\nroom,floor=1 t=21.5,n=2i\r\n  room,floor=2   door="open",lit=t  \n'
    assert list(parse(text)) == [
        Point("room", {"t": 21.5, "n": 2}, {"floor": "1"}),
        Point("room", {"door": "open", "lit": True}, {"floor": "2"}),
    ]
    assert list(parse("")) == list(parse("\n \n#x")) == []


@pytest.mark.slow
@given(points)
def test_what_encode_writes_is_read(point: Point) -> None:
    line = encode(point, 0)
    assume(line)
    assert encode(only(line.removesuffix(" 0")), 0) == line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("-1.5", -1.5),
        ("+.5e-3", 0.0005),
        ("1.", 1.0),
        ("1E3", 1000.0),
        ("9223372036854775807i", 2**63 - 1),
        ("-0i", 0),
        *((text, True) for text in ("t", "T", "true", "True", "TRUE")),
        *((text, False) for text in ("f", "F", "false", "False", "FALSE")),
        ('""', ""),
        (r'"a \"b\" \\ \n, c=d 5"', r'a "b" \ \n, c=d 5'),
    ],
)
def test_values(text: str, value: FieldValue) -> None:
    read = only(f"m v={text}").fields["v"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "1_0", "٣", "٣i", "1u", "0x1", "yes", "i"])
def test_what_is_no_value(text: str) -> None:
    assert problem(f"m v={text}").startswith("line 1: it has a value that is none, such as 1.5, 2i")


@pytest.mark.parametrize(
    "line",
    [
        *("m", "m v", "m v=", "m =1", "m, v=1", "m,a v=1", "m,a= v=1", ",a=b v=1", "m v=1,"),
        *("m v=1 x", "m v=1 1.5", "m v=1 1 1", 'm v="a', 'm v="a"b', 'm v=a"b'),
        "<html><body>504 Gateway Time-out</body></html>",
        "cpu_load{core=0} 1.5",
    ],
)
def test_what_is_no_line(line: str) -> None:
    assert problem(f"m v=1\n{line}") == "line 2: it is not line protocol"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("m v=1 1700000000000000000", "it has a time of its own; it gets that of the reading"),
        ("m v=1 -5", "it has a time of its own"),
        ("m v=1,v=2", "it has a tag or a field twice"),
        ("m,a=1,a=2 v=1", "it has a tag or a field twice"),
        ("m v=9223372036854775808i", "does not fit in 64 bits"),
        ("m time=1", "`time`, which InfluxDB reserves"),
        ("m,time=1 v=1", "`time`, which InfluxDB reserves"),
        ("m,_value=1 v=1", "begins with _, which InfluxDB reserves"),
        ("m,t=" + "x" * 65_530 + " v=1", "longer than 64 KiB together"),
    ],
)
def test_what_would_not_do(line: str, says: str) -> None:
    assert says in problem(line)


def test_what_is_wrong_is_said_in_few_words() -> None:
    assert len(problem("x" * 10**6)) < 200
    assert len(problem("m v=" + "9" * 10**6)) < 200


@given(st.text() | st.text(' ,="\\\n#mv1i', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ValueError):
        for point in parse(text):
            assert encode(point, 0)


@pytest.mark.parametrize("text", [r"\=", r"\,", "=", ",a=", '"', r"\"", " ", "a,", "\\", "a=1,"])
@pytest.mark.parametrize("head", ["", "m ", "m,", "m v=", 'm v="'])
def test_long_nonsense_takes_no_longer_than_it_is_long(head: str, text: str) -> None:
    line = head + text * 50_000  # by trying all ways, this would take minutes
    with suppress(ValueError):
        list(parse(line))
