"""In a container, the collectors read the files of its host, and none of the container's own."""

import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipeline.collectors import Guard, Host
from pipeline.collectors.base import Collector
from pipeline.collectors.conntrack import Conntrack
from pipeline.collectors.cpu import Cpu
from pipeline.collectors.diskio import DiskIo
from pipeline.collectors.kernel import Kernel
from pipeline.collectors.linux_sysctl_fs import LinuxSysctlFs
from pipeline.collectors.mem import Mem
from pipeline.collectors.net import Net
from pipeline.collectors.nstat import Nstat
from pipeline.collectors.pressure import Pressure
from pipeline.collectors.process import Process
from pipeline.collectors.processes import Processes
from pipeline.collectors.swap import Swap
from pipeline.collectors.system import System
from pipeline.collectors.system_metrics import Summary
from pipeline.collectors.temp import Temp
from pipeline.point import Point
from tests.clocks import ManualClock

from .fakes import DEFAULTS, FakeHost, statvfs

READERS: list[type[Collector]] = [
    Summary,
    Cpu,
    Kernel,
    System,
    Mem,
    Swap,
    Net,
    Nstat,
    Conntrack,
    LinuxSysctlFs,
    Pressure,
    DiskIo,
    Processes,
    Process,
    Temp,
]
OPTIONS = replace(DEFAULTS, times=True, per_cpu=True)


def read(fake: FakeHost, collector: type[Collector]) -> list[Point]:
    made = collector(fake.host(), OPTIONS)
    fake.clock.advance(1.0)
    return [item for item in made.collect() if isinstance(item, Point)]


@pytest.mark.parametrize("collector", READERS)
def test_same_is_read_as_on_the_host_itself(fake: FakeHost, collector: type[Collector]) -> None:
    on_host = read(fake, collector)
    fake.contain()
    assert read(fake, collector) == on_host


def test_system_disk_is_the_hosts(fake: FakeHost) -> None:
    looked_at = []

    def look(path: str) -> os.statvfs_result:
        looked_at.append(path)
        return statvfs()

    fake.root = "/host"
    list(Summary(fake.host(look), DEFAULTS).collect())
    assert looked_at == ["/host/"]


@pytest.mark.parametrize(
    "collector", [Cpu, Kernel, System, Mem, Swap, Net, Nstat, DiskIo, Processes]
)
def test_this_machine_seen_in_another_folder(
    collector: type[Collector], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")  # and put it back
    for name in ("proc", "sys", "etc"):
        (tmp_path / name).symlink_to(f"/{name}")

    def series(root: Path) -> set[frozenset[tuple[str, str]]]:
        clock = ManualClock()
        made = collector(Host.system(clock, root), OPTIONS)
        clock.advance(1.0)
        return {frozenset(p.tags.items()) for p in made.collect() if isinstance(p, Point)}

    assert series(tmp_path) == series(Path("/"))


@pytest.mark.parametrize("collector", [Net, Nstat, Conntrack])
def test_a_host_that_hides_its_processes_is_told(
    fake: FakeHost, collector: type[Collector]
) -> None:
    fake.contain()
    fake.files = {path: text for path, text in fake.files.items() if "/proc/1/" not in path}
    why = "PermissionError: /host/proc hides the processes of others from this user (hidepid)"
    outcome = Guard(collector(fake.host(), DEFAULTS), DEFAULTS, fake.clock).run(1, {})
    assert why in outcome.problems.values()
