"""What the service manager is told, on a socket of the test's own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.agent.systemd import Notifier
from pipeline.health import Health, ReadingStats
from tests.agents import environment, eventually
from tests.clocks import ManualClock

MORE_TIME = "EXTEND_TIMEOUT_USEC=600000000"


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address[0] == "@" else address)
        self._socket.setblocking(False)
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        """Return all that was told."""
        while True:
            try:
                self.heard += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.heard

    def told(self) -> list[str]:
        """Return what was told since this was asked before."""
        self.heard.clear()
        return [*self.listen()]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with closing(Manager(str(tmp_path / "notify"))) as one:
        yield one


@pytest.fixture
def notifier(manager: Manager, health: Health) -> Notifier:
    return notifying(health, manager.address)


def notifying(health: Health | None, address: str, **environ: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": address, **environ}, lambda: health)


def test_ready_is_told_once_after_the_first_durable_reading(
    manager: Manager, notifier: Notifier, health: Health
) -> None:
    notifier.look()
    assert manager.told() == [MORE_TIME, "WATCHDOG=1", "STATUS=Starting"]
    health.reading_committed(ReadingStats(0.1, 42, {}))
    notifier.look()
    assert manager.told() == ["READY=1", "WATCHDOG=1", "STATUS=42 points a reading"]
    notifier.look()
    assert manager.told() == ["WATCHDOG=1"]


def test_ticks_that_do_not_pass_starve_the_watchdog_and_a_full_disk_does_not(
    manager: Manager, notifier: Notifier, health: Health, clock: ManualClock
) -> None:
    health.tick_attempted()
    clock.advance(3 * 60.0 + 1)
    notifier.look()
    assert manager.told() == ["STATUS=Starting"]
    health.trouble("spool").begins("the disk\nis full")
    health.tick_attempted()
    notifier.look()
    assert manager.told() == [MORE_TIME, "WATCHDOG=1", "STATUS=spool: the disk is full"]


def test_a_start_asks_for_time_and_vouches_for_nothing() -> None:
    with closing(Manager(f"@metrics-{os.getpid()}")) as manager:  # an abstract address
        notifier = notifying(None, manager.address)
        notifier.starting()
        notifier.look()
        assert manager.told() == [MORE_TIME]


def test_a_start_has_time_for_as_long_as_readings_are_taken_and_none_is_durable(
    manager: Manager, notifier: Notifier, health: Health, clock: ManualClock
) -> None:
    for _ in range(60):
        clock.advance(60.0)
        health.tick_attempted()
        notifier.look()
        assert MORE_TIME in manager.told()
    clock.advance(3 * 60.0 + 1)  # no tick passes: it is for the manager to end that
    notifier.look()
    assert manager.told() == []
    health.reading_committed(ReadingStats(0.1, 42, {}))
    health.tick_attempted()
    notifier.look()
    assert MORE_TIME not in manager.told()


@pytest.mark.parametrize(
    ("environ", "pause_s"),
    [
        ({}, 10.0),
        ({"WATCHDOG_USEC": "8000000"}, 2.0),
        ({"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": str(os.getpid())}, 2.0),
        ({"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"}, 10.0),
        ({"WATCHDOG_USEC": "0"}, 10.0),
        ({"WATCHDOG_USEC": "soon"}, 10.0),
    ],
)
def test_signs_of_life_come_four_times_as_often_as_they_must(
    environ: dict[str, str], pause_s: float, health: Health, tmp_path: Path
) -> None:
    one = notifying(health, str(tmp_path / "nobody"), **environ)
    assert one.look() == 0.05  # until it is ready
    health.reading_committed(ReadingStats(0.1, 42, {}))
    assert [one.look() for _ in range(2)] == [pause_s] * 2


def test_without_a_manager_there_is_nothing_to_do(health: Health) -> None:
    one = notifying(health, "")
    assert one.look() >= 3600
    one.stopping()


NO_OTHER_THREAD = """
import threading
from pipeline.cli import main
start = threading.Thread.start
def refuse(self):
    if self.name not in ("tick", "settings", "sweep"):
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = refuse
main(["run"])
"""


@pytest.mark.slow
def test_the_agent_tells_when_it_is_ready_and_when_it_stops_and_needs_no_thread_for_that(
    manager: Manager, tmp_path: Path
) -> None:
    told = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    env = environment(tmp_path / "data") | told
    with subprocess.Popen([sys.executable, "-c", NO_OTHER_THREAD], env=env) as agent:
        try:
            eventually(lambda: "READY=1" in manager.listen(), "that it is ready")
            alive = manager.heard.count("WATCHDOG=1")
            eventually(lambda: manager.listen().count("WATCHDOG=1") > alive + 3, "signs of life")
            assert manager.heard.count("READY=1") == 1
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(30) == 0
        finally:
            agent.kill()
    assert manager.listen()[-1] == "STOPPING=1"
