"""The collectors: one file per subject, listed here."""

from collections.abc import Mapping

from pipeline.clock import Clock
from pipeline.collectors import catalogue, plugins
from pipeline.collectors._host.host import Host
from pipeline.collectors.base import Collector, NoData, Omission, Silence, reason
from pipeline.collectors.cgroup import Cgroup
from pipeline.collectors.conntrack import Conntrack
from pipeline.collectors.cpu import Cpu
from pipeline.collectors.disk import Disk
from pipeline.collectors.diskio import DiskIo
from pipeline.collectors.file import File
from pipeline.collectors.guard import Guard, Outcome
from pipeline.collectors.interrupts import Interrupts
from pipeline.collectors.kernel import Kernel
from pipeline.collectors.linux_sysctl_fs import LinuxSysctlFs
from pipeline.collectors.mem import Mem
from pipeline.collectors.net import Net
from pipeline.collectors.netstat import Netstat
from pipeline.collectors.nstat import Nstat
from pipeline.collectors.pressure import Pressure
from pipeline.collectors.process import Process
from pipeline.collectors.processes import Processes
from pipeline.collectors.sensors import Sensors
from pipeline.collectors.swap import Swap
from pipeline.collectors.system import System
from pipeline.collectors.system_metrics import CpuMetrics, SpaceMetrics, Summary
from pipeline.collectors.systemd_units import SystemdUnits
from pipeline.collectors.temp import Temp
from pipeline.settings import CollectorOptions

__all__ = [
    "AGENT",
    "ALL",
    "Collector",
    "CpuMetrics",
    "Guard",
    "Host",
    "NoData",
    "Omission",
    "Outcome",
    "Silence",
    "SpaceMetrics",
    "Summary",
    "build",
    "catalogue",
    "guarded",
    "names",
    "reason",
]

ALL: tuple[type[Collector], ...] = (
    Summary,
    Temp,
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
    Disk,
    File,
    Netstat,
    Interrupts,
    SystemdUnits,
    Cgroup,
    Sensors,
)
"""The collectors of this package, in the order in which they run: sharers of a reading together."""

AGENT = "metrics_agent"
"""The name of the agent on itself, which is no host's subject and so not among them."""

_OWN_NAMES = tuple(collector.name for collector in ALL)


def names() -> tuple[str, ...]:
    """Return the names of all collectors, also those of other packages.

    They are those of the tables [collectors.<name>] in the settings.
    """
    return tuple(dict.fromkeys((*_OWN_NAMES, AGENT, *plugins.names())))


def build(host: Host, options: Mapping[str, CollectorOptions]) -> tuple[Guard, ...]:
    """Make the collectors that are enabled, each in its guard; one that fails is a warning."""
    unwanted = {name for name, its in options.items() if its.enabled is False}
    guards = []
    for collector in (*ALL, *plugins.load((*_OWN_NAMES, AGENT), unwanted)):
        its = options.get(collector.name, CollectorOptions())
        try:
            if _is_enabled(collector, its):
                guards.append(Guard(collector(host, its), its, host.clock, host.runner.begin))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it may do anything
            plugins.warn(collector.name, error)
    return tuple(guards)


def guarded(
    collector: Collector, options: Mapping[str, CollectorOptions], clock: Clock
) -> tuple[Guard, ...]:
    """Put a collector that is made already in its guard; nothing if it is not enabled."""
    its = options.get(collector.name, CollectorOptions())
    return (Guard(collector, its, clock),) if _is_enabled(collector, its) else ()


def _is_enabled(collector: Collector | type[Collector], its: CollectorOptions) -> bool:
    return collector.default_enabled if its.enabled is None else its.enabled
