"""A figure that cannot be, or that nobody can read, costs itself only, and is counted."""

from dataclasses import replace

import pytest

from pipeline.collectors.base import Collector
from pipeline.collectors.cpu import Cpu
from pipeline.collectors.diskio import DiskIo
from pipeline.collectors.kernel import Kernel
from pipeline.collectors.linux_sysctl_fs import LinuxSysctlFs
from pipeline.collectors.mem import Mem
from pipeline.collectors.net import Net
from pipeline.collectors.nstat import Nstat
from pipeline.collectors.pressure import Pressure
from pipeline.collectors.swap import Swap
from pipeline.collectors.system_metrics import Summary

from .captured import KINDS
from .fakes import DEFAULTS, KIB, FakeHost, figures, guarded, written

LOST = None
"""In place of a figure: it is missing, and counted."""
ABSENT = ...
"""In place of a figure: it is missing, as the kernel does not tell it."""

# Beyond 64 bits, below 0, no number, and without end.
IMPOSSIBLE = (b"18446744073709551615", b"-7", b"x", b"9" * 5000)
OPTIONS = {
    Cpu: replace(DEFAULTS, times=True),
    Nstat: replace(DEFAULTS, include=("UdpInErrors", "UdpRcvbufErrors", "*Drops")),
    Pressure: replace(DEFAULTS, include=("cpu",)),
}
ALL = rb"(?s)\A.*\Z"
START, END = rb"\A", rb"\Z"
STAT, MEMINFO, VMSTAT, DISKSTATS = (
    f"/proc/{name}" for name in ("stat", "meminfo", "vmstat", "diskstats")
)
NET_DEV, SYS = "/proc/net/dev", "/proc/sys"
FILE_NR, INODES = f"{SYS}/fs/file-nr", f"{SYS}/fs/inode-state"
OF_AVAILABLE = ("available_percent", "used", "used_percent")
HUGE_PAGES = ("huge_pages_total", "huge_pages_free", "huge_page_size")
OF_FREE = ("free", "used", "used_percent")
OF_CPU0 = ["cpu0 time_active", *(f"cpu0 usage_{kind}" for kind in (*KINDS, "active"))]
ETH9 = [
    *(f"eth9 {kind}_{way}" for kind in ("bytes", "packets") for way in ("sent", "recv")),
    *(f"eth9 {kind}_{way}" for kind in ("err", "drop") for way in ("in", "out")),
]
UDP = b"Udp: InErrors RcvbufErrors\n"


def lost(*names: str) -> dict[str, object]:
    return dict.fromkeys(names, LOST)


def udp(errors: object, full: object) -> dict[str, object]:
    return {"snmp UdpInErrors": errors, "snmp UdpRcvbufErrors": full}


def waits(*values: object) -> dict[str, object]:
    names = (f"cpu some {name}" for name in ("avg10", "avg60", "avg300", "total"))
    return dict(zip(names, values, strict=True))


# The figures that change when something in a file is replaced, by a regular expression.
Case = tuple[type[Collector], str, bytes, bytes, dict[str, object]]
CASES: list[Case] = [
    (Mem, MEMINFO, b"302416", b"18446744073709551608", lost("committed_as")),
    (Mem, MEMINFO, b"(?<=SwapFree:).*", b" 18446744073709346016 kB", lost("swap_free")),
    (Mem, MEMINFO, b"(?<=SwapFree:).*", b" 4000128 kB", lost("swap_free")),
    (Mem, MEMINFO, b"(?<=HugePages_Free:).*", b" 18446744073709551615", lost("huge_pages_free")),
    (Mem, MEMINFO, b"(?<=HugePages_Free:).*", b" -1", lost("huge_pages_free")),
    (Mem, MEMINFO, b"376 kB", b"nonsense", lost("dirty")),
    (Mem, MEMINFO, b"48332", b"1_000", lost("mapped")),
    (Mem, MEMINFO, b"100000", b"many", lost("buffered")),
    (Mem, MEMINFO, b"100000", b"1 000", {"buffered": KIB}),
    (Mem, MEMINFO, b"(?<=SReclaimable:).*", b" ?", lost("cached", "sreclaimable")),
    (Mem, MEMINFO, b"12000000", b"?", lost("available", *OF_AVAILABLE)),
    (Mem, MEMINFO, b"16000000", b"?", lost("total", *OF_AVAILABLE)),
    (
        *(Mem, MEMINFO, b"16000000", b"8000000"),  # less than is free
        lost("free", "available", *OF_AVAILABLE) | {"total": 8_000_000 * KIB},
    ),
    (Mem, MEMINFO, b"34359738367", 5000 * b"9", lost("vmalloc_total")),
    (Mem, MEMINFO, b"^Huge.*\n", b"", dict.fromkeys(HUGE_PAGES, 0)),
    *(
        (Mem, MEMINFO, edge, b"\n%b\n" % line, {})
        for edge in (START, END)
        for line in (b"", b"nonsense", b":", b"New: 5", b"\xff\xfe: 1 kB")
    ),
    (
        *(Summary, MEMINFO, b"16000000", b"8000000"),
        {"memory_total": 8_000_000 * KIB, "memory_used": LOST, "memory_percent": LOST},
    ),
    (
        *(Summary, MEMINFO, b"16000000", b"?"),
        lost("memory_total", "memory_used", "memory_percent"),
    ),
    *(
        (Swap, MEMINFO, b"(?<=SwapFree:).*", free, lost(*OF_FREE))
        # lxcfs of a container without swap; where the kernel counts a page twice
        for free in (b" 18446744073709346016 kB", b" 4000128 kB", b" nonsense")
    ),
    (Swap, VMSTAT, b"pswpin 10", b"pswpin -1", lost("in")),
    *(
        (Cpu, STAT, b"^cpu0 1000", b"cpu0 " + text, lost("cpu0 time_user", *OF_CPU0))
        for text in (b"x", b"-", b"0x10", b"1,5")
    ),
    (Kernel, STAT, b"^ctxt.*", b"ctxt 9223372036854775807", {"context_switches": 2**63 - 1}),
    (Kernel, STAT, b"^ctxt.*", b"ctxt 18446744073709551615", lost("context_switches")),
    (Kernel, STAT, b"^ctxt.*", b"ctxt many", lost("context_switches")),
    (Kernel, STAT, b"^ctxt.*", b"ctxt", {"context_switches": ABSENT}),
    (Kernel, STAT, b"^intr.*", b"intr 5", {"interrupts": 5}),
    (Kernel, STAT, b"^processes.*", b"processes -1", lost("processes_forked")),
    (Kernel, STAT, b"^processes.*", b"procs_running 3", {"processes_forked": ABSENT}),
    (Kernel, STAT, b"^processes", b"softirq 9 1 2\nprocesses", {}),
    (Kernel, STAT, b"^btime.*", b"btime nan", lost("boot_time")),
    (Kernel, STAT, b"^btime.*\n", b"", {"boot_time": ABSENT}),
    (Kernel, STAT, b"^btime.*", b"page 5741 1808\nbtime 7", {"boot_time": 7}),  # as Linux 2.4
    (Kernel, f"{SYS}/kernel/random/entropy_avail", b"256", b"-1", lost("entropy_avail")),
    # Before Linux 5.11 there is no limit so.
    (LinuxSysctlFs, FILE_NR, ALL, b"1\t0\t18446744073709551615\n", {"file-nr": 1}),
    (
        *(LinuxSysctlFs, FILE_NR, ALL, b"18446744073709551615\t0\t5\n"),
        {"file-nr": LOST, "file-max": 5},
    ),
    (LinuxSysctlFs, FILE_NR, ALL, b"1\t0\n", {"file-nr": 1, "file-max": LOST}),
    (LinuxSysctlFs, FILE_NR, ALL, b"", lost("file-nr", "file-max")),
    (LinuxSysctlFs, INODES, ALL, b"-5\tmany\n", lost("inode-nr", "inode-free-nr")),
    (LinuxSysctlFs, INODES, ALL, b"7 3 0 0 0 0 0 8 9\n", {"inode-nr": 7, "inode-free-nr": 3}),
    (LinuxSysctlFs, f"{SYS}/fs/dentry-state", ALL, b"\xff", {}),  # which nobody wants
    *(
        (Pressure, "/proc/pressure/cpu", ALL, row, changed)
        for row, changed in (
            (
                b"some avg10=100.00 avg60=1.00 avg300=0.00 total=9223372036854775807\n",
                waits(100.0, 1.0, 0.0, 2**63 - 1),
            ),
            (
                b"some avg10=0.00 avg60=0.00 avg300=0.00 total=18446744073709551615\n",
                waits(0.0, 0.0, 0.0, LOST),
            ),
            (b"some avg10=100.01 avg60=-1 avg300=nan total=1\n", waits(LOST, LOST, LOST, 1)),
            (b"some avg10= avg60 avg300=1.5.2 total=1_0\n", waits(LOST, LOST, LOST, LOST)),
            (b"some total=5 avg300=0.1 new=7 avg60=0.2 avg10=0.3", waits(0.3, 0.2, 0.1, 5)),
            *((row, waits(*4 * [ABSENT])) for row in (b"some", b"", b"\xff\xfe avg10=1.00")),
        )
    ),
    *(
        (Nstat, "/proc/net/snmp", ALL, table, changed)
        for table, changed in (
            (UDP + b"Udp: 9223372036854775807 18446744073709551615\n", udp(2**63 - 1, LOST)),
            (UDP + b"Udp: 1\n", udp(1, LOST)),
            (UDP + b"Udp: -1 x\n", udp(LOST, LOST)),
            (UDP, udp(ABSENT, ABSENT)),
            (UDP + b"Ip: 1 2\n", udp(ABSENT, ABSENT)),
            (b"Udp: Lost\n" + UDP + b"Udp: 1 2\nUdp: 1 2", udp(ABSENT, ABSENT)),
            (b"Udp: InErrors\nUdp: 1 2 3\n", udp(1, ABSENT)),
            (
                b"\n:\n: 1\nUdp\n\xff\xfe: \xff\n\xff\xfe: 1\nUdp: InErrors\nUdp: 1\n",
                udp(1, ABSENT),
            ),
            (b"", udp(ABSENT, ABSENT)),
        )
    ),
    *((Net, NET_DEV, b" 101 ", b" %b " % text, lost("eth0 bytes_recv")) for text in IMPOSSIBLE),
    *((Net, NET_DEV, END, line, {}) for line in (b"\n", b"nonsense\n", b": 1\n")),
    (Net, NET_DEV, END, b"eth9:\n", lost(*ETH9)),
    (
        *(Net, NET_DEV, END, b"eth9: 1 2\n"),
        lost(*ETH9) | {"eth9 bytes_recv": 1, "eth9 packets_recv": 2},
    ),
    *(
        (DiskIo, DISKSTATS, b"(?<=vda1 ).*", row % text, lost(f"vda1 {field}"))
        for row, field in (
            (b"%b 1 1000 30 400 2 2000 50 0 70 80", "reads"),
            (b"200 1 1000 30 400 2 2000 50 %b 70 80", "iops_in_progress"),
            (b"200 1 1000 30 400 2 2000 50 0 %b 80", "io_time"),
            (b"200 1 1000 30 400 2 2000 50 0 70 %b", "weighted_io_time"),
        )
        for text in IMPOSSIBLE
    ),
]


@pytest.mark.parametrize(
    ("collector", "path", "before", "after", "changed"),
    CASES,
    ids=[case[0].name for case in CASES],
)
def test_a_figure_that_cannot_be_costs_itself_only(
    either: FakeHost,
    collector: type[Collector],
    path: str,
    before: bytes,
    after: bytes,
    changed: dict[str, object],
) -> None:
    options = OPTIONS.get(collector, DEFAULTS)
    whole = guarded(collector(either.host(), options), options)
    assert whole.lost_points == 0
    either.clock.advance(1.0)  # nothing is known from before
    either.change(path, before, after)
    outcome = guarded(collector(either.host(), options), options)
    expected = {
        name: value
        for name, value in (figures(written(whole)) | changed).items()
        if value not in (LOST, ABSENT)
    }
    assert figures(written(outcome)) == expected
    assert outcome.lost_points == [*changed.values()].count(LOST)
