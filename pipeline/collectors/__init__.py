"""The collectors: one file per subject, listed here."""

from collections.abc import Mapping

from pipeline.collectors.collector import Collector, Host, NoData
from pipeline.collectors.cpu import Cpu
from pipeline.collectors.disk import Disk
from pipeline.collectors.guard import Guard, Outcome
from pipeline.collectors.mem import Mem
from pipeline.collectors.net import Net
from pipeline.collectors.swap import Swap
from pipeline.collectors.system import System
from pipeline.collectors.system_metrics import SystemMetrics
from pipeline.settings import CollectorOptions

__all__ = ["ALL", "NAMES", "Collector", "Guard", "Host", "NoData", "Outcome", "build"]

ALL: tuple[type[Collector], ...] = (SystemMetrics, Cpu, Mem, Swap, Disk, Net, System)
"""Every collector, in the order in which they run."""

NAMES: tuple[str, ...] = tuple(collector.name for collector in ALL)
"""Their names, which are those of the tables [collectors.<name>] in the settings."""


def build(host: Host, options: Mapping[str, CollectorOptions]) -> tuple[Guard, ...]:
    """Make the collectors that are enabled, each in its guard.

    Args:
        host: What they read.
        options: Name of a collector to its options; one without is enabled, with the defaults.
    """
    default = CollectorOptions()
    chosen = ((collector, options.get(collector.name, default)) for collector in ALL)
    return tuple(
        Guard(collector(host), its, host.clock)
        for collector, its in chosen
        if its.enabled is not False
    )
