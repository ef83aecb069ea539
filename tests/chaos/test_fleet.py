"""Hundreds of hosts that come back at once do not knock the server down, and every one drains."""

import logging
import shutil
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import pairwise
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pipeline.delivery import LONGEST_WAIT_S, SPACING_S, Pace
from pipeline.settings import MAIN
from pipeline.spool import Spool
from tests.chaos.fleet import Influx, Request, Simulation, host

pytestmark = pytest.mark.slow  # much to write, and to break

HOSTS = 500
READINGS, LINES = 16, 8
PACE = Pace(flush_interval_s=10, jitter_s=2, batch_max_points=64)
# A full body takes a twentieth of a second, as 5,000 lines take a real server.
RATE = 20.0 * PACE.batch_max_points


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that can be had: the disk is not what is looked at."""
    memory = Path("/dev/shm")  # noqa: S108  # made by mkdtemp
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def simulate(
    folder: Path,
    outages: Mapping[str, tuple[float, int]],
    *,
    hosts: int = HOSTS,
    rate: float = RATE,
) -> tuple[dict[str, Influx], set[str]]:
    """Return the servers after all is over, and the lines that each host had.

    Args:
        folder: Where their backlogs are made.
        outages: Server to how long it is down, in seconds, and what it asks for meanwhile.
        hosts: How many.
        rate: How many lines each server takes a second.
    """
    readings = [[f"m,id={n} f=1i {reading}" for n in range(LINES)] for reading in range(READINGS)]
    backlog = folder / "backlog"
    backlog.mkdir()
    with Spool(backlog, 2**24) as spool:
        deque(spool.serve(outages.keys() - {MAIN}), maxlen=0)
        for number, lines in enumerate(readings):
            spool.append(lines, number)
    simulation = Simulation()
    servers = {name: Influx(simulation, rate, *outage) for name, outage in outages.items()}
    with ExitStack() as stack:
        jobs = []
        for number in range(hosts):
            own = shutil.copytree(backlog, folder / f"h{number}")
            spool = stack.enter_context(Spool(own, 2**24))
            jobs += [
                host(own.name, spool, simulation, name, influx, PACE)
                for name, influx in servers.items()
            ]
        simulation.run(jobs)
    return servers, {line for lines in readings for line in lines}


def most_under_way(requests: list[Request]) -> int:
    """The most lines that lay with the server at one time."""
    changes = sorted(
        change
        for request in requests
        for change in ((request.began, request.lines), (request.ended, -request.lines))
    )
    most = now = 0
    for _, lines in changes:
        now += lines
        most = max(most, now)
    return most


def bound(hosts: int, rate: float = RATE) -> float:
    """How many lines may lie with the server at one time.

    Of the law in `rest_s`, with a factor for the beginning, when nobody knows how full it is.
    """
    capacity = rate / PACE.batch_max_points
    return 2 * sqrt(hosts * capacity) * PACE.batch_max_points


def test_500_hosts_that_return_at_once_drain_at_a_bounded_rate(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Main is there after a power cut; the mirror is down, and asks all for the same Retry-After.

    Each has to bear no more than it would alone.
    """
    caplog.set_level(logging.ERROR)
    servers, expected = simulate(folder, {MAIN: (0.0, 0), "b": (100.0, 60)})
    for influx in servers.values():
        assert influx.stored == {f"h{number}": expected for number in range(HOSTS)}
        drains_at_a_bounded_rate(influx)


def drains_at_a_bounded_rate(influx: Influx) -> None:
    by_host = defaultdict(list)
    for request in influx.requests:
        by_host[request.host].append(request)
    for requests in by_host.values():
        for one, next_one in pairwise(requests):
            assert next_one.began >= one.ended  # one at a time
            assert next_one.began - one.began > SPACING_S * 0.999

    delivered = [request for request in influx.requests if request.status == 204]
    assert most_under_way(delivered) < bound(HOSTS) < HOSTS * PACE.batch_max_points
    # The server is never idle for long while there is something to send, so that the pace costs
    # little: what it must do at least is all lines at its rate.
    lasted = max(r.ended for r in delivered) - min(r.began for r in delivered)
    assert lasted < 1.5 * sum(r.lines for r in delivered) / RATE + LONGEST_WAIT_S


@pytest.mark.parametrize("rests", [True, False])
def test_without_a_rest_nearly_all_hosts_would_lie_with_the_server_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, rests: bool
) -> None:
    """The bound is no truism: the rest and the small first bodies keep it."""
    if not rests:
        monkeypatch.setattr("pipeline.delivery.delivery.rest_s", lambda random, took_s: 0.0)
        monkeypatch.setattr("pipeline.delivery.pacing._FIRST_SHARE", 1)
    hosts, slow = 40, RATE / 4
    servers, _ = simulate(folder, {MAIN: (0.0, 0)}, hosts=hosts, rate=slow)
    within = most_under_way(servers[MAIN].requests) < bound(hosts, slow)
    assert within is rests
