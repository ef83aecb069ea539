"""What goes on, and what is made anew, when the settings change while the jobs run."""

import dataclasses
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest

from pipeline.agent.session import Jobs
from pipeline.clock import SystemClock
from pipeline.settings import CollectorOptions, Settings
from pipeline.spool import SpoolReader
from tests.agents import eventually, ticks
from tests.chaos.servers import response, serving

HOUR_MS = 3_600_000
MINUTE_NS = 60 * 10**9


class ShiftedClock(SystemClock):
    """Differs from the machine's by as much as a test says."""

    shift_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.shift_ns


class Bench:
    """Jobs, and their settings, which change."""

    def __init__(self, data_dir: Path) -> None:
        self.settings = Settings(
            data_dir=data_dir, host="h1", http_port=0, collection_interval_ms=HOUR_MS
        )
        self.clock = ShiftedClock()
        self.jobs = Jobs(self.settings, lambda: self.settings, self.clock)

    def change(self, **changes: Any) -> None:
        self.settings = dataclasses.replace(self.settings, **changes)
        self.jobs.change(self.settings)

    def kept(self) -> str:
        with SpoolReader(self.settings.data_dir) as reader:
            return "".join(reader.history(0))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path)
    yield one
    one.jobs.stop()


def test_an_interval_that_changes_is_told_as_no_gap(bench: Bench, tmp_path: Path) -> None:
    bench.jobs.start()
    for interval_ms in (10, HOUR_MS, 20, 10):
        before = ticks(tmp_path)
        bench.change(collection_interval_ms=interval_ms)
        if interval_ms < HOUR_MS:
            eventually(lambda b=before: ticks(tmp_path) >= b + 3, "readings")  # type: ignore[misc]  # mypy cannot infer the default
    bench.change(collection_interval_ms=HOUR_MS)
    # A late tick is one, and of its own cause; what an agent's absence costs is an hour's here.
    with SpoolReader(tmp_path) as reader:
        untold = [gap.cause for gap in reader.gaps()]
    assert "agent_down" not in untold
    assert "cause=agent_down" not in bench.kept()


def test_whoever_does_not_answer_is_not_asked_again_by_collectors_that_are_made_anew(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")  # and put it back
    asked: list[str] = []
    answer = Event()

    def hangs(path: str) -> os.statvfs_result:
        asked.append(path)
        answer.wait(60)
        return os.statvfs(path)

    host = bench.jobs.host
    assert host is not None
    object.__setattr__(host, "statvfs", hangs)
    object.__setattr__(host, "proc", "/proc/.")  # as of a container: the own root cannot hang
    try:
        for others in (("disk",), ("disk", "swap"), ("disk", "mem")):
            bench.change(collectors={name: CollectorOptions(enabled=False) for name in others})
            bench.jobs.record()
        assert len(asked) == 1
        assert bench.jobs.host is host
        assert "system_metrics" in bench.kept()
        bench.change(host_root=tmp_path)
        assert bench.jobs.host is not host
    finally:
        answer.set()


def test_an_age_that_becomes_shorter_is_guarded_against_a_clock_that_is_ahead(
    bench: Bench,
) -> None:
    bench.clock.shift_ns = -MINUTE_NS * 10
    bench.jobs.record()
    bench.clock.shift_ns = 0
    bench.jobs.sweep()
    bench.change(retention_overrides={"cpu": 1})
    # What the hour's slack of a longer age would let go by takes most of an hour from this one.
    for minutes in (55, 90):
        bench.clock.shift_ns = MINUTE_NS * minutes
        assert bench.jobs.sweep().points == 0
    assert "\ncpu," in bench.kept()


@pytest.mark.slow  # it waits for the old delivery as long as a change does
def test_a_delivery_that_still_waits_for_the_former_server_changes_no_trouble(
    bench: Bench,
) -> None:
    def deliveries() -> int:
        return [thread.name for thread in threading.enumerate()].count("delivery")

    asked = Event()

    def hang(client: socket.socket, over: Event) -> None:
        if client.recv(65536).startswith(b"POST /api/v2/write"):
            asked.set()
            over.wait(60)
        else:
            client.sendall(response("404 Not Found"))

    with serving(hang) as url:
        bench.jobs.record()
        bench.jobs.start()
        bench.change(influxdb_url=url, influxdb_token="t", flush_jitter_ms=0)
        assert asked.wait(30)
        bench.change(influxdb_url="http://127.0.0.1:1")
        assert deliveries() == 2
        eventually(lambda: "delivery" in bench.jobs.health.troubles(), "the new one's trouble")
    eventually(lambda: deliveries() == 1, "the end of the former one")
    assert "http://127.0.0.1:1" in bench.jobs.health.troubles()["delivery"]
