"""Files of /proc that another program serves, as lxcfs does in containers: it may never answer."""

from collections.abc import Callable, Collection, Hashable
from functools import partial
from os import makedev
from pathlib import Path
from stat import S_ISREG
from typing import Any

from pipeline.collectors._host.timeouts import NoAnswer, TimeoutRunner

# What the collectors and psutil read, without the files of single processes, among which are those
# of networks: nobody serves these.
_FILES = (
    *("cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "uptime", "vmstat"),
    *("pressure/cpu", "pressure/memory", "pressure/io", "interrupts", "softirqs"),
    *(f"sys/fs/{name}" for name in ("file-nr", "inode-state", "dentry-state")),
    *("sys/fs/aio-nr", "sys/fs/aio-max-nr", "sys/kernel/random/entropy_avail"),
    *(f"sys/net/netfilter/nf_conntrack_{name}" for name in ("count", "max")),
)
_NULL = makedev(1, 3)  # /dev/null, behind which containers hide files, such as interrupts
_TIMEOUT_S = 1.0


def find_served(proc: str, runner: TimeoutRunner) -> Collection[str]:
    """Return the paths of the files that are not the kernel's own, nor copies of them.

    They are on another file system than their folder, or no regular files. To look at one may take
    for ever too: if so, each of them may hang.

    Args:
        proc: Where the host's /proc is seen.
        runner: Makes the looks.
    """
    looks = {"/proc": ("stat",), proc: _FILES}  # psutil's import reads the former
    paths = {folder: [f"{folder}/{name}" for name in names] for folder, names in looks.items()}
    calls = {("served", folder): partial(_look, folder, its) for folder, its in paths.items()}
    answers = runner.run(calls, _TIMEOUT_S)
    served: set[str] = set()
    for folder, its in paths.items():
        found = answers["served", folder]
        if isinstance(found, NoAnswer):
            served.update(its)
        elif not isinstance(found, Exception):
            served.update(found)
    return served


def _look(folder: str, paths: Collection[str]) -> list[str]:
    device = Path(folder).stat().st_dev
    return [path for path in paths if _is_served(Path(path), device)]


def _is_served(path: Path, device: int) -> bool:
    try:
        its = path.stat()
    except FileNotFoundError:
        return False
    except OSError:  # as of a FUSE file whose server has ended, and may be back
        return True
    if its.st_rdev == _NULL:
        return False
    return its.st_dev != device or not S_ISREG(its.st_mode)


class ServedFiles:
    """Reads files, those that another program serves with a time limit.

    Args:
        read: Reads a file.
        served: The paths of those that another program serves.
        runner: Makes the calls.
    """

    def __init__(
        self, read: Callable[[str], bytes], served: Collection[str], runner: TimeoutRunner
    ) -> None:
        self._read = read
        self._served = served
        self._runner = runner

    def __call__(self, path: str) -> bytes:
        """Return what a file holds.

        Raises:
            OSError: It cannot be read; a TimeoutError if there was no answer in time.
        """
        if path not in self._served:
            return self._read(path)
        call = partial(self._read, path)
        return self._runner.call(("served", path), call, _TIMEOUT_S, whom=path)


class ServedPsutil:
    """psutil's functions with a time limit: they, and its import, read files that may be served.

    Args:
        load: Imports psutil.
        runner: Makes the calls.
    """

    def __init__(self, load: Callable[[], Any], runner: TimeoutRunner) -> None:
        self._load = load
        self._runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, name)

    def _call(self, name: str, **options: Hashable) -> Any:
        key = ("psutil", name, *options.items())
        call = partial(self._make, name, options)
        return self._runner.call(key, call, _TIMEOUT_S, whom=f"psutil's {name}")

    def _make(self, name: str, options: dict[str, Hashable]) -> Any:
        return getattr(self._load(), name)(**options)
