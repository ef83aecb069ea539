"""Two agents with different ages on one bucket, for a week of an injected clock.

The week begins now and lies ahead: so the server's own rule, which goes by the server's clock,
has no part in it, and takes every point.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import collectors
from pipeline.agent import Agent
from pipeline.point import decode
from pipeline.retention import TrustedClock
from pipeline.settings import CollectorOptions, Settings
from pipeline.spool import SpoolReader
from tests.agents import eventually
from tests.clocks import SharedClock
from tests.configured import settings_for
from tests.influxd import api
from tests.influxd.api import Bucket

HOUR_S, HOUR_NS = 3600, 3600 * 10**9
SWEEPS_H = 6
ONLY = {
    name: CollectorOptions(enabled=name in ("mem", "swap", "system")) for name in collectors.names()
}
# Host to measurement to age, in hours.
AGES = {
    "web-1": {"mem": 48, "swap": 48, "system": 48},
    'we"b 2': {"mem": 6, "swap": 24, "system": 72},
}
Times = dict[tuple[str, str], set[int]]


@pytest.fixture
def clock() -> SharedClock:
    # A tick, a sweep and a delivery each. At half past, so that no tick and no age fall together.
    start_ns = time.time_ns() // HOUR_NS * HOUR_NS + HOUR_NS // 2
    return SharedClock(threads=3 * len(AGES), start_ns=start_ns)


@pytest.fixture
def agents(bucket: Bucket, clock: SharedClock, tmp_path: Path) -> Iterator[list[Agent]]:
    common: dict[str, object] = {
        "collectors": ONLY,
        "collection_interval_ms": HOUR_S * 1000,
        "cleanup_interval_minutes": SWEEPS_H * 60,
        "flush_interval_ms": HOUR_S * 500,
        "flush_jitter_ms": 0,
    }
    first = settings_for(
        bucket, host="web-1", retention_hours=48, data_dir=tmp_path / "1", **common
    )
    second = settings_for(
        bucket,
        host='we"b 2',
        retention_hours=24,
        retention_overrides={"mem": 6, "system": 72},
        data_dir=tmp_path / "2",
        **common,
    )
    both = [Agent(settings, clock=clock) for settings in (first, second)]
    yield both
    for agent in both:
        agent.close()


def stored(bucket: Bucket) -> Times:
    found: Times = defaultdict(set)
    query = (
        f'from(bucket: "{bucket.name}") |> range(start: 0, stop: 2100-01-01T00:00:00Z)'
        ' |> keep(columns: ["host", "_measurement", "_time"])'
    )
    # Values of different types cannot be in one table.
    for row in api.query(bucket.server, query):
        found[str(row["host"]), str(row["_measurement"])].add(int(str(row["_time"])))
    return found


def kept(settings: Settings) -> Times:
    found: Times = defaultdict(set)
    with SpoolReader(settings.data_dir) as spool:
        for block in spool.history(0):
            for line in decode(block):
                found[line.point.tags["host"], line.point.measurement].add(line.timestamp_ns)
    return found


def until_kept(bucket: Bucket, hours: int) -> None:
    age_s = hours * HOUR_S
    eventually(
        lambda: api.age_s(bucket.server, bucket.name) == age_s, f"the bucket keeps {hours} h"
    )


def test_each_hosts_data_is_as_old_as_its_own_settings_say(
    bucket: Bucket,
    clock: SharedClock,
    agents: list[Agent],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # By the server's date the agents would not believe a clock that is days ahead of it.
    monkeypatch.setattr(TrustedClock, "server_says", lambda *_: None)
    # A bucket that keeps a day, and a third host with data of every hour that nobody looks after.
    api.set_age(bucket, 24)
    start = clock.now_ns()
    lines = [f"mem,host=web f={n}i {start + n * HOUR_NS}" for n in range(7 * 24)]
    for day in range(0, len(lines), 24):  # a shard each hour, for which a write has ten seconds
        text = "\n".join(lines[day : day + 24])
        assert api.write(bucket.server, bucket.name, text.encode())[0] == 204
    third = {start + n * HOUR_NS for n in range(7 * 24)}

    taken: Times = defaultdict(set)
    rules: list[int] = []
    # Who lengthens the rule sweeps again a minute later. Both do, the one that wants less first: a
    # sweep at six hours sharp would have the very first reading just as old as its age.
    for agent, longest_h in zip(agents, (48, 72), strict=True):
        agent.start()
        until_kept(bucket, longest_h)
    for hour in range(0, 7 * 24 + 1, SWEEPS_H):
        clock.go_on(hour * HOUR_S + 120)
        now = clock.now_ns()
        there = stored(bucket)
        rules.append(api.age_s(bucket.server, bucket.name))
        assert there.pop(("web", "mem")) == third
        for agent in agents:
            for key, times in kept(agent.settings).items():
                taken[key] |= times
        for host, its in AGES.items():
            (here,) = (kept(a.settings) for a in agents if a.settings.host == host)
            for measurement, age in its.items():
                key = (host, measurement)
                young = {time for time in taken[key] if time >= now - age * HOUR_NS}
                # Exactly what is younger than the age, nothing else: a sweep has just been.
                assert here[key] == young, (hour, key)
                assert there[key] == young, (hour, key)
                assert len(young) == min(hour, age) + (hour < age), (hour, key)
    assert {len(times) for times in taken.values()} == {7 * 24 + 1}
    # It was lengthened at the start, once by each, and never touched again.
    assert set(rules) == {72 * HOUR_S}
    changes = [text for text in caplog.messages if "retention rule changed" in text]
    assert len(changes) == 2
    for agent in agents:
        agent.stop()
        with SpoolReader(agent.settings.data_dir) as spool:
            contents = spool.contents()
        assert contents.lost == {}
        assert contents.points == contents.delivered_points
