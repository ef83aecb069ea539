"""VictoriaMetrics takes readings as InfluxDB 2 does, and has no buckets, queries or deletion."""

import json
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from pipeline.clock import SystemClock
from pipeline.health import Health, read_status
from pipeline.influx import Connection, Target
from pipeline.point import decode
from pipeline.retention import Keeper, KnownRule, TrustedClock
from pipeline.settings import Downsample, Settings
from pipeline.spool import Spool, SpoolReader, joined, pack
from tests.agents import eventually, running
from tests.cli.commands import Cli
from tests.retention.test_keeper import HOUR_NS, HurriedClock
from tests.victoria import server
from tests.victoria.server import Key, Victoria

READINGS = 20


@pytest.fixture(scope="module")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victoria]:
    """One for all; each test has a host of its own there."""
    with server.running(tmp_path_factory.mktemp("victoria")) as one:
        yield one


@pytest.fixture
def host() -> str:
    """A host that nobody else has."""
    return f"h-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def given(victoria: Victoria, host: str) -> dict[str, Any]:
    """The settings of an agent that delivers there: it wants words, and any will do."""
    words = {f"influxdb_{name}": "any" for name in ("org", "bucket", "token")}
    return {"influxdb_url": victoria.url, "host": host, **words}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def taken(data_dir: Path) -> dict[Key, float]:
    """All values of the own store, as VictoriaMetrics has them: of a text it keeps that it was."""
    with SpoolReader(data_dir) as reader:
        return {
            (
                f"{line.point.measurement}_{field}",
                tuple(sorted(line.point.tags.items())),
                line.timestamp_ns // 10**6,
            ): (0.0 if isinstance(value, str) else float(value))
            for block in reader.history(0)
            for line in decode(block)
            for field, value in line.point.fields.items()
        }


def limits(victoria: Victoria) -> str:
    """The one sentence."""
    return (
        f"{victoria.url} takes readings and has nothing else of InfluxDB 2 (asked for more it "
        "answers 400): the agent deletes nothing there, so set the age in the server itself, "
        "such as by -retentionPeriod of VictoriaMetrics"
    )


def test_every_value_arrives_and_what_is_not_there_is_told_once(
    victoria: Victoria, host: str, given: dict[str, Any], cli: Cli
) -> None:
    # Five readings a flush: a body of several gzip members.
    pace = {"collection_interval_ms": 100, "flush_interval_ms": 500}
    with running(cli.env(**given, **pace), cli.folder) as agent:
        status = agent.until(lambda s: s["ticks"] >= READINGS and s["delivered_points"] > 0, "some")
        assert agent.stop() == 0
    assert agent.log.count("takes readings and has nothing else of InfluxDB 2") == 1
    assert agent.log.count(limits(victoria)) == 1
    assert status["bucket_drift"] == limits(victoria)
    assert (status["troubles"], status["last_error"]) == ({}, None)
    assert set(status["lost"]) <= {"tick_missed"}  # of a machine that is busy
    left = cli("status", "--json", **given).json()
    assert (left["backlog_points"], left["delivered_points"]) == (0, left["points"])
    values = taken(cli.data_dir)
    assert len(values) > READINGS * 50
    # What is new is found a moment after it was taken.
    eventually(lambda: len(dict(victoria.found(host))) >= len(values), "all arrives")
    # Of fewer digits than a float has, as it keeps decimal numbers.
    assert dict(victoria.found(host)) == pytest.approx(values, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("path", ["", "/", "/influx"])
def test_gzip_members_joined_arrive_whole_and_once_also_below_a_path(
    victoria: Victoria, host: str, given: dict[str, Any], path: str
) -> None:
    now_ms = time.time_ns() // 10**6
    lines = [f"m,host={host} f={n}i {(now_ms + n) * 10**6}" for n in range(3)]
    settings = Settings(**given | {"influxdb_url": victoria.url + path})
    with closing(Connection(settings, SystemClock())) as connection:
        for _ in range(2):  # as after an answer that was lost
            assert connection.write(b"".join(pack(joined([one])) for one in lines)).status == 204
    wanted = {("m_f", (("host", host),), now_ms + n): float(n) for n in range(3)}
    eventually(lambda: victoria.found(host) == sorted(wanted.items()), "all three arrive")


@pytest.mark.parametrize("downsample", [Downsample(), Downsample("5m", 1000, "means")])
def test_sweep_after_sweep_keeps_the_local_age_and_tells_nothing_anew(
    victoria: Victoria, host: str, given: dict[str, Any], spool: Spool, tmp_path: Path,
    downsample: Downsample, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    now = time.time_ns()
    for age_h in (200, 1):
        spool.append([f"m,host={host} f=1i"], now - age_h * HOUR_NS)
    clock = HurriedClock(sweeps=3)
    settings = Settings(**given, data_dir=tmp_path, downsample=downsample)
    health = Health(clock, 60, lambda _: None)
    known = KnownRule(spool.queue())
    target = Target(settings, lambda: settings, clock, known)
    trusted_clock = TrustedClock(clock, spool, health, 3600)
    keeper = Keeper(
        settings, spool, spool.queue(), target, known, clock, trusted_clock, health.server("main")
    )
    keeper.run(clock.stop, Event())
    assert clock.waits == [3600, 3600, 3600]
    assert spool.contents().backlog_points == 1
    wanted = f"downsampling is not as the settings say: {limits(victoria)}"
    trouble = {"downsampling": wanted} if downsample.every else {}
    assert health.troubles() == trouble
    told = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert told == [limits(victoria), *trouble.values()]
    status = read_status(settings).main
    assert (status.bucket_drift, status.bucket_retention_hours) == (limits(victoria), None)


def test_doctor_is_content_and_says_what_is_not_there(
    victoria: Victoria, given: dict[str, Any], cli: Cli
) -> None:
    done = cli("doctor", "--json", **given)
    assert (done.status, done.err) == (0, "")
    found = {one["check"]: one for one in json.loads(done.out)}
    assert found["server"]["message"] == limits(victoria)
    assert {"clock", "write"} <= set(found)
    assert not {"token", "bucket", "query", "delete"} & set(found)


def test_retention_is_kept_in_the_local_copy_alone(
    victoria: Victoria, given: dict[str, Any], cli: Cli
) -> None:
    cli.data_dir.mkdir()
    now = time.time_ns()
    old = now - 200 * HOUR_NS
    with closing(Spool(cli.data_dir, 2**24)) as spool:
        spool.append([f"m f=1i {old}"], old)
        spool.append([f"m f=1i {now}"], now)
    planned = cli("retention", "plan", "--json", **given).json()
    assert planned["left_out"] == limits(victoria)
    (row,) = planned["rows"]
    assert (row["where"], row["older_points"]) == ("local copy", 1)
    done = cli("retention", "apply", **given)
    assert done.status == 0
    assert done.out.count(limits(victoria)) == 1
    assert done.out.splitlines()[-1] == "Older than their age: 1 point before, 0 now."


def test_a_rehearsal_and_a_setup_end_with_a_sentence(
    victoria: Victoria, given: dict[str, Any], cli: Cli
) -> None:
    told = cli("rehearse", **given).error
    assert told == f"a rehearsal counts and deletes in InfluxDB, but {limits(victoria)}"
    told = cli("setup", "--url", victoria.url).error
    assert told.startswith(f"there is nothing to set up: {limits(victoria)}; what is left is to ")
    assert "influxdb_org, influxdb_bucket and influxdb_token" in told
    assert list(cli.config_dir.iterdir()) == []
