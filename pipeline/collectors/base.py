"""What a collector is: what it is given, and what it gives."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import translate

from pipeline.collectors._host.host import Host
from pipeline.point import Point
from pipeline.settings import CollectorOptions


class NoData(Exception):  # noqa: N818 - an outcome, not an error
    """This host has nothing for the collector to read; a quiet outcome, which nobody logs."""


@dataclass(frozen=True, slots=True)
class Omission:
    """Something that a reading should have and has not; it counts as lost, and the log says so.

    Attributes:
        what: Its name, the same each time: a path, for example.
        why: What is wrong with it.
    """

    what: str
    why: str


class Collector(ABC):
    """Reads one subject of a host.

    Args:
        host: What is read. A constructor does no more than take a baseline.
        options: What the user chose.

    Attributes:
        host: What is read.
        name: The name in the settings, which is also the measurement.
        series_tag: The tag that tells its series apart, such as `interface`; None if it has one.
        default_exclude: Globs on that tag's value that stay out unless the user says otherwise.
        default_enabled: Whether it runs unless the user says otherwise.
    """

    name: str
    series_tag: str | None = None
    default_exclude: tuple[str, ...] = ()
    default_enabled: bool = True

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        self.host = host

    @abstractmethod
    def collect(self) -> Iterable[Point | Omission]:
        """Read the host once, without waiting for what may never answer: see `TimeoutRunner`.

        Returns:
            One point per series, what matters most first, in an order that stays the same from
            tick to tick: `max_series` cuts off the end. An omission in place of what fails alone
            and should not; what may come and go is just left out.

        Raises:
            NoData: The host has nothing of the kind.
            Exception: The reading failed as a whole.
        """


def selection(collector: Collector, options: CollectorOptions) -> Callable[[str], bool]:
    """Return what tells whether a series is wanted, by the value of its collector's series tag.

    Whoever names what to include has chosen: the default exclusions are for those who have not.
    """
    default = collector.default_exclude if options.include == ("*",) else ()
    included = _globs(options.include)
    excluded = _globs(default if options.exclude is None else options.exclude)
    return lambda value: included(value) is not None and excluded(value) is None


def _globs(globs: Iterable[str]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(map(translate, globs)) or "(?!)").match


def printable(name: str) -> str:
    r"""Return a name that the kernel gave, with what is not UTF-8 in it written as `\xff`.

    Such bytes come as lone surrogates, as Python reads the names of files.
    """
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def percent(part: float, whole: float) -> float:
    """Return the part's share of the whole in percent; 0.0 when the whole is nothing."""
    return 100.0 * (part / whole) if whole else 0.0


def reason(error: BaseException) -> str:
    """Return an exception's kind and message on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
