"""How long each measurement is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

HOUR_NS = 3600 * 10**9


def hours_text(hours: float) -> str:
    """Write an age in hours for people."""
    return f"{hours:g} h" if hours else "for ever"


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
        """Return the time before which all is too old, both in ns since 1970-01-01 UTC."""
        return max(0, now_ns - self.hours * HOUR_NS) if self.hours else 0


@dataclass(frozen=True, slots=True)
class Ages:
    """How long everything is kept.

    Attributes:
        each: Every age with what it is for: first those of one measurement, then that of the rest.
    """

    each: tuple[Age, ...]

    @classmethod
    def from_hours(cls, hours: int, overrides: Mapping[str, int]) -> Self:
        """Return the ages that settings give: of a measurement only where it differs."""
        own = {name: age for name, age in sorted(overrides.items()) if age != hours}
        return cls((*(Age(age, name) for name, age in own.items()), Age(hours, None, tuple(own))))

    @property
    def longest(self) -> int:
        """The longest of all ages, in hours; 0 is for ever."""
        hours = [age.hours for age in self.each]
        return 0 if 0 in hours else max(hours)

    @property
    def shortest(self) -> int:
        """The shortest of all ages, in hours; 0 is for ever."""
        return min((age.hours for age in self.each if age.hours), default=0)

    def of(self, measurement: str) -> Age:
        """Return the age of a measurement."""
        return next(age for age in self.each if age.covers(measurement))
