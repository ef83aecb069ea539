"""The user's own metrics, from files that their programs and scripts write."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, NoData, Omission, selection
from pipeline.collectors.file_lines import content_lines, parse
from pipeline.point import Point
from pipeline.settings import CollectorOptions

_SUFFIX = ".lp"
_MOST_BYTES = 2**20

# A FIFO that nobody writes to would not open otherwise, and a terminal would become the agent's.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


# A file that was changed less than this before it was read may be changed once more at what the
# file system takes for the same moment: FAT's last 2 s.
_SETTLED_NS = 2_000_000_000

_State = tuple[int, ...]
"""What differs if a file is another one, or was changed."""


@dataclass(frozen=True, slots=True)
class _Content:
    """What a file holds, as far as there were places for its lines.

    Attributes:
        state: That of the file when it was read; None if it may have changed since.
        size: Its size, in bytes.
        places: For how many lines there were places.
        points: These lines; none, if there is something wrong in it.
        surplus: How many lines are beyond.
        wrong: What is wrong in it; "" if nothing is.
    """

    state: _State | None
    size: int
    places: int
    points: Sequence[Point] = ()
    surplus: int = 0
    wrong: str = ""

    def holds(self, state: _State, places: int) -> bool:
        """Tell whether it is what would be read again."""
        is_whole = not self.surplus and not self.wrong and len(self.points) <= places
        return state == self.state and (is_whole or places == self.places)


class File(Collector):
    """Writes what the files `*.lp` in a folder hold: lines of line protocol without a time.

    Each line becomes a point of each tick; a file is read again when it has changed, and what is
    beyond `max_series` is not parsed at all. Hidden files are passed over, so that one can be
    written under such a name and renamed when it is whole. Without the option `directory` there is
    nothing to read. It may be on another machine, hence the `TimeoutRunner`.
    """

    name = "file"
    repeats_points = True

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._folder = options.directory
        self._timeout_s = options.timeout_ms / 1000
        self._is_selected = selection(self, options)
        self._max_series = options.max_series
        self._known: dict[str, _Content] = {}

    def collect(self) -> Iterator[Point | Omission]:
        """Yield the points in the order of the files' names, and each file that cannot be read.

        Raises:
            OSError: The folder cannot be read.
        """
        if self._folder is None:
            raise NoData
        key, folder = (self.name, self._folder), str(self._folder)
        yield from self.host.runner.call(key, self._read_folder, self._timeout_s, whom=folder)

    def _read_folder(self) -> list[Point | Omission]:
        read: list[Point | Omission] = []
        left, places = _MOST_BYTES, self._max_series
        known, self._known = self._known, {}
        for path in sorted(self._folder.iterdir() if self._folder else ()):
            name = path.name
            if name.startswith(".") or path.suffix != _SUFFIX or not self._is_selected(name):
                continue
            try:
                content = self._look(path, known.get(name), left, places)
            except FileNotFoundError:  # it has gone since it was listed
                continue
            except OSError as error:
                read.append(Omission(repr(name), str(error.strerror)))
                continue
            self._known[name] = content
            left -= content.size
            places -= len(content.points)
            read.extend(content.points)
            if content.wrong:
                read.append(Omission(repr(name), content.wrong))
            if content.surplus:
                why = f"it has {content.surplus} lines beyond max_series"
                read.append(Omission(repr(name), why, content.surplus))
        return read

    def _look(self, path: Path, known: _Content | None, left: int, places: int) -> _Content:
        """Return what a file holds; what was known of it, if it has not changed.

        Raises:
            OSError: It cannot be read.
        """
        descriptor = os.open(path, _FLAGS)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return _Content(None, 0, places, wrong="it is no regular file")
            # A copy may be given the times of the file that it replaces, but not this last one.
            times = found.st_mtime_ns, found.st_ctime_ns
            state = (found.st_dev, found.st_ino, found.st_size, *times)
            if known and known.size <= left and known.holds(state, places):
                return known
            text = _read(descriptor, left + 1)
        finally:
            os.close(descriptor)
        if len(text) > left:
            why = "it is too large: all files together may have 1 MiB"
            return _Content(None, 0, places, wrong=why)
        is_settled = self.host.clock.now_ns() - found.st_mtime_ns > _SETTLED_NS
        return _parse(text, state if is_settled else None, places)


def _read(descriptor: int, most: int) -> bytes:
    content = b""
    while len(content) < most and (more := os.read(descriptor, most - len(content))):
        content += more
    return content


def _parse(text: bytes, state: _State | None, places: int) -> _Content:
    try:
        lines = content_lines(text.decode())
        points = list(parse(islice(lines, places)))  # all of a file or nothing
    except UnicodeDecodeError:
        return _Content(state, len(text), places, wrong="it is not UTF-8 text")
    except ValueError as error:
        return _Content(state, len(text), places, wrong=str(error))
    return _Content(state, len(text), places, points, sum(1 for _ in lines))
