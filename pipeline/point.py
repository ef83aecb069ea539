"""Point and line protocol: written once, when a reading is taken, and read back for `show`.

Line protocol as InfluxDB 2 reads it: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

FieldValue = float | int | str | bool

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1

# A line break in a name cannot be escaped: it becomes the two characters people read. So does one
# in a string, so that a point is always one line of text. And so does a NUL in a name, of which
# InfluxDB takes lines, but no question and no deletion.
_CONTROL = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
_MEASUREMENT = str.maketrans({",": "\\,", " ": "\\ ", **_CONTROL})
_KEY = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ ", **_CONTROL})
_STRING = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": "\\\\n", "\r": "\\\\r"})

# Names come back tick after tick, and to escape them anew would be half the cost of a line.
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
        tags: Tag key to value: what tells this series from its sisters. Empty values are left out.
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

    NaN and infinities are left out, since InfluxDB has no such value. A whole float loses its
    `.0`: the type is told by the missing `i`. Tags are sorted by key, as InfluxDB stores them.
    Two things are changed: a line break becomes the two characters `\n`, and a name's closing
    backslash, which would escape what follows it, is dropped.

    Args:
        point: The point.
        timestamp_ns: Its time, in nanoseconds since 1970-01-01 UTC.
        tags: Tags common to all points; the point's own win over them.

    Returns:
        The line, or "" when the point has no field left.

    Raises:
        PointError: A name is empty or reserved, an integer exceeds 64 bits, a value is of a type
            that InfluxDB lacks, or a text is not Unicode.
    """
    fields = ",".join(
        [
            f"{_key(key)}={text}"
            for key, value in point.fields.items()
            if (text := _value(key, value)) is not None
        ]
    )
    if not fields:
        return ""
    merged = {**tags, **point.tags} if tags else point.tags
    line = f"{_series(point.measurement, tuple(merged.items()))} {fields} {timestamp_ns}"
    if not line.isascii():
        _require_text(line)
    return line


def _require_text(line: str) -> None:
    try:
        line.encode()
    except UnicodeEncodeError as error:  # such as a file name that is not UTF-8
        raise PointError(f"{line[:80]!r} holds what is no text") from error


def _name(text: str, escapes: dict[int, str]) -> str:
    return text.rstrip("\\").translate(escapes)


@_remembered
def _series(measurement: str, tags: tuple[tuple[str, str], ...]) -> str:
    pairs = [(_key(key), _name(value, _KEY)) for key, value in sorted(tags)]
    return _measurement(measurement) + "".join(f",{key}={value}" for key, value in pairs if value)


def _measurement(text: str) -> str:
    name = _name(text, _MEASUREMENT)
    if not name or name.startswith("#"):
        raise PointError(f"measurement {text!r} must not be empty or start with #")
    return name


@_remembered
def _key(text: str) -> str:
    name = _name(text, _KEY)
    if not name or name == "time":
        raise PointError(f"key {text!r} must not be empty or `time`, which InfluxDB reserves")
    return name


def _value(key: str, value: FieldValue) -> str | None:
    if isinstance(value, float):
        return repr(float(value)).removesuffix(".0") if math.isfinite(value) else None
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        if not _INT64_MIN <= value <= _INT64_MAX:
            raise PointError(f"field {key!r}: {value} does not fit in 64 bits")
        return f"{value:d}i"
    if isinstance(value, str):
        return f'"{value.translate(_STRING)}"'
    raise PointError(f"field {key!r}: {type(value).__name__} is not a type of InfluxDB")


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
    is_wrong = _TIME_RE.fullmatch(time) is not None and int(time) < before_ns
    return f"{rest} {int(time) + by_ns}" if is_wrong else line


def measurement_of(line: str) -> str:
    """Return the measurement of a line that `encode` wrote; "" of anything else."""
    match = _MEASUREMENT_RE.match(line)
    return _ESCAPED_MEASUREMENT_RE.sub(r"\1", match[0]) if match else ""


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
            end = line.find(" ")
            while line[end - 1] == "\\":
                end = line.index(" ", end + 1)
            time = line.rindex(" ")
            yield RawLine(line[:end], line[end + 1 : time], int(line[time + 1 :]))


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
    tags = dict(re.split(r"(?<!\\)=", pair, maxsplit=1) for pair in pairs)
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
