"""What a folder looks like after the power was lost, at any moment of what a process did to it.

A program runs with recorder.c preloaded, which writes down its changes in order; `Disk` follows
them, and tells what is left when the page cache is lost.
"""

import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("recorder.c")
_HEAD = struct.Struct("=5Q")


@dataclass(frozen=True, slots=True)
class Event:
    """A change: what kind, which file, where, under which name, with which data."""

    kind: str
    file: int
    offset: int
    name: str
    data: bytes


def recorded(program: str, folder: Path, scratch: Path) -> list[Event]:
    """Run a program, whose first argument is the folder, and return what it did there."""
    library, log = scratch / "recorder.so", scratch / "record"
    options = ("-shared", "-fPIC", "-O1", "-o")
    subprocess.run(["cc", *options, library, _SOURCE, "-ldl", "-lpthread"], check=True)
    subprocess.run(
        [sys.executable, "-c", program, folder],
        check=True,
        timeout=60,
        env={
            **os.environ,
            "LD_PRELOAD": str(library),
            "RECORD_FOLDER": str(folder),
            "RECORD_LOG": str(log),
        },
    )
    return list(_events(log.read_bytes()))


def _events(data: bytes) -> Iterator[Event]:
    at = 0
    while at < len(data):
        kind, file, offset, named, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        name = Path(data[at : at + named].decode()).name
        at += named
        yield Event(chr(kind), file, offset, name, data[at : at + size])
        at += size


class Disk:
    """A folder: what programs see of it, and what of that is on the disk.

    Args:
        folder: What it looks like at first; all of it is on the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._names = {path.name: path.stat().st_ino for path in folder.iterdir()}
        self._seen = {path.stat().st_ino: bytearray(path.read_bytes()) for path in folder.iterdir()}
        self._synced_names = dict(self._names)
        self._synced = {file: bytes(data) for file, data in self._seen.items()}
        self._unsynced: dict[int, list[Event]] = {}

    def follow(self, event: Event) -> None:
        """Make a change."""
        if event.kind in "wt":
            _change(self._seen.setdefault(event.file, bytearray()), event)
            self._unsynced.setdefault(event.file, []).append(event)
        elif event.kind == "c":
            self._names[event.name] = event.file
            self._seen[event.file] = bytearray()
            self._synced[event.file] = b""
            self._unsynced[event.file] = []
        elif event.kind == "r":
            self._names[Path(event.data.decode()).name] = self._names.pop(event.name)
        elif event.kind == "u":
            del self._names[event.name]
        elif event.kind == "s":
            self._synced[event.file] = bytes(self._seen[event.file])
            self._unsynced[event.file] = []
        elif event.kind == "d":
            self._synced_names = dict(self._names)

    def seen(self, folder: Path) -> Path:
        """Make what a process that was killed leaves behind."""
        return _made(folder, self._names, lambda file: bytes(self._seen[file]))

    def synced(self, folder: Path) -> Path:
        """Make what is left when all that was not synced is lost, names too."""
        return _made(folder, self._synced_names, lambda file: self._synced.get(file, b""))

    def named(self, folder: Path) -> Path:
        """Make what is left when all data is lost that was not synced, and the names are not."""
        return _made(folder, self._names, lambda file: self._synced.get(file, b""))

    def torn(self, folder: Path, chance: random.Random) -> Path:
        """Make what is left when some of what was not synced is lost, in whatever order."""

        def some(file: int) -> bytes:
            data = bytearray(self._synced.get(file, b""))
            for event in self._unsynced.get(file, ()):
                if chance.random() < 0.5:
                    _change(data, event)
            return bytes(data)

        return _made(folder, self._names, some)


def _change(data: bytearray, event: Event) -> None:
    size = event.offset + len(event.data)
    data.extend(bytes(max(0, size - len(data))))
    if event.kind == "t":
        del data[event.offset :]
    else:
        data[event.offset : size] = event.data


def _made(folder: Path, names: dict[str, int], content: Callable[[int], bytes]) -> Path:
    folder.mkdir()
    for name, file in names.items():
        if not name.endswith("-shm"):  # which is memory, and never synced
            (folder / name).write_bytes(content(file))
    return folder
