"""Numbers, quantities and durations in few characters, for people."""

import math

from pipeline.point import FieldValue

# Below it a number is written in full.
_FULL = 100_000
_THOUSAND, _THOUSANDS = 1000, "kMGTPE"
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_MINUTE_S = 60
# The signs of the catalogue's units; others are their own sign.
_SIGNS = {"percent": "%", "celsius": "°C", "seconds": "s", "milliseconds": "ms", "count": ""}


def quantity(value: FieldValue, unit: str, digits: int | None = None, *, rate: bool = False) -> str:
    """Write a value with its unit: 25.28 GB, 17.3 %, 2 h 5 min.

    Args:
        value: The value.
        unit: Its unit, as the catalogue names it; "" when it is not known.
        digits: How many; else as many as a person can use.
        rate: Whether it is a growth per second: 1.2 MB/s.
    """
    if isinstance(value, bool | str):
        return str(value)
    if unit == "milliseconds" and abs(value) >= _THOUSAND:
        value, unit = value / 1000, "seconds"
    if unit == "seconds" and abs(value) >= _MINUTE_S and not (rate or digits):
        return f"{'-' if value < 0 else ''}{duration(abs(value))}"
    per = "/s" if rate else ""
    if unit == "bytes":
        text, letter = _scaled(value, digits or 4)
        return f"{text} {letter}B{per}"
    sign = _SIGNS.get(unit, unit)
    if abs(value) >= _FULL:
        text = "".join(_scaled(value, digits or 4))
    else:
        least = len(str(round(abs(value))))  # with fewer it would be 1.2e+04
        text = f"{value:.{max(digits or (4 if sign else 6), least)}g}"
    return f"{text}{' ' if sign else ''}{sign}{per}"


def _scaled(value: float, digits: int) -> tuple[str, str]:
    """Return a number with so many digits, and a letter for its thousands."""
    power = int(math.log10(abs(value))) // 3 if abs(value) >= _THOUSAND else 0
    if power > len(_THOUSANDS):
        return f"{value:.{digits}g}", ""
    # Rounded before it is written: 999.9 with 3 digits is 1000, and not 1e+03.
    rounded = float(f"{value / _THOUSAND**power:.{digits}g}")
    return f"{rounded:.{max(digits, 6)}g}", _THOUSANDS[power - 1] if power else ""


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
