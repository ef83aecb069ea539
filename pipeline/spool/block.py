"""The lines of readings, compressed to a gzip member: as they lie on disk and go to the server."""

import zlib
from collections.abc import Iterable

DAMAGES = (zlib.error, UnicodeDecodeError, TypeError)
"""What `unpack` raises of a block that is damaged; of NULL, which noise can make, TypeError."""
_GZIP = 31  # for zlib: a gzip member, its checksum included


def joined(lines: Iterable[str]) -> str:
    """Return lines as a text, each with its break."""
    return "".join([f"{line}\n" for line in lines])


def pack(text: str) -> bytes:
    """Compress a text."""
    return zlib.compress(text.encode(), wbits=_GZIP)


def unpack(block: bytes) -> str:
    """Return the text of a block.

    Raises:
        zlib.error, UnicodeDecodeError, TypeError: The block is damaged.
    """
    return zlib.decompress(block, _GZIP).decode()
