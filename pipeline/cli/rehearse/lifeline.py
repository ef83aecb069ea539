"""Becomes a command that the kernel kills when the process that started it is gone.

`tied` makes such a command. Without it an agent would outlive a rehearsal that is killed, and take
readings for ever. It is a program and not a `preexec_fn`, which may deadlock where there
are threads.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def tied(command: Sequence[str | Path]) -> list[str]:
    """Return a command that ends with this process, however that ends.

    Args:
        command: What is to be tied; the path of the program comes first.
    """
    return [sys.executable, "-I", __file__, str(os.getpid()), *map(str, command)]


def main(parent: int, command: list[str]) -> None:
    """Tie this process to its parent, then turn it into the command."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before it could be tied to
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606  # that is the whole point


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
