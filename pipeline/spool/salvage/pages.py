"""The rows of a SQLite file, read page by page: a damaged page costs only its own rows.

SQLite finds a page through the pages above it, and so cannot find those below a damaged one. But
each leaf describes itself: https://sqlite.org/fileformat2.html#b_tree_pages
"""

import os
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline.spool.access import opened
from pipeline.spool.salvage.wal import EMPTY, read_log

MAGIC = b"SQLite format 3\0"
Value = int | float | str | bytes | None
_USUAL_PAGE = 4096
_SIZES = {2**power for power in range(9, 17)}
# Kinds of pages that hold whole rows; those of tables without rowid lie in index pages.
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR = 13, 10, 2
_LONGEST = 2**26  # bytes: more than any reading has
_FREE, _KINDS = 2, range(6)
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_BLOB = 12  # the kind of an empty one; the kinds of texts are odd
_TICK_COLUMNS = 4
# Errors of a damaged row, such as an offset beyond its page, or a text that is not Unicode.
_NO_ROW = (IndexError, ValueError, struct.error)


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its rowid, where its table has them, and its values."""

    rowid: int | None
    values: tuple[Value, ...]


class Pages:
    """The pages of a database and its write-ahead log, which are only read.

    A missing file has no pages.

    Args:
        path: The database.
        with_log: Whether to read the log, which takes as long as it is large.
    """

    def __init__(self, path: Path, *, with_log: bool = True) -> None:
        self._files = [_opened(path), _opened(path.with_name(f"{path.name}-wal"))]
        head = self._read(0, 0, 100)
        size = int.from_bytes(head[16:18], "big")
        size = 65_536 if size == 1 else size
        usual = size if head[:16] == MAGIC and size in _SIZES else _USUAL_PAGE
        log = read_log(path.with_name(f"{path.name}-wal"), usual) if with_log else EMPTY
        self._logged = log.pages
        self._size = log.page_size if log.page_size in _SIZES else usual
        main = 0 if self._files[0] is None else os.fstat(self._files[0]).st_size
        self._count = -(-main // self._size)
        self._beyond = sorted(number for number in self._logged if number > self._count)
        self._kinds: tuple[int, bytes] = (0, b"")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        for file in self._files:
            if file is not None:
                os.close(file)

    @property
    def user_version(self) -> int:
        """The number that the program gave its format; 0 where the header is damaged."""
        head = self._page(1)[:100]
        return int.from_bytes(head[60:64], "big") if head[:16] == MAGIC else 0

    def share(self, page: int) -> int:
        """Return how many percent of the pages are those up to one."""
        done = min(page, self._count) + bisect_right(self._beyond, page)
        return 100 * done // max(1, self._count + len(self._beyond))

    def following(self, after: int, most: int) -> list[int]:
        """Return the numbers of the next pages after one, in order, `most` at most."""
        numbers = list(range(after + 1, min(after + most, self._count) + 1))
        beyond = bisect_right(self._beyond, after)
        return numbers + self._beyond[beyond : beyond + most - len(numbers)]

    def rows(self, numbers: Iterable[int], *, readings: bool) -> Iterator[Row]:
        """Yield rows of the leaves in use among some pages, in their order.

        Args:
            numbers: The pages.
            readings: The rows wanted: those that hold lines, or all others.
        """
        for number in numbers:
            page = self._page(number)
            start = 100 if number == 1 else 0
            kind = page[start]
            if kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR) or self._is_free(number):
                continue
            cells = start + (12 if kind == _INDEX_INTERIOR else 8)
            count = int.from_bytes(page[start + 3 : start + 5], "big")
            for offset in range(cells, min(cells + 2 * count, self._size - 1), 2):
                at = int.from_bytes(page[offset : offset + 2], "big")
                try:
                    row = self._row(page, kind, at, readings=readings)
                except _NO_ROW:
                    continue
                if row is not None:
                    yield row

    def _row(self, page: bytes, kind: int, at: int, *, readings: bool) -> Row | None:
        if kind == _INDEX_INTERIOR:
            at += 4  # its left child
        length, at = _varint(page, at)
        if not 0 <= length <= _LONGEST:
            raise ValueError("a length that no record has")
        rowid = None
        if kind == _TABLE_LEAF:
            rowid, at = _varint(page, at)
        local = self._local(length, kind)
        record = page[at : at + local]
        kinds, end = _header(record)
        # Readings are most of a store: they are not read where they are not wanted.
        if _is_reading(kinds) != readings:
            return None
        if local < length:
            (following,) = struct.unpack_from(">I", page, at + local)
            record += self._overflow(following, length - local)
        return Row(rowid, tuple(_values(record, kinds, end)))

    def _local(self, length: int, kind: int) -> int:
        """Return how much of a record lies in its leaf; the rest is in overflow pages."""
        least = (self._size - 12) * 32 // 255 - 23
        most = self._size - 35 if kind == _TABLE_LEAF else (self._size - 12) * 64 // 255 - 23
        if length <= most:
            return length
        wanted = least + (length - least) % (self._size - 4)
        return wanted if wanted <= most else least

    def _overflow(self, number: int, length: int) -> bytes:
        parts = []
        while length > 0:
            if not 1 < number <= self._count and number not in self._logged:
                raise ValueError("a chain of pages that ends early")
            page = self._page(number)
            number = int.from_bytes(page[:4], "big")
            parts.append(page[4 : 4 + length])
            length -= len(parts[-1])
        return b"".join(parts)

    def _is_free(self, number: int) -> bool:
        """Return whether the pointer map says that a page is unused, whatever rows it has."""
        mapped = self._size // 5
        first = 2 + (number - 2) // (mapped + 1) * (mapped + 1)
        if number <= first:
            return False
        if self._kinds[0] != first:
            kinds = self._page(first)[: 5 * mapped : 5]
            self._kinds = (first, kinds if all(kind in _KINDS for kind in kinds) else b"")
        kinds = self._kinds[1]
        return bool(kinds) and kinds[number - first - 1] == _FREE

    def _page(self, number: int) -> bytes:
        offset = self._logged.get(number)
        if offset is None:
            return self._read(0, (number - 1) * self._size, self._size)
        return self._read(1, offset, self._size)

    def _read(self, which: int, offset: int, size: int) -> bytes:
        file = self._files[which]
        try:
            data = b"" if file is None else os.pread(file, size, offset)
        except OSError:  # a sector that the disk cannot read
            data = b""
        return data.ljust(size, b"\0")


def _opened(path: Path) -> int | None:
    try:
        return opened(path, os.O_RDONLY)
    except FileNotFoundError:
        return None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(9):
        byte = data[at + n]
        if n == 8:  # the ninth byte has no mark
            value = value << 8 | byte
            return value - 2**64 if value >= 2**63 else value, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + n + 1
    raise AssertionError("a varint has at most nine bytes")


def _header(record: bytes) -> tuple[list[int], int]:
    """Return the kinds of a record's values, and where these begin."""
    end, at = _varint(record, 0)
    kinds = []
    while at < end:
        kind, at = _varint(record, at)
        kinds.append(kind)
    return kinds, end


def _is_reading(kinds: list[int]) -> bool:
    """Return whether values may be of the table `tick`, whose last one is a BLOB."""
    return len(kinds) == _TICK_COLUMNS and kinds[-1] >= _BLOB and kinds[-1] % 2 == 0


def _values(record: bytes, kinds: Iterable[int], at: int) -> Iterator[Value]:
    for kind in kinds:
        value, size = _value(record, kind, at)
        at += size
        yield value
    if at > len(record):
        raise ValueError("a record that ends early")


def _value(record: bytes, kind: int, at: int) -> tuple[Value, int]:
    if kind == 0:
        return None, 0
    if kind in _INTEGERS:
        size = _INTEGERS[kind]
        return int.from_bytes(record[at : at + size], "big", signed=True), size
    if kind == 7:
        return struct.unpack_from(">d", record, at)[0], 8
    if kind in (8, 9):
        return kind - 8, 0
    if kind < _BLOB:
        raise ValueError("a kind that no value has")
    size = (kind - _BLOB) // 2
    data = record[at : at + size]
    return (data.decode() if kind % 2 else data), size
