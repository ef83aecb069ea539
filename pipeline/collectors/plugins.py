"""Collectors of other packages, which name them in an entry point group."""

import logging
from collections.abc import Collection, Iterator
from importlib.metadata import EntryPoint, entry_points

from pipeline.collectors.base import Collector, reason

_log = logging.getLogger(__name__)

GROUP = "metrics_pipeline.collectors"
"""The group; the name of an entry point in it is the name of its collector."""


def names() -> list[str]:
    """Return the names of the collectors that other packages have, without importing any."""
    return [entry.name for entry in _entry_points()]


def load(built_in: Collection[str], unwanted: Collection[str]) -> Iterator[type[Collector]]:
    """Import the wanted collectors of other packages; one that fails is a warning."""
    taken = set(built_in)
    for entry in _entry_points():
        if entry.name in unwanted:
            continue
        try:
            if entry.name in taken:
                raise ValueError("its name is another collector's")
            taken.add(entry.name)
            collector: type[Collector] = entry.load()
            if collector.name != entry.name:
                raise ValueError(f"its name is {collector.name!r}")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it may do anything
            warn(entry.name, error)
        else:
            yield collector


def warn(name: str, error: BaseException) -> None:
    """Log that a collector cannot be used."""
    detail = error if _log.isEnabledFor(logging.DEBUG) else None
    _log.warning("Collector %s cannot be used: %s", name, reason(error), exc_info=detail)


def _entry_points() -> list[EntryPoint]:
    try:
        return list(entry_points(group=GROUP))
    except ValueError as error:  # what some package has there is no text
        _log.warning("Collectors of other packages cannot be found: %s", reason(error))
        return []
