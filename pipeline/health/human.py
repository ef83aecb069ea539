"""Numbers and durations in few characters, for people."""

import math

from pipeline.point import FieldValue

# Below it a number is written in full.
_FULL = 100_000
_THOUSAND, _THOUSANDS = 1000, "kMGTPE"
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def number(value: FieldValue) -> str:
    """Write a value in few characters: 17.3041, 25.28G."""
    if isinstance(value, bool | str):
        return str(value)
    if abs(value) < _FULL:
        return f"{value:.6g}"
    return scaled(value, 4)


def scaled(value: float, digits: int = 3) -> str:
    """Write a number with so many digits and a letter for its thousands: 17.3, 25.3G."""
    power = int(math.log10(abs(value))) // 3 if abs(value) >= _THOUSAND else 0
    if power > len(_THOUSANDS):
        return f"{value:.{digits}g}"
    # Rounded before it is written: 999.9 with 3 digits is 1000, and not 1e+03.
    rounded = float(f"{value / _THOUSAND**power:.{digits}g}")
    return f"{rounded:g}{_THOUSANDS[power - 1] if power else ''}"


def count(number: int, one: str, many: str = "") -> str:
    """Write a number of things: 1 point, 2 points; `many` is the plural if it takes no s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def duration(seconds: float) -> str:
    """Write a duration with its two greatest units: 12 s, 2 h 5 min, 3 d."""
    left = max(0, int(seconds))
    for index, (size, unit) in enumerate(_UNITS):
        if left >= size:
            whole, rest = divmod(left, size)
            more = _UNITS[index + 1 : index + 2]
            below = [f"{rest // small} {name}" for small, name in more if rest >= small]
            return " ".join([f"{whole} {unit}", *below])
    return "0 s"
