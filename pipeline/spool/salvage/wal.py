"""The committed pages of a SQLite write-ahead log, which may be damaged.

SQLite itself reads a log up to its first damaged frame, and ignores the rest.
https://sqlite.org/fileformat2.html#the_write_ahead_log
"""

import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.spool.access import opened

_HEADER, _FRAME = struct.Struct(">8I"), struct.Struct(">6I")
_MAGIC = 0x377F0682  # the lowest bit tells the byte order of the checksums
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Log:
    """The contents of a log.

    Attributes:
        page_size: The size of a page, in bytes.
        pages: Page number to the offset of its newest committed content.
        damaged: Whether SQLite would ignore commits that were on the disk.
    """

    page_size: int
    pages: Mapping[int, int]
    damaged: bool


EMPTY = Log(0, {}, damaged=False)


@dataclass(frozen=True, slots=True)
class _Frame:
    page: int
    offset: int
    commits: bool
    current: bool  # of this generation of the log, not of the one before
    sound: bool


def read_log(path: Path, page_size: int) -> Log:
    """Read a log; a missing one is empty, and one without a whole header has pages of this size."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        size = 0
    if size <= _HEADER.size:
        return Log(page_size, {}, damaged=False)
    with os.fdopen(opened(path, os.O_RDONLY), "rb") as file:
        head = file.read(_HEADER.size)
        fields = _HEADER.unpack(head)
        order = ">" if fields[0] & 1 else "<"
        whole = fields[0] & ~1 == _MAGIC and _checksum(head[:24], order, (0, 0)) == fields[6:]
        if whole:
            page_size = fields[2]
            frames = _frames(file.read, order, page_size, fields[4:6], fields[6:])
        else:
            generation = _generation(file, page_size)
            frames = _frames(file.read, "<", page_size, generation, None)
        pages, damaged = _committed(frames)
    return Log(page_size, pages, damaged or not whole)


def _generation(file: BinaryIO, page_size: int) -> tuple[int, ...]:
    """Return the salts of the current generation without a header; the file is at its frames.

    The oldest frame may be noise, too: so it is that of the first two in a row that agree.
    """
    found: list[tuple[int, ...]] = []
    while len(head := file.read(_FRAME.size)) == _FRAME.size:
        salts = _FRAME.unpack(head)[2:4]
        if found and found[-1] == salts:
            break
        found.append(salts)
        file.seek(page_size, os.SEEK_CUR)
    file.seek(_HEADER.size)
    return found[-1] if len(head) == _FRAME.size else next(iter(found), (0, 0))


def _frames(
    read: Callable[[int], bytes],
    order: str,
    page_size: int,
    salts: tuple[int, ...],
    before: tuple[int, ...] | None,
) -> Iterator[_Frame]:
    offset = _HEADER.size
    while len(head := read(_FRAME.size)) == _FRAME.size:
        offset += _FRAME.size
        data = read(page_size)
        if len(data) < page_size:
            return
        page, size, *found, sum_0, sum_1 = _FRAME.unpack(head)
        current = tuple(found) == salts
        # The checksum of a frame continues the one that is written in the frame before it.
        sound = current and (
            before is None or _checksum(head[:8] + data, order, before) == (sum_0, sum_1)
        )
        before = (sum_0, sum_1)
        yield _Frame(page, offset, size != 0, current, sound)
        offset += page_size


def _committed(frames: Iterator[_Frame]) -> tuple[dict[int, int], bool]:
    pages: dict[int, int] = {}
    waiting: dict[int, int] = {}
    broken = over = damaged = False
    for frame in frames:
        if frame.sound:
            # A sound frame after a broken transaction: that one was whole, as it was on the disk
            # before the next was written.
            damaged = damaged or over
            waiting[frame.page] = frame.offset
            if frame.commits:
                pages |= waiting
                waiting = {}
        else:
            broken = True
        over = over or (broken and frame.current and frame.commits)
    return pages, damaged


def _checksum(data: bytes, order: str, before: tuple[int, ...]) -> tuple[int, ...]:
    sum_0, sum_1 = before
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        sum_0 = (sum_0 + first + sum_1) & _MASK
        sum_1 = (sum_1 + second + sum_0) & _MASK
    return sum_0, sum_1
