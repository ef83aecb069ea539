"""The lines of a tick as they lie on disk and go to the server: a gzip member.

Members joined are a gzip stream, so that delivery posts what was stored as it is.
"""

import gzip
import zlib
from collections.abc import Iterable

DAMAGES = (OSError, EOFError, ValueError, zlib.error)
"""What `unpack` raises of a block that is damaged."""
_GZIP = 31  # for zlib: a gzip member, its check included
# A reading is smaller than 4 KiB: to make ready more memory than that took as long as to compress.
_LEVEL, _PACKED_BY, _MEMORY = 6, 16 + 12, 6


def pack(lines: Iterable[str]) -> bytes:
    """Compress lines, each with its break, to one member."""
    packing = zlib.compressobj(_LEVEL, zlib.DEFLATED, _PACKED_BY, _MEMORY)
    text = "".join([f"{line}\n" for line in lines]).encode()
    return packing.compress(text) + packing.flush()


def unpack(block: bytes) -> str:
    """Return the lines of one member or of several joined, each with its break.

    Raises:
        OSError, EOFError, ValueError, zlib.error: The block is damaged.
    """
    return gzip.decompress(block).decode()


def is_whole(member: bytes) -> bool:
    """Return whether one member is as it was made; its checksum tells."""
    reading = zlib.decompressobj(_GZIP)
    try:
        reading.decompress(member)
    except zlib.error:
        return False
    return reading.eof and not reading.unused_data
