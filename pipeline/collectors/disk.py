"""File systems: space and inodes."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pipeline.collectors.collector import Host, NoData, percent
from pipeline.point import FieldValue, Point

# Telegraf's default ignore_fs, and autofs, which looking at would mount.
_IGNORED = frozenset(
    {"aufs", "autofs", "devfs", "devtmpfs", "iso9660", "overlay", "squashfs", "tmpfs"}
)


class Disk:
    """Writes `disk`, as Telegraf's input of that name."""

    name = "disk"
    series_tag: str | None = "path"
    default_exclude: tuple[str, ...] = ()

    def __init__(self, host: Host) -> None:
        self._host = host
        self._table = b""
        self._mounts: Mapping[str, Any] = {}

    def collect(self) -> Iterator[Point]:
        """Yield one point for each mounted file system that has a size.

        One that has vanished or that this user may not look at is left out.
        """
        self._find_mounts()
        found = False
        for path, mount in self._mounts.items():
            with suppress(OSError):
                fields = usage(self._host, path)
                if fields["total"]:
                    found = True
                    yield Point("disk", fields, _tags(mount))
        if not found:
            raise NoData

    def _find_mounts(self) -> None:
        """Let psutil read the table of mounts, if it is another than last time."""
        try:
            table = self._host.read_file("/proc/self/mounts")
        except OSError:
            table = b""
        if table and table == self._table:
            return
        # Of several mounts on one path only the last can be seen; the others' figures would be its.
        mounts = {mount.mountpoint: mount for mount in self._host.ps.disk_partitions(all=True)}
        seen = {path: mount for path, mount in mounts.items() if mount.fstype not in _IGNORED}
        self._table, self._mounts = table, seen


def usage(host: Host, path: str) -> dict[str, FieldValue]:
    """Return the fields of `disk` for the file system at a path.

    Space is in bytes. `free` is what users may still take, without the blocks reserved for root;
    `used_percent` is used / (used + free), as of gopsutil and df.

    Raises:
        OSError: The path is gone, or may not be looked at.
    """
    if host.statvfs is None:
        space = host.ps.disk_usage(path)
        return _space(space.total, space.used, space.free)
    stat = host.statvfs(path)
    total, unused = stat.f_blocks, stat.f_bfree
    unit = stat.f_frsize
    inodes_used = max(0, stat.f_files - stat.f_ffree)
    return {
        **_space(total * unit, max(0, total - unused) * unit, stat.f_bavail * unit),
        "inodes_total": stat.f_files,
        "inodes_used": inodes_used,
        "inodes_free": stat.f_ffree,
        "inodes_used_percent": percent(inodes_used, inodes_used + stat.f_ffree),
    }


def _space(total: int, used: int, free: int) -> dict[str, FieldValue]:
    return {
        "total": total,
        "used": used,
        "free": free,
        "used_percent": percent(used, used + free),
    }


def _tags(mount: Any) -> dict[str, str]:
    options = mount.opts.split(",")
    mode = "rw" if "rw" in options else "ro" if "ro" in options else "unknown"
    return {
        "path": mount.mountpoint,
        "device": _device(mount.device),
        "fstype": mount.fstype,
        "mode": mode,
    }


def _device(name: str) -> str:
    """Return a device as Telegraf names it: without /dev/, and a logical volume as `dm-0`."""
    if name.startswith("/dev/mapper/"):
        name = os.path.realpath(name)
    return name.replace("/dev/", "") or "none"  # psutil makes "none" empty
