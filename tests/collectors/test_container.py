"""In a container, the collectors read the files of its host, and none of the container's own."""

from dataclasses import replace

import pytest

from pipeline.collectors import ALL
from pipeline.collectors.base import Collector
from pipeline.collectors.conntrack import Conntrack
from pipeline.collectors.net import Net
from pipeline.collectors.nstat import Nstat
from pipeline.point import Point
from tests.clocks import ManualClock

from .fakes import DEFAULTS, FakeHost, guarded

OPTIONS = replace(DEFAULTS, times=True, per_cpu=True)
WITHOUT_FILES = ("file", "disk")  # which have tests of their own


def points(collector: Collector, clock: ManualClock) -> list[Point]:
    clock.advance(1.0)
    return [item for item in collector.collect() if isinstance(item, Point)]


@pytest.mark.parametrize(
    "collector", [each for each in ALL if each.name not in WITHOUT_FILES], ids=lambda its: its.name
)
def test_same_is_read_as_on_the_host_itself(fake: FakeHost, collector: type[Collector]) -> None:
    on_host = points(collector(fake.host(), OPTIONS), fake.clock)
    fake.contain()
    assert points(collector(fake.host(), OPTIONS), fake.clock) == on_host
    assert on_host


@pytest.mark.parametrize("collector", [Net, Nstat, Conntrack])
def test_a_host_that_hides_its_processes_is_told(
    fake: FakeHost, collector: type[Collector]
) -> None:
    fake.contain()
    fake.without("/proc/net/")
    outcome = guarded(collector(fake.host(), DEFAULTS))
    why = "PermissionError: /host/proc hides the processes of others from this user (hidepid)"
    assert why in outcome.problems.values()
