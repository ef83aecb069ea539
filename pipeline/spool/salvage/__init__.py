"""Salvage: the rows of a damaged store that can be read go into a new one; the rest is counted."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from pipeline.spool import files
from pipeline.spool.access import opened
from pipeline.spool.salvage.pages import MAGIC, Pages
from pipeline.spool.salvage.progress import SHIFT, Progress, carry_over, resume, unfinished
from pipeline.spool.salvage.steps import conclude, first_step, steps
from pipeline.spool.salvage.wal import read_log
from pipeline.spool.schema import refuse_other_version

_log = logging.getLogger(__name__)

__all__ = [
    "SHIFT",
    "carry_over",
    "conclude",
    "damage",
    "resume",
    "set_aside",
    "steps",
    "unfinished",
]

# Python reads so much in about two seconds. Only while somebody reads a store without end does its
# log become longer than a few MiB.
_LONGEST_LOG = 2**26


def damage(path: Path) -> str | None:
    """Look for damage in the files of a store without SQLite, which could make it worse.

    Returns:
        What is wrong; None if nothing is, or there is no store.

    Raises:
        SpoolError: The store is damaged, and another version made it.
        OSError: It cannot be read.
    """
    why = _look(path)
    if why is not None:
        with Pages(path, with_log=not _is_long(path)) as pages:
            refuse_other_version(pages.user_version, path)
    return why


def _look(path: Path) -> str | None:
    try:
        with os.fdopen(opened(path, os.O_RDONLY), "rb") as file:
            head = file.read(len(MAGIC))
    except FileNotFoundError:
        return "it is missing, but not its write-ahead log" if files.has_log(path) else None
    if not head:
        return "it is empty"
    if head != MAGIC:
        return "file is not a database"  # in the words of SQLite
    if _is_long(path):
        return "its write-ahead log is too long to be checked at once"
    return (
        "its write-ahead log is damaged"
        if read_log(files.sibling(path, "-wal"), 0).damaged
        else None
    )


def _is_long(path: Path) -> bool:
    log = files.sibling(path, "-wal")
    return log.exists() and log.stat().st_size > _LONGEST_LOG


def set_aside(path: Path, why: str, now_ns: int) -> None:
    """Replace a damaged store, which nobody may have open to write, by a new one.

    What is at the beginning of the damaged one is in the new one at once; `steps` copies the rest.
    However often this is interrupted, nothing is lost: see `files`.

    Raises:
        SpoolError: Another version made the store.
        OSError, sqlite3.Error: There is no room, or no right to write.
    """
    moment = datetime.fromtimestamp(now_ns // 10**9, UTC)
    progress = Progress(files.stamp(path, now_ns), why, f"{moment:%Y-%m-%dT%H:%M:%SZ}")
    is_long = _is_long(path)
    with Pages(path, with_log=not is_long) as pages, files.building(path) as db:
        refuse_other_version(pages.user_version, path)
        first_step(db, None if is_long else pages, progress, path)
    files.replace(path, progress.stamp)
    _log.warning("%s is damaged (%s): what can be read goes into a new store", path, why)
