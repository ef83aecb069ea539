"""Files of the kernel's: read with the fewest system calls, some 100 of them a tick."""

import os

_CHUNK = 16_384
# A quarter of what a process may have open by default.
_KEPT = 256


class KernelFiles:
    """Reads files, and keeps those of the kernel open: to open one costs more than to read it.

    The file of a process that has ended, or of a device that is gone, says so when it is read, and
    is opened anew: its path may have another owner by then. A file on a disk is not kept, since
    another one may take its place.

    Args:
        folders: Where the kernel's files are, such as /proc and /sys.
        most: How many are kept open.
    """

    def __init__(self, folders: tuple[str, ...] = ("/proc", "/sys"), most: int = _KEPT) -> None:
        self._folders = tuple(f"{folder}/" for folder in folders)
        self._most = most
        self._kept: dict[str, int] = {}
        self._read_since: set[str] = set()
        self._refused = 0

    def __del__(self) -> None:
        """Close all."""
        for descriptor in self._kept.values():
            os.close(descriptor)

    def read(self, path: str) -> bytes:
        """Return what a file holds.

        Raises:
            OSError: It cannot be read.
        """
        kept = self._kept.get(path)
        if kept is not None:
            self._read_since.add(path)
            try:
                return _content(kept)
            except OSError:
                os.close(self._kept.pop(path))
                self._read_since.discard(path)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            content = _content(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if path.startswith(self._folders) and self._has_room():
            self._kept[path] = descriptor
            self._read_since.add(path)
        else:
            os.close(descriptor)
        return content

    def _has_room(self) -> bool:
        """Tell whether one more may be kept, when those have gone that nobody reads any more."""
        if len(self._kept) < self._most:
            return True
        self._refused += 1
        if self._refused < 2 * self._most:  # to look costs more than to open a file
            return False
        for path in self._kept.keys() - self._read_since:
            os.close(self._kept.pop(path))
        self._read_since.clear()
        self._refused = 0
        return len(self._kept) < self._most


def _content(descriptor: int) -> bytes:
    content = os.pread(descriptor, _CHUNK, 0)
    # One line is all there is, as of a process: the kernel would write it anew to say so.
    if content.find(b"\n") == len(content) - 1 and len(content) < _CHUNK:
        return content
    while more := os.pread(descriptor, _CHUNK, len(content)):
        content += more
    return content
