"""Point and line protocol: written once, when a reading is taken, and read back for `show`.

Line protocol as InfluxDB 2 reads it: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

FieldValue = float | int | str | bool

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
# InfluxDB's bounds, in bytes: on measurement, tags and a field's key together with four of its own,
# and on a text. https://github.com/influxdata/influxdb/blob/v2.7.12/models/points.go
_LONGEST_KEY, _OWN_BYTES = 65_535, 4
_LONGEST_TEXT = 2**20
# A line of so few characters has no key that is too long: a character is 4 bytes at most.
_SHORT_LINE = _LONGEST_KEY // 4 - _OWN_BYTES

# A line break in a name cannot be escaped: it becomes the two characters people read. So does one
# in a string, so that a point is always one line of text. And so does a NUL in a name, of which
# InfluxDB takes lines, but no question and no deletion.
_CONTROL = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
_MEASUREMENT = str.maketrans({",": "\\,", " ": "\\ ", **_CONTROL})
_KEY = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ ", **_CONTROL})
_STRING = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": "\\\\n", "\r": "\\\\r"})

# No escape helps here: a measurement with one of these is stored and never seen again, a field with
# one is refused. In a tag they are just what they are.
_UNSEEN_RE, _REFUSED_RE = re.compile(r'\\[ ,="]'), re.compile(r"\\[ ,=]")

# Names come back tick after tick, and to escape them again would be half the cost of a line.
_remembered = lru_cache(maxsize=4096)


class PointError(ValueError):
    """A point that line protocol cannot carry; the message says which part and why."""


@dataclass(frozen=True, slots=True)
class Point:
    """One reading of one series.

    Attributes:
        measurement: What was measured, such as `cpu`.
        fields: Field key to value. The type of a value is its type in InfluxDB: a percentage is a
            float even when it is 0.
        tags: Tag key to value: what tells this series from its sisters. An empty value is none.
    """

    measurement: str
    fields: Mapping[str, FieldValue]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of line protocol, read back: a point and its timestamp in nanoseconds."""

    point: Point
    timestamp_ns: int


def encode(point: Point, timestamp_ns: int, tags: Mapping[str, str] | None = None) -> str:
    r"""Write a point as one line, without a line break at its end.

    A whole float loses its `.0`: the type is told by the missing `i`. Tags are sorted by key, as
    InfluxDB stores them. Two things are changed: a line break becomes the two characters `\n`, and
    a backslash at a name's end, which would escape what follows it, becomes the four `\x5c`.

    Args:
        point: The point.
        timestamp_ns: Its time, in nanoseconds since 1970-01-01 UTC.
        tags: Tags common to all points; the point's own win over them.

    Returns:
        The line, or "" when the point has no field.

    Raises:
        PointError: A name is empty, reserved or one that InfluxDB cannot read back, a number is not
            finite or exceeds 64 bits, a name or a text is longer than InfluxDB takes, a value is of
            a type that it lacks, or a text is not Unicode.
    """
    fields = ",".join(
        [f"{_field_key(key)}={_value(key, value)}" for key, value in point.fields.items()]
    )
    if not fields:
        return ""
    series = _series_with(point, tags)
    line = f"{series} {fields} {timestamp_ns}"
    if len(line) > _SHORT_LINE:
        for key in point.fields:
            _require_short(series, key)
    return line


def writable(point: Point, tags: Mapping[str, str] | None = None) -> tuple[Point, list[str]]:
    """Leave out of a point the fields that line protocol cannot carry.

    Args:
        point: The point.
        tags: Tags common to all points.

    Returns:
        The point without them, and why each of them cannot be written.

    Raises:
        PointError: Its measurement or a tag cannot be written.
    """
    series, fields, reasons = _series_with(point, tags), {}, []
    for key, value in point.fields.items():
        try:
            _require_short(series, key)
            _value(key, value)
        except PointError as error:
            reasons.append(str(error))
        else:
            fields[key] = value
    return replace(point, fields=fields), reasons


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # such as a file name that is not UTF-8
        raise PointError(f"{_shown(text)} holds what is no text") from error


def _require_short(series: str, key: str) -> None:
    if len(_utf8(series)) + len(_utf8(_field_key(key))) + _OWN_BYTES > _LONGEST_KEY:
        raise PointError("its measurement, tags and field key are longer than 64 KiB together")


def _shown(name: str) -> str:
    return repr(name[:60])


def _name(text: str, escapes: dict[int, str]) -> str:
    if not isinstance(text, str):
        raise PointError(f"{text!r} is no text")
    _utf8(text)  # which refuses what is no text
    return (f"{text[:-1]}\\x5c" if text.endswith("\\") else text).translate(escapes)


def _series_with(point: Point, tags: Mapping[str, str] | None) -> str:
    own = tuple(point.tags.items())
    return _series(point.measurement, (*tags.items(), *own) if tags else own)


@_remembered
def _series(measurement: str, tags: tuple[tuple[str, str], ...]) -> str:
    # The later of two tags of one key counts. An empty one is none: no point loses its host by it.
    values = {key: text for key, value in tags if (text := _name(value, _KEY))}
    pairs = {_tag_key(key): text for key, text in sorted(values.items())}
    if len(pairs) < len(values):
        raise PointError("two of its tags have one name once they are written")
    return _measurement(measurement) + "".join(f",{key}={text}" for key, text in pairs.items())


def _measurement(text: str) -> str:
    name = _name(text, _MEASUREMENT)
    if not name or name.startswith("#"):
        raise PointError(f"measurement {_shown(text)} must not be empty or start with #")
    if _UNSEEN_RE.search(text):
        raise PointError(f"measurement {_shown(text)} has a backslash before a sign")
    return name


def _tag_key(text: str) -> str:
    # Flux makes columns of tags, and cannot read a series with a second _time, _value or the like.
    if text.startswith("_"):
        raise PointError(f"tag {_shown(text)} begins with _, which InfluxDB reserves")
    return _key(text)


@_remembered
def _field_key(text: str) -> str:
    name = _key(text)
    if _REFUSED_RE.search(text):
        raise PointError(f"field {_shown(text)} has a backslash before a sign")
    return name


def _key(text: str) -> str:
    name = _name(text, _KEY)
    if not name or name == "time":
        raise PointError(f"key {_shown(text)} must not be empty or `time`, which InfluxDB reserves")
    return name


def _value(key: str, value: FieldValue) -> str:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise PointError(f"field {_shown(key)} is no finite number")
        return repr(float(value)).removesuffix(".0")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if not _INT64_MIN <= value <= _INT64_MAX:
            raise PointError(f"field {_shown(key)} does not fit in 64 bits")
        return f"{value:d}i"
    if isinstance(value, str):
        if len(_utf8(value)) > _LONGEST_TEXT:
            raise PointError(f"field {_shown(key)}: its text is longer than 1 MiB")
        return f'"{value.translate(_STRING)}"'
    raise PointError(f"field {_shown(key)}: {type(value).__name__} is not a type of InfluxDB")


# What ends a name is decided by the one character before it, in InfluxDB as here: so `\\,` holds an
# escaped comma, and a pair of backslashes is just that.
_FIELD = r'(?P<key>(?:[^,= ]|(?<=\\)[,= ])+)=(?P<value>"(?:[^"\\]|\\.)*"|[^, "]+)'
_FIELD_RE = re.compile(_FIELD)
_FIELDS = re.sub(r"\?P<\w+>", "?:", rf"{_FIELD}(?:,{_FIELD})*")
_LINE_RE = re.compile(rf"(?P<series>(?:[^ ]|(?<=\\) )+) (?P<fields>{_FIELDS}) (?P<time>-?\d+)")
_TIME_RE = re.compile(r"-?\d{1,19}")
_MEASUREMENT_RE = re.compile(r"(?:[^, ]|(?<=\\)[, ])+")
_ESCAPED_MEASUREMENT_RE = re.compile(r"\\([, ])")
_ESCAPED_RE = re.compile(r"\\([,= ])")
_ESCAPED_STRING_RE = re.compile(r'\\(["\\])')


def split_lines(block: str) -> list[str]:
    r"""Split a text into its lines: by `\n` alone, where `splitlines` knows other breaks, too."""
    return block.removesuffix("\n").split("\n") if block else []


def moved(line: str, before_ns: int, by_ns: int) -> str:
    """Return a line with another time, later by `by_ns`, if it has one before `before_ns`."""
    rest, _, time = line.rpartition(" ")
    is_earlier = _TIME_RE.fullmatch(time) is not None and int(time) < before_ns
    return f"{rest} {int(time) + by_ns}" if is_earlier else line


def measurement_of(line: str) -> str:
    """Return the measurement of a line that `encode` wrote; "" of anything else."""
    match = _MEASUREMENT_RE.match(line)
    return _ESCAPED_MEASUREMENT_RE.sub(r"\1", match[0]) if match else ""


def series_of(line: str) -> str:
    """Return the first part of a line, which names its series; "" of no line."""
    end = line.find(" ")
    while line[end - 1 : end] == "\\":
        end = line.index(" ", end + 1)
    return line[: max(0, end)]


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line cut into its three parts, which are as they were written."""

    series: str
    fields: str
    timestamp_ns: int


def scan(block: str, measurements: Collection[str] | None = None) -> Iterator[RawLine]:
    """Cut the lines of some measurements, or of all, into their parts, without reading these.

    Raises:
        ValueError: The block holds something that `encode` did not write.
    """
    starts = tuple(one.translate(_MEASUREMENT) + end for one in measurements or () for end in ", ")
    for line in split_lines(block):
        if measurements is None or line.startswith(starts):
            series, time = series_of(line), line.rindex(" ")
            yield RawLine(series, line[len(series) + 1 : time], int(line[time + 1 :]))


def decode(block: str) -> Iterator[Line]:
    """Read back what `encode` wrote, in order.

    Raises:
        ValueError: The block holds something that `encode` did not write.
    """
    for line in split_lines(block):
        match = _LINE_RE.fullmatch(line)
        if match is None:
            raise ValueError(f"not a line of line protocol: {line[:80]!r}")
        measurement, tags = read_series(match["series"])
        yield Line(Point(measurement, read_fields(match["fields"]), tags), int(match["time"]))


def read_series(text: str) -> tuple[str, dict[str, str]]:
    """Return the measurement and the tags of a line's first part."""
    measurement, *pairs = re.split(r"(?<!\\),", text)
    tags = dict(re.split(r"(?<!\\)=", pair) for pair in pairs)
    return _ESCAPED_MEASUREMENT_RE.sub(r"\1", measurement), {
        _ESCAPED_RE.sub(r"\1", key): _ESCAPED_RE.sub(r"\1", value) for key, value in tags.items()
    }


def read_fields(text: str, only: str | None = None) -> dict[str, FieldValue]:
    """Return the fields of a line's second part; `only` one of them, where it is named."""
    if only is not None and '"' not in text:  # within a string, what looks like a field is none
        match = _one_field(only).search(text)
        return {only: _read(match[1])} if match else {}
    return {
        key: _read(found["value"])
        for found in _FIELD_RE.finditer(text)
        if (key := _ESCAPED_RE.sub(r"\1", found["key"])) == only or only is None
    }


@_remembered
def _one_field(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|(?<!\\),){re.escape(name.translate(_KEY))}=([^,]+)")


def _read(text: str) -> FieldValue:
    if text.startswith('"'):
        return _ESCAPED_STRING_RE.sub(r"\1", text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    return int(text[:-1]) if text.endswith("i") else float(text)
