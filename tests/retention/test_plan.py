"""What is too old, and its removal, on the real server and a real spool."""

import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.agent import Session
from pipeline.cli import main
from pipeline.clock import SystemClock, rfc3339
from pipeline.influx import InfluxError
from pipeline.retention import Plan, plan
from pipeline.retention.plan import LOCAL, PlanRow
from pipeline.settings import Downsample, Settings
from pipeline.spool import Spool, SpoolReader
from tests.agents import environment, mirror
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.servers import serving

HOUR_NS = 3600 * 10**9
AGES: Mapping[str, Any] = {"retention_hours": 48, "retention_overrides": {"cpu": 6}}


class Filled:
    """A bucket with points of two hosts of six ages, and a store with the same ages of one."""

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self.bucket, self.folder = bucket, folder
        self.now = time.time_ns()
        with Spool(folder, 2**24) as spool:
            for age in (60, 50, 30, 10, 5, 1):
                lines = [self.line(name, age) for name in ("cpu", "mem")]
                spool.append(lines, self.now - age * HOUR_NS)
                self.put(*lines, *(self.line(name, age, "h2") for name in ("cpu", "mem")))

    def line(self, measurement: str, age_h: int, host: str = "h1", tag: str = "") -> str:
        return f"{measurement},host={host}{tag} f={age_h}i {self.now - age_h * HOUR_NS}"

    def put(self, *lines: str, bucket: str = "") -> None:
        name = bucket or self.bucket.name
        assert api.write(self.bucket.server, name, "\n".join(lines).encode())[0] == 204

    def count(self, host: str, bucket: str = "") -> int:
        return len(self.points(f'|> filter(fn: (r) => r.host == "{host}")', bucket))

    def points(self, pipe: str, bucket: str = "") -> list[dict[str, object]]:
        query = f'from(bucket: "{bucket or self.bucket.name}") |> range(start: 0) {pipe}'
        return api.query(self.bucket.server, query)

    def settings(self, **changes: Any) -> Settings:
        return settings_for(self.bucket, data_dir=self.folder, **changes)


@pytest.fixture
def filled(bucket: Bucket, tmp_path: Path) -> Filled:
    return Filled(bucket, tmp_path)


def apply(settings: Settings) -> list[tuple[str, str, int | None]]:
    """Remove what is too old; return place, measurement and number of what is removed."""
    told: list[tuple[str, str, int | None]] = []
    plan.apply(settings, SystemClock(), lambda w, m, _, n: told.append((w, m, n)))
    return told


def make(settings: Settings) -> Plan:
    plans, failures = plan.make(settings, SystemClock())
    assert failures == []
    return plans["main"]


def rows(settings: Settings) -> dict[tuple[str, str], PlanRow]:
    return {(row.where, row.measurement): row for row in make(settings).rows}


def test_what_is_too_old_is_counted_and_removed_here_and_there(
    filled: Filled, missing: str
) -> None:
    name = filled.bucket.name
    api.create_bucket(filled.bucket.server, missing)
    settings = filled.settings(downsample=Downsample("5m", 100, missing), **AGES)
    lines = [filled.line("mem", age, host) for host in ("h1", "h2") for age in (99, 101)]
    filled.put(*lines, bucket=missing)
    made = make(settings)
    assert (made.host, made.bucket) == ("h1", name)
    assert (made.bucket_retention_hours, made.shard_group_hours) == (0, 168)
    assert made.older_points == 13
    found = rows(settings)
    both = {(where, m) for where in (LOCAL, name) for m in ("cpu", "mem")}
    assert set(found) == both | {(missing, "mem")}
    its = found[missing, "mem"]
    assert (its.retention_hours, its.older_points) == (100, 1)
    for where in (LOCAL, name):
        cpu, mem = found[where, "cpu"], found[where, "mem"]
        assert (cpu.retention_hours, cpu.older_points, cpu.next_sweep_points) == (6, 4, 4)
        assert (mem.retention_hours, mem.older_points, mem.next_sweep_points) == (48, 2, 2)
        assert cpu.oldest == mem.oldest == rfc3339(filled.now - 60 * HOUR_NS)
        assert cpu.rule_removes is None  # the bucket keeps all
    with SpoolReader(filled.folder) as spool:
        assert (filled.count("h1"), spool.contents().backlog_points) == (12, 12)

    told = apply(settings)
    places = (LOCAL, name, missing)
    removed = {where: sum(n or 0 for w, _, n in told if w == where) for where in places}
    assert removed == {LOCAL: 6, name: 6, missing: 1}
    assert {m for _, m, n in told if n} == {"cpu", ""}
    assert make(settings).older_points == 0
    assert (filled.count("h1"), filled.count("h2"), filled.count("h2", missing)) == (6, 12, 2)
    with SpoolReader(filled.folder) as spool:
        contents = spool.contents()
    assert (contents.backlog_points, contents.lost) == (6, {"expired": 6})


def test_the_rule_removes_with_the_lag_of_its_shard_groups(filled: Filled) -> None:
    api.set_age(filled.bucket, 96, shard_hours=24)
    settings = filled.settings(retention_hours=48)
    mem = rows(settings)[filled.bucket.name, "mem"]
    day = 24 * HOUR_NS
    # The group of what is 48 h old ends at a midnight; 96 h and a look of half an hour later.
    earliest = (filled.now - 48 * HOUR_NS) // day * day + day + 96 * HOUR_NS + HOUR_NS // 2
    assert mem.rule_removes in (rfc3339(earliest), rfc3339(earliest + day))
    apply(settings)
    mem = rows(settings)[filled.bucket.name, "mem"]
    assert (mem.older_points, mem.rule_removes) == (0, None)


def test_what_came_late_behind_the_mark_is_older_but_not_the_next_sweeps(filled: Filled) -> None:
    settings = filled.settings(retention_hours=2, bucket_retention="off")
    session = Session(settings, lambda: settings)
    assert session.sweep().remote == 10
    session.stop()
    filled.put(*(filled.line("mem", age) for age in (60, 20)))
    mem = rows(settings)[filled.bucket.name, "mem"]
    assert (mem.older_points, mem.next_sweep_points) == (2, 1)
    apply(settings)
    assert rows(settings)[filled.bucket.name, "mem"].older_points == 0


def test_apply_removes_nothing_by_a_clock_that_influxdb_contradicts(filled: Filled) -> None:
    settings = filled.settings(retention_hours=1)

    def left() -> tuple[object, object]:
        with SpoolReader(filled.folder) as reader:
            return list(reader.history(0)), filled.points('|> drop(columns: ["_stop"])')

    before = left()
    clock = ManualClock(filled.now + 365 * 24 * HOUR_NS)
    with pytest.raises(InfluxError, match=r"nothing was removed: this machine's clock is .* ahead"):
        plan.apply(settings, clock, lambda *_: None)
    assert left() == before
    assert all(before)


def test_apply_may_run_beside_the_agent(filled: Filled) -> None:
    settings = filled.settings(retention_hours=2)
    session = Session(settings, lambda: settings)
    try:
        apply(settings)
        session.record()
    finally:
        session.stop()
    with SpoolReader(filled.folder) as spool:
        contents = spool.contents()
    assert (contents.ticks, contents.lost) == (7, {"expired": 10})


def test_without_a_server_the_plan_is_of_the_local_copy(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new", host="h1", retention_hours=5)
    apply(settings)
    assert (make(settings).rows, settings.data_dir.exists()) == ((), False)
    settings.data_dir.mkdir()
    with Spool(settings.data_dir, 2**24) as spool:
        for age in (10, 1):
            moment = time.time_ns() - age * HOUR_NS
            spool.append([f'cpu t="a b" {moment}', f"mem f=1i {moment}"], moment)
    made = make(settings)
    assert (made.bucket, made.bucket_retention_hours) == ("", None)
    assert {row.measurement: row.older_points for row in made.rows} == {"cpu": 1, "mem": 1}
    apply(settings)
    assert make(settings).older_points == 0
    with SpoolReader(settings.data_dir) as reader:
        assert reader.contents().lost == {}


Command = Callable[..., Result]


@pytest.fixture
def command(bucket: Bucket, tmp_path: Path, _log_restored: None) -> Command:
    """Runs a command of `retention`."""
    env = environment(tmp_path, bucket, retention_hours=48, retention_overrides="{cpu = 6}")

    def run(*words: str, **more: str) -> Result:
        return CliRunner().invoke(main, ["retention", *words], env={**env, **more})

    return run


def test_the_commands_print_and_do_it(filled: Filled, command: Command) -> None:
    name = filled.bucket.name
    before = command("plan")
    assert before.exit_code == 0, before.stderr
    head, *lines = before.stdout.splitlines()
    assert head.split()[:4] == ["where", "measurement", "kept", "older"]
    assert len(lines) == 4
    assert "cpu" in lines[0]
    # To the minute, so that a row has room in 80 columns.
    assert all(re.search(r" \d{4}-\d\d-\d\dT\d\d:\d\dZ ", line) for line in lines), lines
    done = command("apply", METRICS_RETENTION_OVERRIDES="")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.endswith("Older than their age: 8 points before, 0 now.\n")
    assert f"{name}: all before 20" in done.stderr


def test_a_measurement_that_cannot_be_read_costs_its_own_count_alone(
    filled: Filled, command: Command
) -> None:
    name = filled.bucket.name
    filled.put(*(filled.line("bad", age, tag=",_time=x") for age in (60, 1)))
    named = f"Bucket {name!r}: measurement 'bad' cannot be counted"
    assert named in command("plan").stdout
    made = json.loads(command("plan", "--json").stdout)
    assert made["uncounted"] == [{"where": name, "measurement": "bad"}]
    assert (made["host"], [row["older_points"] for row in made["rows"]]) == ("h1", [4, 2, 4, 2])
    done = command("apply")
    assert done.exit_code == 0, done.stderr
    (gone,) = (line for line in done.stderr.splitlines() if "uncounted" in line)
    assert gone.startswith(f"{name}: bad before 20")
    assert gone.endswith(": uncounted points removed")
    assert f"{name}: cpu before 20" in done.stderr
    assert f"{name}: all else before 20" in done.stderr
    assert named in done.stdout  # its young point stays
    assert done.stdout.endswith("Older than their age: 12 points before, 0 now.\n")
    assert filled.count("h2") == 12


def test_a_server_that_does_not_answer_is_told_in_a_sentence(command: Command) -> None:
    for word in ("plan", "apply"):
        done = command(word, METRICS_INFLUXDB_URL="http://127.0.0.1:1")
        assert (done.exit_code, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("metrics-pipeline: no answer from http://127.0.0.1:1: ")


def test_each_server_is_told_and_swept_whichever_is_down(
    filled: Filled, missing: str, command: Command
) -> None:
    api.create_bucket(filled.bucket.server, missing)
    filled.put(*(filled.line("mem", 60, host) for host in ("h1", "h2")), bucket=missing)
    its = mirror(Bucket(filled.bucket.server, missing, ""))
    both = {f"METRICS_{name.upper()}": str(value) for name, value in its.items()}
    shown = command("plan", **both)
    assert shown.exit_code == 0, shown.stderr
    assert re.search(rf"^b: {missing} +mem ", shown.stdout, re.MULTILINE)
    made = json.loads(command("plan", "--json", **both).stdout)
    assert (made["bucket"], made["mirrors"]["b"]["bucket"]) == (filled.bucket.name, missing)
    assert [row["where"] for row in made["mirrors"]["b"]["rows"]] == [missing]
    assert [row["older_points"] for row in made["rows"]] == [4, 2, 4, 2]

    down = {**both, "METRICS_INFLUXDB_URL": "http://127.0.0.1:1"}
    done = command("apply", **down)
    assert done.exit_code == 1
    assert f"b: {missing}: all else before 20" in done.stderr
    (failure,) = (line for line in done.stderr.splitlines() if line.startswith("metrics-pipeline"))
    assert failure.startswith("metrics-pipeline: no answer from http://127.0.0.1:1: ")
    assert done.stdout.endswith("Older than their age: 7 points before, 0 now.\n")
    assert (filled.count("h1"), filled.count("h1", missing), filled.count("h2", missing)) == (
        12,
        0,
        1,
    )

    def wait_long(_: socket.socket, over: Event) -> None:
        over.wait(60)  # much longer than the timeout, then the connection ends

    with serving(wait_long) as url:
        silent = {"METRICS_MIRRORS__B__URL": url, "METRICS_MIRRORS__B__TIMEOUT_S": "1"}
        done = command("plan", **{**both, **silent})
    (failure,) = done.stderr.splitlines()
    assert failure == f"metrics-pipeline: no answer from {url}: timed out"

    nobody = {**down, "METRICS_MIRRORS__B__URL": "http://127.0.0.1:1"}
    before = command("plan", **down).stdout
    assert "before 20" not in command("apply", **nobody).stderr
    assert command("plan", **down).stdout == before
