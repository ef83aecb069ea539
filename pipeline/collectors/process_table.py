"""The processes of a Linux host: one cheap pass over /proc/<pid>/stat."""

import re
from collections.abc import Mapping

from pipeline.collectors.collector import Host
from pipeline.collectors.cpu_usage import kernel_stat

STATE, FLAGS, USER_TIME, SYSTEM_TIME, THREADS, START, RESIDENT = 0, 6, 11, 12, 17, 19, 21
"""Columns of proc_pid_stat(5), counted from the one after the name."""


_FORKS_RE = re.compile(rb"^processes ([1-9]\d*)$", re.MULTILINE)
# Where the kernel is another program that only seems to count.
_LISTED_S = 10.0


def process_table(host: Host) -> Mapping[str, bytes | None]:
    """Read all processes.

    psutil's `process_iter` tells the same, but reads two files of each and takes some 40 µs a
    process instead of 10: with 1,000 processes, a reading would take 30 ms more. Both are printed
    by `python -m timeit -s "import psutil" "[*psutil.process_iter(['status', 'num_threads'])]"`,
    for all of them, and by `python -m benchmarks.host`.

    Returns:
        Number of each process to its `stat`; None when this user may not look at it. One that
        ended meanwhile is left out.

    Raises:
        OSError: The list of processes cannot be read.
    """
    table: dict[str, bytes | None] = {}
    forks = _forks(host)
    files = host.recent(_files, _LISTED_S if forks else 0.0, forks)
    for pid, path in list(files.items()):
        try:
            table[pid] = host.read_file(path)
        except (FileNotFoundError, ProcessLookupError):  # it ended, just before or while read
            del files[pid]
        except OSError:
            table[pid] = None
    return table


def _files(host: Host) -> dict[str, str]:
    """List the processes, which takes a third of the time of reading them."""
    names = host.list_folder(host.proc)
    return {name: f"{host.proc}/{name}/stat" for name in names if name.isdecimal()}


def _forks(host: Host) -> bytes | None:
    """Return how many processes were ever begun: as long as it stands still, no new one is there.

    It is read before the list is, so that one that begins in between is found the next time.
    """
    try:
        found = _FORKS_RE.search(host.recent(kernel_stat))
    except OSError:
        return None
    return found[1] if found else None


def columns(stat: bytes, last: int) -> list[bytes]:
    """Part a `stat` after the name, which may hold spaces and parentheses, up to a column.

    Raises:
        ValueError: It does not go so far.
    """
    parts = stat[stat.rfind(b")") + 2 :].split(b" ", last + 1)
    if len(parts) <= last:
        raise ValueError(f"{stat!r} is incomplete")
    return parts
