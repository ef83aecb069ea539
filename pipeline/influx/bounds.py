"""Bounds on a request: its time as a whole, and the size of its answer.

A socket's timeout holds for each read alone: a server that sends a byte a second never meets it,
and an answer may be as large as the sender likes.
"""

import io
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MOST_BYTES = 8 * 2**20


class Bounds:
    """What is left of the time and the bytes of the request that is under way.

    Args:
        monotonic: Tells the seconds.
        seconds: What a request may take, from its beginning to the last byte of the answer.
    """

    def __init__(self, monotonic: Callable[[], float], seconds: float) -> None:
        self._monotonic = monotonic
        self._seconds = seconds
        self.begin()

    def begin(self) -> None:
        """Begin with a request."""
        self._deadline = self._monotonic() + self._seconds
        self._bytes = MOST_BYTES

    def remaining_s(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: None are.
        """
        left = self._deadline - self._monotonic()
        if left <= 0:
            raise TimeoutError(f"no whole answer within {self._seconds:g} s")
        return left

    @property
    def received_bytes(self) -> int:
        """How many bytes of an answer came since the request began."""
        return MOST_BYTES - self._bytes

    def received(self, number: int) -> None:
        """Count bytes of the answer.

        Raises:
            OSError: They are too many.
        """
        self._bytes -= number
        if self._bytes < 0:
            raise OSError(f"an answer of more than {MOST_BYTES} bytes")


class Received(io.RawIOBase):
    """What a socket receives, within bounds.

    Args:
        sock: The socket.
        bounds: Those of each answer.
    """

    def __init__(self, sock: socket.socket, bounds: Bounds) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._bounds = bounds

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        """Receive into a buffer; return how many bytes, 0 at the end.

        Raises:
            OSError: Nothing came in time, or too much.
        """
        self._sock.settimeout(self._bounds.remaining_s())
        number = self._raw.readinto(buffer)
        self._bounds.received(number or 0)
        return number

    def close(self) -> None:
        """Give the socket back, which its owner closes."""
        self._raw.close()
        super().close()
