"""Which series a user wants."""

import re
from collections.abc import Callable, Iterable
from fnmatch import translate

from pipeline.collectors.base import Collector, Options


def selection(collector: Collector, options: Options) -> Callable[[str], bool]:
    """Return what tells whether a series is wanted, by the value of its collector's series tag.

    Whoever names what to include has chosen: the default exclusions are for those who have not.
    """
    default = collector.default_exclude if options.include == ("*",) else ()
    included = _globs(options.include)
    excluded = _globs(default if options.exclude is None else options.exclude)
    return lambda value: included(value) is not None and excluded(value) is None


def _globs(globs: Iterable[str]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(map(translate, globs)) or "(?!)").match
