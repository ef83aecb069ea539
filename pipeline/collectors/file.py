"""The user's own metrics, from files that their programs and scripts write."""

import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, NoData, Omission, selection
from pipeline.collectors.file_lines import parse
from pipeline.point import Point
from pipeline.settings import CollectorOptions

_SUFFIX = ".lp"
_MOST_BYTES = 2**20

# A FIFO that nobody writes to would not open otherwise, and a terminal would become the agent's.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


class File(Collector):
    """Writes what the files `*.lp` in a folder hold: lines of line protocol without a time.

    Each tick reads them all, and each line becomes a point of that tick. Hidden files are passed
    over, so that one can be written under such a name and renamed when it is whole. Without the
    option `directory` there is nothing to read. It may be on another machine, hence the
    `TimeoutRunner`.
    """

    name = "file"

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._folder = options.directory
        self._timeout_s = options.timeout_ms / 1000
        self._is_selected = selection(self, options)

    def collect(self) -> Iterator[Point | Omission]:
        """Yield the points in the order of the files' names, and each file that cannot be read.

        Raises:
            OSError: The folder cannot be read.
        """
        if self._folder is None:
            raise NoData
        key = (self.name, self._folder)
        calls = {key: partial(_read_folder, self._folder, self._is_selected)}
        answers = self.host.runner.run(calls, self._timeout_s)
        if key not in answers:
            raise TimeoutError(f"{self.host.runner.silence(self._timeout_s)} from {self._folder}")
        answer = answers[key]
        if isinstance(answer, Exception):
            raise answer
        yield from answer


def _read_folder(folder: Path, is_wanted: Callable[[str], bool]) -> list[Point | Omission]:
    read: list[Point | Omission] = []
    left = _MOST_BYTES
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix != _SUFFIX or not is_wanted(path.name):
            continue
        try:
            content = _read_file(path, left)
            left -= len(content)
            read.extend(list(parse(content.decode())))  # all of a file or nothing
        except FileNotFoundError:  # it has gone since it was listed
            continue
        except OSError as error:
            read.append(Omission(repr(path.name), str(error.strerror)))
        except UnicodeDecodeError:
            read.append(Omission(repr(path.name), "it is not UTF-8 text"))
        except ValueError as error:
            read.append(Omission(repr(path.name), str(error)))
    return read


def _read_file(path: Path, most: int) -> bytes:
    descriptor = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file")
        content = b""
        while len(content) <= most and (more := os.read(descriptor, most + 1 - len(content))):
            content += more
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise ValueError("it is too large: all files together may have 1 MiB")
    return content
