"""Control groups: what each service and each container uses, and where its limits hold it up."""

import re
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from pipeline.collectors._host.containers import ContainerNames
from pipeline.collectors._host.figures import figure, printable
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, NoData, Omission, selection
from pipeline.point import Point
from pipeline.settings import CollectorOptions

# https://docs.kernel.org/admin-guide/cgroup-v2.html
_NUMBERS = ("memory.current", "memory.swap.current", "memory.max", "pids.current", "pids.max")
_TABLES = {
    "memory.events": ("low", "high", "max", "oom", "oom_kill"),
    "cpu.stat": (
        *("usage_usec", "user_usec", "system_usec"),
        *("nr_periods", "nr_throttled", "throttled_usec"),
    ),
}
_IO = ("rbytes", "wbytes", "rios", "wios")
_LOOP = "7"  # the major number of loop devices, whose files are on another device

_UNIT_RE = re.compile(r".+\.(?:service|scope|mount|socket|swap)")
_USER_RE = re.compile(r"user@.+\.service")
_CONTAINER_RE = re.compile(r"(?:[a-z-]+-)?([0-9a-f]{64})(?:\.scope)?")
_LXC = "lxc.payload."
_SHORT = 12  # as `docker ps` shows an id

# A user who may make groups can make any number of them.
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Group:
    """A service, a slice or a container.

    Attributes:
        path: Its folder.
        name: Its name, without a container's.
        container: A container's id; "" if it is none, or has a name instead.
    """

    path: str
    name: str
    container: str = ""


class Cgroup(Collector):
    """Writes `cgroup`, by the names of Telegraf's input of that name.

    By default, what is new with each login or run stays out, and so do slices within slices. The
    other slices are written since they go on counting, such as processes that were killed for lack
    of memory, where a service that restarts begins at 0.
    """

    name = "cgroup"
    series_tag = "name"
    default_exclude = (
        *("*.mount", "*.socket", "*.swap", "*-*.slice", "*/*.slice", "session-*.scope"),
        *("run-*.scope", "run-*.service", "*/run-*.scope", "*/run-*.service", "*/app-*.scope"),
    )
    default_enabled = False

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._is_selected = selection(self, options)
        self._max_series = options.max_series
        self._names = ContainerNames(host, options.timeout_ms / 1000)
        self._is_stacked: dict[str, bool] = {}

    def collect(self) -> Iterator[Point | Omission]:
        """Yield one point for each service and container, in the order of their names.

        Those beyond `max_series` are not read: their points are empty.

        Raises:
            OSError: There are no groups of version 2.
        """
        root = f"{self.host.sys}/fs/cgroup"
        try:
            self.host.read_file(f"{root}/cgroup.controllers")
        except FileNotFoundError as error:
            why = f"there are no control groups of version 2 alone at {root}"
            fix = "boot with systemd.unified_cgroup_hierarchy=1"
            raise OSError(f"{why}; to have them, {fix}") from error
        groups = [*islice(_walk(self.host, root), _MOST + 1)]
        if len(groups) > _MOST:
            yield Omission("all groups", f"there are more than {_MOST}")
        named = self._named(groups[:_MOST])
        chosen = sorted((name, path) for name, path in named if self._is_selected(name))
        if not chosen:
            raise NoData
        self._is_stacked = {}
        number = 0
        for name, path in chosen:
            if number == self._max_series:
                yield Point("cgroup", {}, {"name": name})
            elif fields := self._fields(path):  # else it has gone
                yield Point("cgroup", fields, {"name": name})
                number += 1

    def _named(self, groups: list[_Group]) -> Iterator[tuple[str, str]]:
        """Yield the name and the folder of each, but for what holds the network of a pod."""
        names = self._names.of({group.container for group in groups} - {""})
        knows_pods = any("/" in name for name in names.values())
        for group in groups:
            own = names.get(group.container, group.container[:_SHORT])
            is_unnamed = group.container and group.container not in names
            if is_unnamed and knows_pods and "/kubepods" in group.path:
                continue
            yield printable(f"{group.name}{own}"), group.path

    def _fields(self, path: str) -> dict[str, float]:
        fields: dict[str, float] = {}
        for file in _NUMBERS:
            text = self._read(f"{path}/{file}").strip()
            if text not in (b"", b"max"):  # a limit that is not set has no number
                fields[file] = figure(text)
        for file, keys in _TABLES.items():
            told = dict(line.split(b" ", 1) for line in _lines(self._read(f"{path}/{file}")))
            found = {key: told[key.encode()] for key in keys if key.encode() in told}
            fields |= {f"{file}.{key}": figure(text) for key, text in found.items()}
        return fields | self._io(self._read(f"{path}/io.stat"))

    def _io(self, table: bytes) -> dict[str, float]:
        """Add up what went to the disks; what a device is made of counts, and not the device."""
        sums: dict[str, float] = {}
        for line in _lines(table):
            device, _, rest = line.partition(b" ")
            told = dict(pair.split(b"=", 1) for pair in rest.split() if b"=" in pair)
            if self._is_made_of_others(printable(device)):
                continue
            for key in _IO:
                if text := told.get(key.encode()):
                    field = f"io.stat.{key}"
                    sums[field] = sums.get(field, 0) + figure(text)
        return sums

    def _is_made_of_others(self, device: str) -> bool:
        if device not in self._is_stacked:
            its = []
            with suppress(OSError):
                its = self.host.list_folder(f"{self.host.sys}/dev/block/{device}/slaves")
            self._is_stacked[device] = bool(its) or device.partition(":")[0] == _LOOP
        return self._is_stacked[device]

    def _read(self, path: str) -> bytes:
        # A file is not there if its controller is not on for the group, or the group has gone.
        with suppress(OSError):
            return self.host.read_file(path)
        return b""


def _lines(text: bytes) -> list[bytes]:
    return [line for line in text.split(b"\n") if b" " in line]


def _walk(host: Host, root: str) -> Iterator[_Group]:
    """Yield the groups that are a unit or a container, without what is in these.

    Those that are nearer to the root come first: what a user makes further down cannot cost them
    their place. What the names of units begin with tells them from others of the host: of a user's
    own it is `user@1000.service/`, of a system within this one the folder that it is in.
    """
    folders = deque([(root, "")])
    while folders:
        folder, within = folders.popleft()
        names: list[str] = []
        with suppress(OSError):  # it has gone
            names = sorted(host.list_folder(folder))
        user = within if within.startswith("user@") else ""
        for name in names:
            path = f"{folder}/{name}"
            if match := _CONTAINER_RE.fullmatch(name):
                if "conmon" not in name:  # which watches a container
                    yield _Group(path, user, match[1])
            elif name.startswith(_LXC):
                yield _Group(path, user + name.removeprefix(_LXC))
            elif name.endswith(".slice"):
                yield _Group(path, within + name)
                folders.append((path, within))
            elif _UNIT_RE.fullmatch(name):
                yield _Group(path, within + name)
                if not within and _USER_RE.fullmatch(name):
                    folders.append((path, f"{name}/"))
            elif "." in name or user:  # all files have a dot
                continue
            elif folder.endswith("/lxc"):
                yield _Group(path, name)
            else:  # such as `docker` or `kubepods`
                folders.append((path, f"{within}{name}/"))
