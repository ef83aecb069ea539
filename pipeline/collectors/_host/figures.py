"""What the kernel writes: figures as they can be, and names."""

import math
import re
from collections.abc import Mapping
from typing import TypeVar

from pipeline.point import FieldValue

V = TypeVar("V", bound=FieldValue)

_LONGEST = 30
_WHOLE_RE = re.compile(rb"[-+]?[0-9]{1,%d}" % _LONGEST)
_DECIMAL_RE = re.compile(rb"[0-9]{1,%d}(?:\.[0-9]{1,%d})?" % (_LONGEST, _LONGEST))

UNKNOWN = math.nan
"""A figure that nobody can tell; it is left out of its point, and counted."""

UNREADABLE = (
    *(ValueError, LookupError, TypeError, ArithmeticError, AssertionError, RuntimeWarning),
    TimeoutError,
)
"""What psutil raises when it cannot read one figure of a file, which costs it all the others, or
when another file that it needs does not answer."""


def whole(text: bytes) -> int:
    """Return the whole number that a text is, with blanks around it or not.

    Python takes more for a number than the kernel writes: `1_0`, and one of any length.

    Raises:
        ValueError: It is none.
    """
    if not _WHOLE_RE.fullmatch(digits := text.strip()):
        raise ValueError(f"{digits[:40]!r} is no whole number")
    return int(digits)


def figure(text: bytes, unit: int = 1) -> float:
    """Return the whole number that a text is, times its unit; UNKNOWN if it is none or below 0."""
    if text.isdigit() and len(text) <= _LONGEST:  # hundreds in a reading are just that
        return int(text) * unit
    try:
        number = whole(text) * unit
    except ValueError:
        return UNKNOWN
    return number if number >= 0 else UNKNOWN


def decimal(text: bytes) -> float:
    """Return the number that a text such as `0.25` is; UNKNOWN if it is none."""
    return float(text) if _DECIMAL_RE.fullmatch(text) else UNKNOWN


def part(of_it: float, all_of_it: float) -> float:
    """Return a part of something; UNKNOWN if it is less than nothing, or more than all of it."""
    return UNKNOWN if of_it < 0 or of_it > all_of_it else of_it


_DIGITS = 3
"""Decimal places of a share. 0.001 % is less than one clock tick of one of ten cores in a minute.

With all digits of a float, a reading would be a tenth larger.
"""


def share(part_of_whole: float) -> float:
    """Return a share in percent as it is written, with three decimal places."""
    return round(100.0 * part_of_whole, _DIGITS)


def percent(of_it: float, all_of_it: float) -> float:
    """Return a part's share of the whole in percent; 0.0 when the whole is nothing.

    UNKNOWN if the part is less than nothing, or more than all of it.
    """
    known = part(of_it, all_of_it)
    return share(known / all_of_it) if all_of_it else float(known)


def possible(fields: Mapping[str, V]) -> dict[str, V | float]:
    """Return fields in which each number below 0 is UNKNOWN."""
    return {
        field: UNKNOWN if not isinstance(value, str) and value < 0 else value
        for field, value in fields.items()
    }


def printable(name: str | bytes) -> str:
    r"""Return a name from the kernel, with bytes that are not UTF-8 written as `\xff`.

    In a text such bytes are lone surrogates, as Python reads the names of files.
    """
    text = name if isinstance(name, bytes) else name.encode(errors="surrogateescape")
    return text.decode(errors="backslashreplace")
