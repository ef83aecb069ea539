"""The processes of a Linux host: one cheap pass over /proc/<pid>/stat."""

from collections.abc import Mapping

from pipeline.collectors._host.host import Host

STATE, FLAGS, USER_TIME, SYSTEM_TIME, THREADS, START, RESIDENT = 0, 6, 11, 12, 17, 19, 21
"""Columns of proc_pid_stat(5), counted from the one after the name."""


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
    for pid in filter(str.isdecimal, host.list_folder(host.proc)):
        try:
            table[pid] = host.read_file(f"{host.proc}/{pid}/stat")
        except (FileNotFoundError, ProcessLookupError):  # it ended, just before or while read
            continue
        except OSError:
            table[pid] = None
    return table


def columns(stat: bytes, last: int) -> list[bytes]:
    """Part a `stat` after the name, which may hold spaces and parentheses, up to a column.

    Raises:
        ValueError: It does not go so far.
    """
    parts = stat[stat.rfind(b")") + 2 :].split(b" ", last + 1)
    if len(parts) <= last:
        raise ValueError(f"{stat!r} is incomplete")
    return parts
