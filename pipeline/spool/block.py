"""The lines of a tick as they lie on disk and go to the server: a gzip member.

Members joined are a gzip stream, so that delivery posts what was stored as it is.
"""

import gzip
from collections.abc import Iterable


def pack(lines: Iterable[str]) -> bytes:
    """Compress lines, each with its break, to one member."""
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), 6, mtime=0)


def unpack(block: bytes) -> str:
    """Return the lines of one member or of several joined, each with its break.

    Raises:
        OSError, EOFError, ValueError, zlib.error: The block is damaged.
    """
    return gzip.decompress(block).decode()
