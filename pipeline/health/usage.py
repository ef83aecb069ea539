"""What this process has used of its host."""

import resource
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used.

    Attributes:
        cpu_s: Processor time since its start, in seconds.
        resident_bytes: Memory in use; its peak where /proc cannot be read.
        peak_bytes: The most memory in use since its start.
    """

    cpu_s: float
    resident_bytes: int
    peak_bytes: int


def usage() -> Usage:
    """Ask what this process has used.

    psutil is not asked: told of a container's host, it looks for this process there.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss * 1024  # it is in kilobytes: getrusage(2)
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])  # proc_pid_statm(5)
        resident = pages * resource.getpagesize()
    except OSError:
        resident = peak
    return Usage(used.ru_utime + used.ru_stime, resident, peak)
