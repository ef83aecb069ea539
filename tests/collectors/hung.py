"""A file system that answers nothing: a real one, of FUSE.

    python -m tests.collectors.hung FOLDER COMMAND...

runs a command in a mount namespace of its own, in which FOLDER is such a file system. All of it is
gone with the command's process, however that ends.
"""

import ctypes
import os
import sys
from pathlib import Path

_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 0x40000


def enter_namespace() -> None:
    """Leave this thread's mounts to itself, and to those that it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "no namespace")


def mount(folder: Path) -> int:
    """Mount the file system on a folder, and return the descriptor that it lasts as long as."""
    server = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0"
    if libc.mount(b"hung", bytes(folder), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "no mount")
    return server


if __name__ == "__main__":
    enter_namespace()
    os.set_inheritable(mount(Path(sys.argv[1])), True)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is meant
