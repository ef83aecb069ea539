"""File systems: space and inodes."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

from pipeline.collectors._host.figures import part, percent, possible, printable
from pipeline.collectors._host.host import Host
from pipeline.collectors._host.mounts import Mount, parse_table, read_table
from pipeline.collectors._host.timeouts import NoAnswer
from pipeline.collectors.base import Collector, NoData, Omission, omission, selection
from pipeline.point import FieldValue, Point
from pipeline.settings import CollectorOptions

_Fields = Mapping[str, FieldValue]


class Disk(Collector):
    """Writes `disk`, as Telegraf's input of that name.

    What may hang is read by a `TimeoutRunner`; a file system that the user has not chosen is not
    read at all. By default those of other machines stay out (option `network`), and so does what
    container engines and systemd mount for each run of something.
    """

    name = "disk"
    series_tag = "path"
    default_exclude: tuple[str, ...] = (
        "/run/credentials/*",
        "/var/lib/containers/storage/*",
        "/var/lib/docker/*",
        "/var/lib/kubelet/*",
    )

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._network = options.network
        self._is_selected = selection(self, options)
        self._timeout_s = options.timeout_ms / 1000
        self._table = b""
        self._mounts: Sequence[Mount] = ()
        self._tags: Mapping[str, Mapping[str, str]] = {}

    def collect(self) -> Iterator[Point | Omission]:
        """Yield one point for each mounted file system that has a size.

        One that has vanished or that this user may not look at is left out.
        """
        self._find_mounts()
        # A mount that took the place of a dead one is another one.
        calls = {("mount", m): partial(self._look, m.path) for m in self._mounts if m.may_hang}
        answers = self.host.runner.run(calls, self._timeout_s)
        found = False
        for mount in self._mounts:
            answer = answers["mount", mount] if mount.may_hang else self._try(mount.path)
            if isinstance(answer, OSError) and not isinstance(answer, NoAnswer):
                continue  # it has vanished, or this user may not look at it
            if isinstance(answer, Exception):  # as when the system starts no thread
                yield omission(printable(mount.path), answer)
            elif answer["total"]:
                found = True
                yield Point("disk", answer, self._tags[mount.path])
        if not found:
            raise NoData

    def _find_mounts(self) -> None:
        """Learn which mounts to report, if their table is another than last time."""
        table = read_table(self.host)
        if table and table == self._table:
            return
        self._mounts = [m for m in parse_table(self.host, table) if self._is_reported(m)]
        self._tags = {mount.path: _tags(self.host, mount) for mount in self._mounts}
        self._table = table

    def _is_reported(self, mount: Mount) -> bool:
        is_kind = not mount.has_no_disk and (self._network or not mount.is_network)
        return is_kind and self._is_selected(printable(mount.path))

    def _try(self, path: str) -> _Fields | OSError:
        try:
            return self._look(path)
        except OSError as error:
            return error

    def _look(self, path: str) -> _Fields:
        return usage(self.host, self.host.host_path(path))


def usage(host: Host, path: str) -> _Fields:
    """Return the fields of `disk` for the file system at a path, as this process sees it.

    Space is in bytes. `free` is what users may still take, without the blocks reserved for root;
    `used_percent` is used / (used + free), as of gopsutil and df. psutil's `disk_usage` lacks the
    inodes, and to look a second time might hang a second time.

    Raises:
        OSError: The path is gone, or may not be looked at.
    """
    stat = host.statvfs(path)
    unit = stat.f_frsize
    total, free = stat.f_blocks * unit, part(stat.f_bavail, stat.f_blocks) * unit
    used = part(stat.f_blocks - stat.f_bfree, stat.f_blocks) * unit
    inodes, inodes_free = stat.f_files, part(stat.f_ffree, stat.f_files)
    fields = {
        "total": total,
        "used": used,
        "free": free,
        "used_percent": percent(used, used + free),
        "inodes_total": inodes,
        "inodes_used": inodes - inodes_free,
        "inodes_free": inodes_free,
        "inodes_used_percent": percent(inodes - inodes_free, inodes),
    }
    return possible(fields)


def _tags(host: Host, mount: Mount) -> dict[str, str]:
    options = mount.options.split(",")
    mode = "ro" if "ro" in options else "rw" if "rw" in options else "unknown"
    return {
        "path": printable(mount.path),
        "device": printable(_device(host, mount)),
        "fstype": printable(mount.fstype),
        "mode": mode,
    }


def _device(host: Host, mount: Mount) -> str:
    """Return a device as Telegraf names it: without /dev/, and a logical volume as `dm-0`."""
    name = mount.device
    if name == "/dev/root":  # what the kernel calls the one that it booted from
        with suppress(OSError, IndexError):
            known = host.read_file(f"{host.sys}/dev/block/{mount.identity[1]}/uevent")
            name = os.fsdecode(known.split(b"DEVNAME=")[1].split(b"\n")[0])
    if name.startswith("/dev/mapper/"):
        name = os.path.realpath(host.host_path(name)).removeprefix(host.host_path(""))
    return name.replace("/dev/", "") or "none"
