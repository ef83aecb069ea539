"""The standard streams of a command: closed, of any encoding, or a terminal that obeys."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer

# What a terminal obeys or does not show: C0 and C1, breaks of lines, changes of direction, and
# halves of surrogate pairs.
_HIDDEN = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_HIDDEN_RE = re.compile(f"[{_HIDDEN}]")
_HIDDEN_IN_LINES_RE = re.compile(f"(?![\t\n])[{_HIDDEN}]")


def visible(text: str) -> str:
    r"""Return a text in one line, with its control characters written as `\x1b`."""
    return _HIDDEN_RE.sub(_written, text)


def _written(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Let a command read from and write to its standard streams, whatever they are.

    What is written to them shows control characters, line breaks and tabs excepted.
    """
    _open_closed()
    before = sys.stdin, sys.stdout, sys.stderr
    for stream, errors in zip(before, ("surrogateescape", *["backslashreplace"] * 2), strict=True):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    sys.stdout = cast("TextIO", _Visible(sys.stdout))
    sys.stderr = cast("TextIO", _Lossy(sys.stderr))
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        for stream in before[1:]:
            _settle(stream)


def unfiltered() -> TextIO:
    """Return standard output as it is, for what has made visible what comes from elsewhere."""
    return cast("TextIO", getattr(sys.stdout, "stream", sys.stdout))


def exact() -> TextIO:
    """Return standard output for data: as it is, unless a terminal would obey it."""
    return sys.stdout if sys.stdout.isatty() else unfiltered()


def draws(text: str) -> bool:
    """Return whether standard output has these characters."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


class _Visible:
    """Writes to a stream, with control characters made visible."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.encoding, self.errors = stream.encoding, stream.errors
        self.buffer = _Encoded(self)

    def write(self, text: str) -> int:
        return self.stream.write(_HIDDEN_IN_LINES_RE.sub(_written, text))

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()


class _Encoded(io.BufferedIOBase):
    """The same for UTF-8, in which click writes completions, and all where it sees only ASCII."""

    def __init__(self, text: _Visible) -> None:
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: "Buffer") -> int:
        self._text.write(bytes(data).decode())
        return memoryview(data).nbytes

    def flush(self) -> None:
        self._text.flush()


class _Lossy(_Visible):
    """Standard error: what cannot be written there can be told to nobody, and must end nothing."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def _open_closed() -> None:
    """Open a closed standard stream on nothing, before a file of the program's takes its number."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    # Python has None for a stream that was closed.
    sys.stdin = sys.stdin or _text(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout = sys.stdout or _text(io.BufferedWriter(io.FileIO(1, "w", closefd=False)))
    sys.stderr = sys.stderr or _text(io.BufferedWriter(io.FileIO(2, "w", closefd=False)))


def _text(stream: io.BufferedReader | io.BufferedWriter) -> TextIO:
    return io.TextIOWrapper(stream, "utf-8")


def _settle(stream: TextIO) -> None:
    """Write what is left; what cannot be written must not be an error at the end of the program."""
    try:
        stream.flush()
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
