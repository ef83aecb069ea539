"""A file system that answers nothing until it is told to: a real one, of FUSE.

    python -m tests.collectors.hung FOLDER COMMAND...

runs a command in a mount namespace of its own, in which FOLDER is such a file system. All of it is
gone with the command's process, however that ends.
"""

import ctypes
import os
import struct
import sys
import threading
from pathlib import Path

_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 0x40000
_INIT, _STATFS, _ENOSYS = 26, 17, 38
_MOST = 2**17


def enter_namespace() -> None:
    """Leave this thread's mounts to itself, and to those that it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "no namespace")


class Hung:
    """The file system, mounted on a folder."""

    def __init__(self, folder: Path) -> None:
        self.server = os.open("/dev/fuse", os.O_RDWR)
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self.server},rootmode=40000,user_id=0,group_id=0"
        if libc.mount(b"hung", bytes(folder), b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), "no mount")

    def speak(self) -> None:
        """Answer from now on, also what was asked before: 1000 blocks of 4 KiB, all free."""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            _, kind, number = struct.unpack_from("<IIQ", os.read(self.server, _MOST))
            answer = {
                _INIT: struct.pack("<IIIIHHI", 7, 31, 0, 0, 1, 1, 4096).ljust(64, b"\0"),
                _STATFS: struct.pack("<5Q3I", 1000, 1000, 1000, 9, 9, 4096, 255, 4096).ljust(
                    80, b"\0"
                ),
            }.get(kind, b"")
            error = 0 if answer else -_ENOSYS
            os.write(self.server, struct.pack("<IiQ", 16 + len(answer), error, number) + answer)


if __name__ == "__main__":
    enter_namespace()
    os.set_inheritable(Hung(Path(sys.argv[1])).server, True)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is meant
