"""The processes that use most: of the processor, and of memory."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from heapq import nlargest

from pipeline.collectors._host.cpu_times import SHORTEST_S
from pipeline.collectors._host.figures import possible, printable, share, whole
from pipeline.collectors._host.host import Host
from pipeline.collectors._host.process_table import (
    FLAGS,
    RESIDENT,
    START,
    SYSTEM_TIME,
    THREADS,
    USER_TIME,
    columns,
    process_table,
)
from pipeline.collectors.base import Collector, selection
from pipeline.point import FieldValue, Point
from pipeline.settings import CollectorOptions

_ACCOUNT_RE = re.compile(rb"^([^:\n]+):[^:\n]*:(\d+):", re.MULTILINE)
_ACCOUNTS_LAST_S = 60.0

# Of the real, the effective and two more users of a process the first: whose it is.
_REAL_USER_RE = re.compile(rb"^Uid:\s+(\d+)", re.MULTILINE)

_Id = tuple[str, bytes]
"""Number and start of a process, which no other has until the next boot."""

_KERNEL_THREAD = 0x00200000  # PF_KTHREAD among the flags


@dataclass(frozen=True, slots=True)
class _Process:
    """One process: `ticks` of the clock on the processor since it began, pages of memory in use."""

    name: bytes
    is_kernel_thread: bool
    threads: int
    ticks: int
    pages: int


@dataclass(frozen=True, slots=True)
class _Sample:
    """When the processes were read, and how many ticks each had spent since it began."""

    taken: float
    ticks: Mapping[_Id, int]


@dataclass(slots=True)
class _Sum:
    """All processes of one name and user."""

    name: str
    user: str
    processes: int = 0
    threads: int = 0
    pages: int = 0
    ticks: int = 0


class Process(Collector):
    """Writes `process`: the busiest and the largest processes, by the names of Telegraf's procstat.

    Processes of one name and user are one series, and no tag is a pid: every run of a program would
    make another series.
    """

    name = "process"
    series_tag = "process_name"
    default_enabled = False

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._top = options.top
        self._is_selected = selection(self, options)  # first, so that others fill the places
        self._before: _Sample | None = None
        self._users: dict[_Id, bytes] = {}
        with suppress(OSError):  # what fails now fails again in `collect`
            self._before = self._sample(self._read())

    def collect(self) -> Iterator[Point]:
        """Yield one point for each of the busiest, then for each of the largest besides.

        `cpu_usage` is in percent of one core since the last reading, the first time since the
        collector was made; absent over less than 0.1 s. A process that began since then counts with
        all it did, and one that has ended not at all. `memory_rss` is in bytes; what processes
        share counts for each of them.
        """
        processes = self._read()
        before, now = self._before, self._sample(processes)
        passed_s = now.taken - before.taken if before else 0.0
        is_told = passed_s >= SHORTEST_S
        if is_told or not before:
            self._before = now
        known = before.ticks if before else {}
        spent = {
            identity: ticks - known.get(identity, 0) if is_told else 0
            for identity, ticks in now.ticks.items()
        }
        sums = self._sum(processes, spent, known)
        full = passed_s * os.sysconf("SC_CLK_TCK")
        page = os.sysconf("SC_PAGE_SIZE")
        for its in _most([each for each in sums if self._is_selected(each.name)], self._top):
            fields: dict[str, FieldValue] = {
                "memory_rss": its.pages * page,
                "num_threads": its.threads,
                "pid_count": its.processes,
            }
            if is_told:
                fields["cpu_usage"] = share(its.ticks / full)
            yield Point("process", possible(fields), {"process_name": its.name, "user": its.user})

    def _read(self) -> dict[_Id, _Process]:
        processes = {}
        for pid, stat in self.host.cached(process_table).items():
            with suppress(ValueError):
                its = columns(stat or b"", RESIDENT)
                processes[pid, its[START]] = _parse(stat or b"", its)
        return processes

    def _sample(self, processes: Mapping[_Id, _Process]) -> _Sample:
        ticks = {identity: process.ticks for identity, process in processes.items()}
        return _Sample(self.host.clock.monotonic(), ticks)

    def _sum(
        self, processes: Mapping[_Id, _Process], spent: Mapping[_Id, int], known: Mapping[_Id, int]
    ) -> Iterable[_Sum]:
        accounts = self.host.cached(_accounts, _ACCOUNTS_LAST_S)
        users, self._users = self._users, {}
        sums: dict[tuple[bytes, bytes], _Sum] = {}
        for identity, process in processes.items():
            try:
                user = users.get(identity) or self._user(identity[0], process)
            except OSError:  # it has ended
                continue
            if identity in known:  # a new one may still be root, about to become another
                self._users[identity] = user
            its = sums.setdefault(
                (process.name, user),
                _Sum(printable(process.name), printable(accounts.get(user, user))),
            )
            its.processes += 1
            its.threads += process.threads
            its.pages += process.pages
            its.ticks += spent[identity]
        return sums.values()

    def _user(self, pid: str, process: _Process) -> bytes:
        if process.is_kernel_thread:
            return b"0"
        found = _REAL_USER_RE.search(self.host.read_file(f"{self.host.proc}/{pid}/status"))
        return found[1] if found else b"unknown"


def _parse(stat: bytes, its: list[bytes]) -> _Process:
    """Name a kernel thread without what it works on, such as `kworker` for `kworker/0:1-events`."""
    name = stat[stat.find(b"(") + 1 : stat.rfind(b")")]
    is_kernel_thread = bool(whole(its[FLAGS]) & _KERNEL_THREAD)
    return _Process(
        name.partition(b"/")[0] if is_kernel_thread else name,
        is_kernel_thread,
        threads=whole(its[THREADS]),
        ticks=whole(its[USER_TIME]) + whole(its[SYSTEM_TIME]),
        pages=whole(its[RESIDENT]),
    )


def _accounts(host: Host) -> dict[bytes, bytes]:
    """Return the host's own users, number to name: to ask a directory server may take seconds."""
    with suppress(OSError):
        content = host.read_file(host.host_path("/etc/passwd"))
        found = reversed(
            _ACCOUNT_RE.findall(content)
        )  # of two names of one number the first counts
        return {number: name for name, number in found}
    return {}


def _most(sums: Iterable[_Sum], top: int) -> list[_Sum]:
    """Return those that used most of the processor, then those that have most memory besides."""
    busiest = nlargest(top, (its for its in sums if its.ticks), key=lambda its: its.ticks)
    largest = nlargest(top, (its for its in sums if its.pages), key=lambda its: its.pages)
    return busiest + [its for its in largest if its not in busiest]
