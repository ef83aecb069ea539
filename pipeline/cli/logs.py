"""Logs: one line for each event, as text or JSON, on standard error."""

import json
import logging
import os
import time
from collections.abc import Mapping
from typing import TextIO

from pipeline.cli.streams import visible

# sd-daemon(3): the journal reads a priority in front of a line.
_PRIORITY = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


class _Text(logging.Formatter):
    """A line for people; under systemd the journal adds time and priority itself."""

    converter = staticmethod(time.gmtime)

    def __init__(self, *, journal: bool) -> None:
        moment = "" if journal else "%(asctime)s.%(msecs)03dZ %(levelname)-7s "
        super().__init__(f"{moment}%(message)s", "%Y-%m-%dT%H:%M:%S")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        line = _one_line(super().format(record))
        return f"<{_PRIORITY.get(record.levelname, 6)}>{line}" if self._journal else line


class _Json(logging.Formatter):
    """A line for programs."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        moment = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        entry = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _one_line(super().format(record)),
        }
        return json.dumps(entry, ensure_ascii=False)


def configure(level: str, log_format: str, stream: TextIO, environ: Mapping[str, str]) -> None:
    """Send the program's logs to a stream; `environ` tells whether the journal reads it."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        _Json() if log_format == "json" else _Text(journal=_is_journal(stream, environ))
    )
    # Warnings of libraries, such as of a certificate that is not checked, are logged too.
    logging.captureWarnings(capture=True)
    for name in ("pipeline", "py.warnings"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())


def error_mark(stream: TextIO, environ: Mapping[str, str]) -> str:
    """Return the priority that the journal expects in front of an error outside the log."""
    return f"<{_PRIORITY['ERROR']}>" if _is_journal(stream, environ) else ""


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    # systemd.exec(5): JOURNAL_STREAM names the device and inode that it connected to the journal.
    try:
        status = os.fstat(stream.fileno())
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _one_line(text: str) -> str:
    return visible(text.replace("\n", " | "))
