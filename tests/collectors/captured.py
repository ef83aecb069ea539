"""Files of a Linux kernel, as captured, and with the figures that a test wants."""

from collections.abc import Mapping

from .captured_services import SERVICES

KINDS = (
    *("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"),
)

MEMINFO = b"""\
MemTotal:       16000000 kB
MemFree:         9000000 kB
MemAvailable:   12000000 kB
Buffers:          100000 kB
Cached:          2750000 kB
SwapCached:           16 kB
Active:          2000000 kB
Inactive:        4000000 kB
Active(anon):     107712 kB
Inactive(anon):        8 kB
Active(file):      47236 kB
Inactive(file):   140012 kB
Unevictable:           4 kB
SwapTotal:       4000000 kB
SwapFree:        3000000 kB
Zswap:                 0 kB
Dirty:               376 kB
Writeback:             8 kB
AnonPages:        107652 kB
Mapped:            48332 kB
Shmem:             10000 kB
KReclaimable:     250000 kB
Slab:             300000 kB
SReclaimable:     250000 kB
SUnreclaim:        50000 kB
KernelStack:        2240 kB
PageTables:         1480 kB
NFS_Unstable:          0 kB
Bounce:                0 kB
WritebackTmp:          4 kB
CommitLimit:    12342048 kB
Committed_AS:     302416 kB
VmallocTotal:   34359738367 kB
VmallocUsed:       14164 kB
VmallocChunk:          0 kB
Percpu:              696 kB
HugePages_Total:      12
HugePages_Free:        7
HugePages_Rsvd:        0
HugePages_Surp:        0
Hugepagesize:       2048 kB
Hugetlb:               0 kB
"""

VMSTAT = b"""\
nr_free_pages 5979368
nr_swapcached 4
pgpgin 3805
pgpgout 27014
pswpin 10
pswpout 20
pgalloc_dma 0
"""

DISKSTATS = b"""\
   7       0 loop0 57 0 2106 7 1 0 2 0 0 8 7 0 0 0 0 1 0
   7       1 loop1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
 254       0 vda 300250 24750 13951922 286601 5266988 191608 105968384 378725 3 296632 772001\
 84924 69 10843136 8146 2423652 98528
 254       1 vda1 200 1 1000 30 400 2 2000 50 0 70 80
"""

NET_DEV = b"""\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo \
colls carrier compressed
    lo: 132109951   65601    0    0    0     0          0         0 132109951   65601    0    0  \
  0     0       0          0
  eth0:    101     103  104  106    0     0          0         9      100     102  105  107    0  \
   0       0          0
"""

SNMP = b"""\
Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos \
InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmFails FragFails
Ip: 1 64 6356 0 0 0 0 1 6350 6265 2 20 0 0
Icmp: InMsgs InErrors InCsumErrors InDestUnreachs OutMsgs
Icmp: 33 0 0 30 31
IcmpMsg: InType3
IcmpMsg: 30
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets \
CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 385 340 181 66 7 63527 64112 285 29 657 0
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors
Udp: 3751 11 12 3783 13 14 0
UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors
UdpLite: 0 0 0 0 0 0 0
"""

NETSTAT = b"""\
TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts TW TWRecycled ListenOverflows \
ListenDrops TCPLostRetransmit TCPTimeouts TCPAbortOnMemory TCPMemoryPressures TCPBacklogDrop \
TCPOFOQueue TCPSynRetrans PruneCalled RcvPruned TCPReqQFullDrop TCPRetransFail TCPAbortOnTimeout \
TCPRcvQDrop TCPZeroWindowDrop TCPOFODrop
TcpExt: 114 115 116 0 3122 22 362 363 5 24 1 2 3 6400 44 0 0 0 0 9 0 0 0
IpExt: InNoRoutes InOctets OutOctets InCsumErrors
IpExt: 0 15407799591 10930265846 0
"""

SNMP6 = b"""\
Ip6InReceives                   \t49
Icmp6InMsgs                     \t8
Udp6InErrors                    \t0
"""

CONNTRACK = b"""\
entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop \
icmp_error  expect_new expect_create expect_delete search_restart
000001d0  00000001 00000002 00000003 000000d0 00000004 00000005 00000006 00000007 00000008 \
00000009 0000000a 0000000b  0000000c 0000000d 0000000e 0000000f
000001d0  00000010 00000020 00000030 00000060 00000040 00000050 00000060 00000070 00000080 \
00000090 000000a0 000000b0  000000c0 000000d0 000000e0 000000f0
"""


def proc_stat(**cores: Mapping[str, float]) -> bytes:
    """/proc/stat of cores, each with seconds by kind."""
    total = {kind: sum(core.get(kind, 0.0) for core in cores.values()) for kind in KINDS}
    lines = [_row("cpu ", total), *(_row(name, core) for name, core in cores.items())]
    rest = "intr 1234567 0 9 0 0 0\nctxt 13333\nbtime 1699999000\nprocesses 2345\n"
    return ("\n".join(lines) + f"\n{rest}").encode()


def _row(name: str, seconds: Mapping[str, float]) -> str:
    return " ".join([name, *(str(round(seconds.get(kind, 0.0) * 100)) for kind in KINDS)])


def pid_stat(
    pid: int,
    name: str = "nginx",
    state: str = "S",
    *,
    ticks: int = 0,
    threads: int = 1,
    pages: int = 0,
    start: int = 100,
    flags: int = 0x400000,
) -> bytes:
    """/proc/<pid>/stat of a process."""
    head = f"{pid} ({name}) {state} 1 {pid} {pid} 0 -1 {flags} 9 0 0 0 {ticks} 0 0 0 20 0 "
    return f"{head}{threads} 0 {start} 9999999 {pages} 18446744073709551615 1 1 0 0\n".encode()


LINUX: Mapping[str, bytes] = {
    "/proc/meminfo": MEMINFO,
    "/proc/vmstat": VMSTAT,
    "/proc/diskstats": DISKSTATS,
    "/proc/net/dev": NET_DEV,
    "/proc/net/snmp": SNMP,
    "/proc/net/netstat": NETSTAT,
    "/proc/net/snmp6": SNMP6,
    "/proc/net/stat/nf_conntrack": CONNTRACK,
    "/proc/pressure/cpu": b"some avg10=31.14 avg60=20.64 avg300=22.57 total=11602669571\n"
    b"full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    "/proc/pressure/memory": b"some avg10=1.50 avg60=1.25 avg300=0.75 total=3463792\n"
    b"full avg10=0.50 avg60=0.25 avg300=0.00 total=1429641\n",
    "/proc/pressure/io": b"some avg10=0.00 avg60=0.17 avg300=0.77 total=764098257\n"
    b"full avg10=0.00 avg60=0.15 avg300=0.54 total=107743276\n",
    "/proc/sys/kernel/random/entropy_avail": b"256\n",
    "/proc/sys/net/netfilter/nf_conntrack_count": b"464\n",
    "/proc/sys/net/netfilter/nf_conntrack_max": b"262144\n",
    "/proc/sys/fs/file-nr": b"1568\t0\t9223372036854775807\n",
    "/proc/sys/fs/inode-state": b"35952\t12957\t0\t0\t0\t0\t0\n",
    "/proc/sys/fs/dentry-state": b"64340\t55274\t45\t0\t4063\t0\n",
    "/proc/sys/fs/aio-nr": b"2048\n",
    "/proc/sys/fs/aio-max-nr": b"65536\n",
    "/proc/uptime": b"1000.97 1467.75\n",
    "/proc/loadavg": b"0.50 1.25 2.00 2/113 24171\n",
    "/sys/class/net/lo/flags": b"0x9\n",
    "/sys/class/net/eth0/flags": b"0x1003\n",
    "/sys/class/net/eth0/speed": b"1000\n",
    "/sys/class/hwmon/hwmon0/name": b"acpitz\n",
    "/sys/class/hwmon/hwmon0/temp1_input": b"27800\n",
    "/sys/class/hwmon/hwmon1/name": b"coretemp\n",
    "/sys/class/hwmon/hwmon1/temp1_input": b"48000\n",
    "/sys/class/hwmon/hwmon1/temp1_label": b"Package id 0\n",
    "/sys/class/hwmon/hwmon1/temp2_input": b"46500\n",
    "/sys/class/hwmon/hwmon1/temp2_label": b"Core 0\n",
    "/proc/1/stat": pid_stat(1, "systemd", threads=1, ticks=50, pages=3000, start=1),
    "/proc/1/status": b"Name:\tsystemd\nUid:\t0\t0\t0\t0\n",
    "/proc/2/stat": pid_stat(2, "kthreadd", flags=0x208040, start=1),
    "/proc/80/stat": pid_stat(80, ticks=70, threads=3, pages=500),
    "/proc/80/status": b"Name:\tnginx\nUid:\t33\t33\t33\t33\n",
    "/etc/passwd": b"root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/bin/false\n",
    **SERVICES,
}
"""Path to content."""
