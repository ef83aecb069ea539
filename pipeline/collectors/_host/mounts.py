"""The table of mounted file systems, read without a look at any of them.

psutil's `disk_partitions` lacks the numbers of mounts and devices, which tell the host's mounts
from a service's own view of them, and a new mount from the one that it took the place of.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pipeline.collectors._host.host import Host


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Telegraf's default ignore_fs; autofs, which a look would mount; and what holds no files of the
# host's: the firmware's variables, containers' views of /proc, snaps, desktops' connections.
_NO_DISK = _words("""
    aufs autofs devfs devtmpfs iso9660 overlay squashfs tmpfs
    efivarfs fuse.gvfsd-fuse fuse.lxcfs fuse.portal fuse.snapfuse nsfs ramfs
""")

_NETWORK = _words("""
    9p afs beegfs ceph cifs coda davfs glusterfs gpfs lustre ncpfs nfs nfs4 orangefs smb3 smbfs
    fuse.ceph fuse.ceph-fuse fuse.curlftpfs fuse.gcsfuse fuse.glusterfs fuse.juicefs fuse.rclone
    fuse.s3fs fuse.smbnetfs fuse.sshfs
""")

# The kernel answers for these from its memory. Any other may ask a server or a program.
_SURE = _words("""
    apfs bcachefs btrfs erofs exfat ext2 ext3 ext4 f2fs hfs hfsplus iso9660 jffs2 jfs msdos ntfs
    ntfs3 reiserfs squashfs ubifs udf vfat xfs
    aufs binfmt_misc bpf cgroup cgroup2 configfs debugfs devfs devpts devtmpfs efivarfs fusectl
    hugetlbfs mqueue nsfs overlay proc pstore ramfs rpc_pipefs securityfs selinuxfs sysfs tmpfs
    tracefs
""")

_ESCAPED_RE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system.

    Attributes:
        path: Where, as its host knows it.
        device: What, as its host names it.
        fstype: Its type.
        options: Its options, those of this mount and those of the file system.
        identity: Its number among the mounts, and its device's; "" where the system has none.
        may_hang: Whether a look at it may take for ever: it, or one that its path leads through,
            asks a server or a program, which may be dead.
    """

    path: str
    device: str
    fstype: str
    options: str
    identity: tuple[str, str] = ("", "")
    may_hang: bool = True

    @property
    def has_no_disk(self) -> bool:
        """Whether it has no disk of its own."""
        return self.fstype in _NO_DISK

    @property
    def is_network(self) -> bool:
        """Whether it is another machine's."""
        return self.fstype in _NETWORK


def read_table(host: Host) -> bytes:
    """Return the table as the kernel writes it; b"" where there is none.

    Raises:
        OSError: That of another root cannot be read.
    """
    if not host.is_own:  # the host's mounts are those of its first process
        return host.read_file(f"{host.proc}/1/mountinfo")
    try:
        return host.read_file("/proc/self/mountinfo")
    except OSError:
        return b""


def parse_table(host: Host, table: bytes) -> list[Mount]:
    """Return the mounts that can be seen: of several on one path only the last."""
    if table or not host.is_own:  # a container's own are no stand-in
        mounts = [mount for line in table.split(b"\n") for mount in _mounts(line)]
        mounts = list(_as_first_process(host, mounts)) if host.is_own else mounts
    else:
        mounts = [
            Mount(mount.mountpoint, mount.device, mount.fstype, mount.opts)
            for mount in host.ps.disk_partitions(all=True)
        ]
    return _judged({mount.path: mount for mount in mounts}.values())


def _as_first_process(host: Host, mounts: Iterable[Mount]) -> Iterator[Mount]:
    """Yield mounts as all of the host sees them, and not as a service with a view of its own does.

    systemd makes such a view of file systems that are there already: it shows them read-only, or
    mounts one of their folders once more.
    """
    try:
        table = host.read_file("/proc/1/mountinfo")
    except OSError:
        yield from mounts
        return
    real = {mount.path: mount for line in table.split(b"\n") for mount in _mounts(line)}
    devices = {mount.identity[1] for mount in real.values()}
    for mount in mounts:
        first = real.get(mount.path)
        if first and first.identity[1] == mount.identity[1]:
            yield replace(mount, options=first.options)
        elif mount.identity[1] not in devices:
            yield mount


def _mounts(line: bytes) -> Iterator[Mount]:
    """Yield what a line of proc_pid_mountinfo(5) says, if it is one."""
    of_mount, _, of_system = line.partition(b" - ")
    mount, system = of_mount.split(b" "), of_system.split(b" ")
    if len(mount) >= 6 and len(system) >= 3:
        number, _, device_number, _, path, options = map(_text, mount[:6])
        fstype, device, more = map(_text, system[:3])
        identity = (number, device_number)
        yield Mount(path, device, fstype, f"{options},{more}", identity)


def _text(field: bytes) -> str:
    r"""Return what a field says: it has `\040` for a blank, `\012` for a line break, and so on."""
    return os.fsdecode(_ESCAPED_RE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field))


def _judged(mounts: Iterable[Mount]) -> list[Mount]:
    """Return the mounts, each with whether a look at it may take for ever."""
    every = list(mounts)
    doubtful = tuple(
        f"{mount.path.rstrip('/')}/" for mount in every if mount.fstype.lower() not in _SURE
    )
    return [replace(mount, may_hang=f"{mount.path}/".startswith(doubtful)) for mount in every]
