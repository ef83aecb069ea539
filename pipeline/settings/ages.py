"""The ages: how long which measurements are kept."""

from collections.abc import Mapping
from dataclasses import dataclass

HOUR_NS = 3600 * 10**9


@dataclass(frozen=True, slots=True)
class Age:
    """An age, and which measurements it is for.

    Attributes:
        hours: The age, in hours; 0 is for ever.
        measurement: The one that it is for; None: all but `others`.
        others: Those that have an age of their own.
    """

    hours: int
    measurement: str | None = None
    others: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether it is for all measurements."""
        return self.measurement is None and not self.others

    def covers(self, measurement: str) -> bool:
        """Tell whether a measurement has this age."""
        if self.measurement is not None:
            return measurement == self.measurement
        return measurement not in self.others

    def cutoff_ns(self, now_ns: int) -> int:
        """Return the youngest time that is too old, both in nanoseconds since 1970-01-01 UTC."""
        return max(0, now_ns - self.hours * HOUR_NS) if self.hours else 0


def ages(hours: int, overrides: Mapping[str, int]) -> tuple[Age, ...]:
    """Return each age with what it is for: first those of one measurement, then that of the rest.

    Args:
        hours: The age of what has none of its own.
        overrides: Measurement to age, in hours; one that is the same as `hours` is none.
    """
    own = {name: age for name, age in sorted(overrides.items()) if age != hours}
    return (*(Age(age, name) for name, age in own.items()), Age(hours, None, tuple(own)))


def longest(hours: int, overrides: Mapping[str, int]) -> int:
    """Return the longest of all ages, in hours; 0 is for ever."""
    every = (hours, *overrides.values())
    return 0 if 0 in every else max(every)


def shortest(hours: int, overrides: Mapping[str, int]) -> int:
    """Return the shortest of all ages, in hours; 0 is for ever."""
    return min((age for age in (hours, *overrides.values()) if age), default=0)
