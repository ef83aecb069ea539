"""Files that the collectors which are off by default read, and systemctl's list, as captured.

The files are those of Linux 6.1 and 6.18, the lists of Debian 12; blanks at the ends of lines are
left out.
"""

from collections.abc import Mapping

TCP = b"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:21EF 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 2205317 \
1 00000000ccc0fac7 100 0 0 10 0
   1: 0100007F:1F96 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2155977 \
2 00000000bc65d71a 100 0 0 10 0
   2: 0100007F:9C40 0100007F:1F96 01 00000000:00000000 02:000006D3 00000000     0        0 2155990 \
2 00000000bf1bbf81 20 4 30 10 -1
   3: 0100007F:9C42 0100007F:1F96 06 00000000:00000000 03:00000F1A 00000000     0        0 0 3 0000\
00007e0a2d11
"""
TCP6 = b"""\
  sl  local_address                         remote_address                        st tx_queue rx_qu\
eue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000\
000 00:00000000 00000000     0        0 20410 1 0000000000000000 100 0 0 10 0
"""
UDP = b"""\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode r\
ef pointer drops
  353: 0100007F:0143 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 17862 2\
 0000000000000000 0
"""

INTERRUPTS = b"""\
           CPU0       CPU1
 24:          1          0  IO-APIC   5-edge      ACPI:Ged
 28:          0          0 PCI-MSIX-0000:00:01.0   0-edge      virtio0-config
 36:          5   14859088 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
LOC:   13607703   11849951   Local timer interrupts
ERR:          3
MIS:          0
"""
SOFTIRQS = b"""\
                    CPU0       CPU1
          HI:          0          0
       TIMER:    1410086    1085038
      NET_RX:    2514147    2197137
"""

SYSTEMCTL = "/run/systemd/system/list-units"
"""Where the fake host has systemctl's list."""
UNITS = rb"""
-.mount                                           loaded    active     mounted   Root Mount
run-credentials-systemd\x2dsysctl.service.mount   loaded    active     mounted   /run/credentials
init.scope                                        loaded    active     running   System and Service
auditd.service                                    not-found inactive   dead      auditd.service
broken.service                                    loaded    failed     failed    Always fails
getty@tty1.service                                loaded    active     running   Getty on tty1
hungry.service                                    loaded    activating auto-restart Killed
system.slice                                      loaded    active     active    System Slice
dbus.socket                                       loaded    active     running   D-Bus System
apt-daily.timer                                   loaded    active     waiting   Daily apt
"""

_V2 = "/sys/fs/cgroup"
DOCKER, PODMAN, KUBERNETES, PAUSE = (64 * letter for letter in "abcd")
_POD = f"{_V2}/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"


def cgroup(path: str, memory: int, **files: bytes) -> dict[str, bytes]:
    """A group whose controllers are all on, and which has done nothing."""
    none = {
        "memory.current": b"%d\n" % memory,
        "memory.swap.current": b"0\n",
        "memory.max": b"max\n",
        "memory.events": b"low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
        "cpu.stat": b"usage_usec 4593851\nuser_usec 2312658\nsystem_usec 2281193\nnr_periods 0\n"
        b"nr_throttled 0\nthrottled_usec 0\nnr_bursts 0\nburst_usec 0\n",
        "pids.current": b"1\n",
        "pids.max": b"1155\n",
        "io.stat": b"",
    }
    given = {name.replace("__", "."): text for name, text in files.items()}
    return {f"{path}/{name}": text for name, text in (none | given).items()}


CGROUPS: Mapping[str, bytes] = {
    f"{_V2}/cgroup.controllers": b"cpuset cpu io memory hugetlb pids rdma misc\n",
    **cgroup(
        f"{_V2}/system.slice/busy.service",
        184320,
        cpu__stat=b"usage_usec 3638462\nuser_usec 2422053\nsystem_usec 1216409\nnr_periods 363\n"
        b"nr_throttled 358\nthrottled_usec 30316074\nnr_bursts 0\nburst_usec 0\n",
        io__stat=b"254:0 rbytes=90112 wbytes=18874368 rios=3 wios=18 dbytes=0 dios=0\n",
    ),
    **cgroup(
        f"{_V2}/system.slice/hungry.service",
        20455424,
        memory__max=b"20971520\n",
        memory__events=b"low 0\nhigh 0\nmax 47\noom 1\noom_kill 1\noom_group_kill 0\n",
    ),
    # A group for which no controller is on.
    f"{_V2}/system.slice/idle.service/cgroup.procs": b"",
    **cgroup(f"{_V2}/dev-mqueue.mount", 294912),
    f"{_V2}/init.scope/cpu.stat": b"usage_usec 5\nuser_usec 3\nsystem_usec 2\n",
    **cgroup(f"{_V2}/system.slice/docker-{DOCKER}.scope", 1000),
    **cgroup(f"{_V2}/machine.slice/libpod-{PODMAN}.scope", 2000),
    **cgroup(f"{_V2}/machine.slice/libpod-conmon-{PODMAN}.scope", 1),
    **cgroup(f"{_POD}/cri-containerd-{KUBERNETES}.scope", 3000),
    **cgroup(f"{_POD}/cri-containerd-{PAUSE}.scope", 1),
    **cgroup(f"{_V2}/lxc.payload.web.1", 4000),
    **cgroup(f"{_V2}/user.slice/user-1000.slice/session-4.scope", 1),
    **cgroup(f"{_V2}/user.slice/user-1000.slice/user@1000.service/app.slice/dbus.service", 5000),
    f"/var/lib/docker/containers/{DOCKER}/config.v2.json": b'{"ID":"x","Name":"/shop","Driver":""}',
    "/var/lib/containers/storage/overlay-containers/containers.json": (
        f'[{{"id":"{PODMAN}","names":["cache"],"image":"x"}}]'
    ).encode(),
    f"/var/log/containers/web-7d9f_default_nginx-{KUBERNETES}.log": b"",
    "/sys/dev/block/253:0/slaves/vda2": b"",  # as of LVM
}

CHIPS: Mapping[str, bytes] = {
    "/sys/class/hwmon/hwmon2/name": b"nct6775\n",
    "/sys/class/hwmon/hwmon2/fan1_input": b"1186\n",
    "/sys/class/hwmon/hwmon2/fan1_label": b"CPU Fan\n",
    "/sys/class/hwmon/hwmon2/in0_input": b"872\n",
    "/sys/class/hwmon/hwmon2/in1_input": b"-12040\n",
    "/sys/class/hwmon/hwmon3/name": b"amdgpu\n",
    "/sys/class/hwmon/hwmon3/power1_average": b"21160000\n",
    "/sys/class/hwmon/hwmon3/power1_cap": b"186000000\n",
    "/sys/class/hwmon/hwmon3/power1_label": b"slowPPT\n",
    "/sys/class/hwmon/hwmon4/name": b"BAT0\n",
    "/sys/class/hwmon/hwmon4/curr1_input": b"1310\n",
    "/sys/class/power_supply/AC/type": b"Mains\n",
    "/sys/class/power_supply/AC/online": b"0\n",
    "/sys/class/power_supply/BAT0/type": b"Battery\n",
    "/sys/class/power_supply/BAT0/present": b"1\n",
    "/sys/class/power_supply/BAT0/capacity": b"71\n",
    "/sys/class/power_supply/BAT0/status": b"Discharging\n",
}

SERVICES: Mapping[str, bytes] = {
    "/proc/net/tcp": TCP,
    "/proc/net/tcp6": TCP6,
    "/proc/net/udp": UDP,
    "/proc/interrupts": INTERRUPTS,
    "/proc/softirqs": SOFTIRQS,
    SYSTEMCTL: UNITS,
    **CGROUPS,
    **CHIPS,
}
"""Path to content."""
