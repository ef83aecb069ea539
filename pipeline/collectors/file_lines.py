"""Lines of line protocol that somebody else wrote, without a time.

`pipeline.point.decode` trusts that `encode` wrote what it reads; this reader trusts nobody, and
takes no longer than the text is long.
"""

import math
import re
from collections.abc import Iterable, Iterator
from io import StringIO
from typing import TypeVar

from pipeline.point import FieldValue, Point, encode

# A backslash escapes what would end the name, and stands for itself before all else. Nothing is
# tried a second time (++ and *+): that is what keeps the time in proportion. Not so what can begin
# and fail, such as a comma without a tag: Debian 12's Python 3.11.2 takes that for a match.
_NAME = r"(?:[^,= \\]|\\[,= ]?)++"
_VALUE = r'(?:"(?:[^"\\]|\\.)*+"|[^, "]++)'
_LINE_RE = re.compile(
    r"(?P<measurement>(?:[^, \\]|\\[, ]?)++)"
    rf"(?P<tags>(?:,{_NAME}={_NAME})*) ++"
    rf"(?P<fields>{_NAME}={_VALUE}(?:,{_NAME}={_VALUE})*)"
    r"(?P<time> ++-?\d++)?"
)
_TAG_RE = re.compile(rf",({_NAME})=({_NAME})")
_FIELD_RE = re.compile(rf"({_NAME})=({_VALUE})")
_ESCAPED_MEASUREMENT_RE = re.compile(r"\\([, ])")
_ESCAPED_NAME_RE = re.compile(r"\\([,= ])")
_ESCAPED_STRING_RE = re.compile(r'\\(["\\])')

_INTEGER_RE = re.compile(r"[-+]?[0-9]{1,19}i")
_FLOAT_RE = re.compile(r"[-+]?(?:[0-9]++\.?[0-9]*|\.[0-9]++)(?:[eE][-+]?[0-9]++)?")
_FLAGS = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}

V = TypeVar("V")


def content_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line, with its number, that is no comment (#) and not empty."""
    for number, line in enumerate(StringIO(text, newline="\n"), start=1):  # one at a time
        line = line.strip(" \t\r\n")
        if line and not line.startswith("#"):
            yield number, line


def parse(lines: Iterable[tuple[int, str]]) -> Iterator[Point]:
    """Read lines, each with its number.

    Raises:
        ValueError: With the number of the first line that is not as it should be, and why. It
            quotes nothing: who may write in the folder could have any file's text logged by a link.
    """
    for number, line in lines:
        try:
            yield _point(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None


def _point(line: str) -> Point:
    match = _LINE_RE.fullmatch(line)
    if match is None:
        raise ValueError("it is not line protocol")
    if match["time"]:
        raise ValueError("it has a time of its own; it gets that of the reading")
    fields = [(_name(key), _value(value)) for key, value in _FIELD_RE.findall(match["fields"])]
    tags = [(_name(key), _name(value)) for key, value in _TAG_RE.findall(match["tags"])]
    measurement = _ESCAPED_MEASUREMENT_RE.sub(r"\1", match["measurement"])
    point = Point(measurement, _only_once(fields), _only_once(tags))
    encode(point, 0)  # refuses what else InfluxDB would
    return point


def _only_once(pairs: Iterable[tuple[str, V]]) -> dict[str, V]:
    values: dict[str, V] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError("it has a tag or a field twice")
        values[key] = value
    return values


def _name(text: str) -> str:
    return _ESCAPED_NAME_RE.sub(r"\1", text)


def _value(text: str) -> FieldValue:
    if text.startswith('"'):
        return _ESCAPED_STRING_RE.sub(r"\1", text[1:-1])
    if text in _FLAGS:
        return _FLAGS[text]
    if _INTEGER_RE.fullmatch(text):
        return int(text[:-1])
    if _FLOAT_RE.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    raise ValueError('it has a value that is none, such as 1.5, 2i, "text" or true are')
