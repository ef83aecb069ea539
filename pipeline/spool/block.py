"""The lines of readings, compressed: as they lie on disk and as they go to the server.

Two readings in a row say nearly the same, so one needs little space where the other is its
dictionary: `python -m benchmarks.readings` tells how little. A block tells by its first bytes
whether it has one: if not it is a gzip member, which is what a server takes, otherwise a zlib
stream (RFC 1950) with the dictionary's checksum.
"""

import zlib
from collections.abc import Iterable

DAMAGES = (ValueError, zlib.error)
"""What `unpack` raises of a block that is damaged."""
WINDOW = 2**15
"""How far back DEFLATE can look, in bytes: of a longer dictionary there is no use."""
_GZIP, _ANY = 16, 32  # for zlib, beside the size of the window
# Beyond this level it takes twice as long for a tenth less. And to make ready more memory than is
# needed took as long as to compress.
_LEVEL, _MEMORY, _LEAST_BITS, _MOST_BITS = 3, 6, 9, 15


def joined(lines: Iterable[str]) -> bytes:
    """Return lines as a text, each with its break."""
    return "".join([f"{line}\n" for line in lines]).encode()


def pack(text: bytes, dictionary: bytes = b"") -> bytes:
    """Compress a text; `unpack` needs the same dictionary."""
    bits = (len(text) + len(dictionary)).bit_length()
    bits = min(max(bits, _LEAST_BITS), _MOST_BITS)
    if dictionary:
        packing = zlib.compressobj(
            _LEVEL, zlib.DEFLATED, bits, _MEMORY, zlib.Z_DEFAULT_STRATEGY, dictionary
        )
    else:
        packing = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP + bits, _MEMORY)
    return packing.compress(text) + packing.flush()


class Packing:
    """A gzip member of texts that come one by one, none of which it keeps."""

    def __init__(self) -> None:
        self._packing = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP + _MOST_BITS, _MEMORY)
        self._parts: list[bytes] = []

    def add(self, text: bytes) -> None:
        """Put another text behind the others."""
        self._parts.append(self._packing.compress(text))

    def packed(self) -> bytes:
        """Return all of them, packed; it is the end."""
        return b"".join([*self._parts, self._packing.flush()])


def unpack(block: bytes, dictionary: bytes = b"") -> bytes:
    """Return the text of a block.

    Args:
        block: What `pack` returned.
        dictionary: The one that it was packed with, if it was; otherwise it does not matter.

    Raises:
        ValueError, zlib.error: The block is damaged, or its dictionary is another one.
    """
    unpacking = zlib.decompressobj(_ANY + _MOST_BITS, dictionary)
    text = unpacking.decompress(block)
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("a block that is cut off, or has something behind it")
    return text
