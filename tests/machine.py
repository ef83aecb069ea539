"""This machine: its disks, small ones to be filled, its open files, and another user."""

import contextlib
import gc
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest


@contextmanager
def tiny_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a file system of some kilobytes on a folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a file system, and not in every container")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_up(folder: Path) -> Path:
    """Leave not one byte of a disk; return the file to delete."""
    path = folder / "ballast"
    for size in (4096, 1):
        with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(size))
    return path


def open_files() -> int:
    """Return how many files this process has open, once garbage is collected."""
    gc.collect()
    return psutil.Process().num_fds()


@contextmanager
def another_user() -> Iterator[None]:
    """Without the rights of root, where the tests have them."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
