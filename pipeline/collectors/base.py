"""The base of all collectors: their interface, their options, and what they yield."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate

from pipeline.collectors._host.host import Host
from pipeline.point import FieldValue, Point
from pipeline.settings import CollectorOptions


class NoData(Exception):  # noqa: N818 - an outcome, not an error
    """The host has nothing for the collector to read; this is not logged."""


@dataclass(frozen=True, slots=True)
class Omission:
    """Something that a reading should have and lacks; it is logged, and counts as lost.

    Attributes:
        what: Its name, such as a path; the same each time.
        why: What is wrong with it.
        points: How many points or figures are missing for it.
    """

    what: str
    why: str
    points: int = 1


class Silence(Omission):
    """An omission since nobody answered in time; it counts as a failure of the collector."""

    __slots__ = ()


class Collector(ABC):
    """Reads one subject of a host.

    Args:
        host: The host. A constructor does no more than take a baseline.
        options: The user's options.

    Attributes:
        host: The host.
        name: The name in the settings, which is also the measurement.
        series_tag: The tag that tells its series apart, such as `interface`; None if it has one.
        default_include: Globs on that tag's value that are reported unless the user says otherwise.
        default_exclude: Globs on that tag's value that stay out unless the user says otherwise.
        default_enabled: Whether it runs unless the user says otherwise.
        repeats_points: Whether it gives the very same points again while they do not change.
    """

    name: str
    series_tag: str | None = None
    default_include: tuple[str, ...] = ("*",)
    default_exclude: tuple[str, ...] = ()
    default_enabled: bool = True
    repeats_points: bool = False

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        self.host = host

    @abstractmethod
    def collect(self) -> Iterable[Point | Omission]:
        """Read the host once; what may never answer is read by its `TimeoutRunner`.

        Returns:
            One point for each series, the most important first and always in the same order:
            `max_series` cuts off the end. An omission in place of a point that should be there, a
            silence in place of one that nobody told in time; what may come and go is just left out.
            So is a figure; one that should be there and cannot be told is NaN.

        Raises:
            NoData: The host has nothing of the kind.
            Exception: The reading failed as a whole.
        """


def gather(
    fields: dict[str, FieldValue], parts: Mapping[str, Callable[[], Mapping[str, FieldValue]]]
) -> Iterator[Omission]:
    """Read the parts of a point, each of which may fail and costs itself only.

    Args:
        fields: Gets the fields of each part.
        parts: What each part is, and a function that reads it; a TimeoutError of it is a silence.

    Yields:
        An omission in place of each part that failed.

    Raises:
        Exception: What the first of them raised, when nothing could be read.
    """
    failures: dict[str, Exception] = {}
    for what, read in parts.items():
        try:
            fields |= read()
        except Exception as error:  # noqa: BLE001 - none may cost the others
            failures[what] = error
    if failures and not fields:
        raise next(iter(failures.values()))
    for what, failure in failures.items():
        yield omission(what, failure)


def omission(what: str, failure: Exception, points: int = 1) -> Omission:
    """Return what to yield in place of what failed: a silence for a TimeoutError."""
    if isinstance(failure, TimeoutError):
        return Silence(what, str(failure), points)
    return Omission(what, reason(failure), points)


def is_default(options: CollectorOptions) -> bool:
    """Tell whether a user leaves it to the collector what to report."""
    return options.include == ("*",) and options.exclude is None


def selection(collector: Collector, options: CollectorOptions) -> Callable[[str], bool]:
    """Return a function that tells by the value of the series tag whether a series is wanted.

    A collector that chooses among its fields tells it of their names. The defaults hold only if the
    user says neither what to include nor what to exclude.
    """
    choice = getattr(collector, "default_include", ("*",))  # a package's may not inherit it
    own = not is_default(options)
    included = _globs(options.include if own else choice)
    excluded = _globs(options.exclude or () if own else collector.default_exclude)
    return lambda value: included(value) is not None and excluded(value) is None


def _globs(globs: Iterable[str]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(map(translate, globs)) or "(?!)").match


def reason(error: BaseException) -> str:
    """Return an exception's kind and message on one line; `TimeoutError` for all of that kind."""
    kind = TimeoutError if isinstance(error, TimeoutError) else type(error)
    return " ".join(f"{kind.__name__}: {error}".split()).removesuffix(":")
