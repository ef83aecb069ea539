"""Open files and inodes, against their limits."""

from collections.abc import Iterator

from pipeline.collectors._host.figures import UNKNOWN, figure
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, NoData, Omission, omission, selection
from pipeline.point import FieldValue, Point
from pipeline.settings import CollectorOptions

# The fields in the columns of each file below /proc/sys/fs:
# https://docs.kernel.org/admin-guide/sysctl/fs.html
_FILES = {
    "file-nr": ("file-nr", "", "file-max"),
    "inode-state": ("inode-nr", "inode-free-nr", "inode-preshrink-nr"),
    "dentry-state": ("dentry-nr", "dentry-unused-nr", "dentry-age-limit", "dentry-want-pages"),
    "aio-nr": ("aio-nr",),
    "aio-max-nr": ("aio-max-nr",),
}

# What stands for no limit may be beyond what InfluxDB's integers hold.
_LIMITS = ("file-max", "aio-max-nr")
_GREATEST = 2**63 - 1


class LinuxSysctlFs(Collector):
    """Writes `linux_sysctl_fs`, as Telegraf's input of that name: by default a choice of it.

    `include` and `exclude` are of the names of fields. psutil has none of them.
    """

    name = "linux_sysctl_fs"
    default_include = ("file-nr", "file-max", "inode-nr", "inode-free-nr")

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        is_selected = selection(self, options)
        wanted = {
            file: [(place, name) for place, name in enumerate(names) if name and is_selected(name)]
            for file, names in _FILES.items()
        }
        self._files = {file: its for file, its in wanted.items() if its}

    def collect(self) -> Iterator[Point | Omission]:
        """Yield one point; a file that a kernel does not have is left out."""
        fields: dict[str, FieldValue] = {}
        for file, wanted in self._files.items():
            try:
                columns = self.host.read_file(f"{self.host.proc}/sys/fs/{file}").split()
            except FileNotFoundError:
                continue
            except OSError as error:
                yield omission(file, error, points=len(wanted))
                continue
            for place, name in wanted:
                number = figure(columns[place]) if place < len(columns) else UNKNOWN
                fields[name] = min(number, _GREATEST) if name in _LIMITS else number
        if not fields:
            raise NoData
        yield Point("linux_sysctl_fs", fields)
