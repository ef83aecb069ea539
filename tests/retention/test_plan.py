"""What is too old, and its removal, on the real server and a real spool."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.agent import Session
from pipeline.cli import main
from pipeline.clock import SystemClock, rfc3339
from pipeline.influx import InfluxError
from pipeline.retention import plan
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


@pytest.fixture
def now() -> int:
    return time.time_ns()


@pytest.fixture
def filled(bucket: Bucket, tmp_path: Path, now: int) -> Bucket:
    """Points of two hosts of six ages there, and of the same ages here."""
    with Spool(tmp_path, 2**24) as spool:
        for age in (60, 50, 30, 10, 5, 1):
            moment = now - age * HOUR_NS
            lines = [f"{name},host=h1 f={age}i {moment}" for name in ("cpu", "mem")]
            spool.append(lines, moment)
            other = [f"{name},host=h2 f={age}i {moment}" for name in ("cpu", "mem")]
            text = "\n".join([*lines, *other])
            assert api.write(bucket.server, bucket.name, text.encode())[0] == 204
    return bucket


@pytest.fixture
def means(bucket: Bucket) -> Iterator[str]:
    name = f"{bucket.name}-means"
    api.create_bucket(bucket.server, name)
    yield name
    api.delete_bucket(bucket.server, name)


def rows(made: plan.Plan) -> dict[tuple[str, str], PlanRow]:
    return {(row.where, row.measurement): row for row in made.rows}


def count(bucket: Bucket, host: str) -> int:
    query = (
        f'from(bucket: "{bucket.name}") |> range(start: 0) |> filter(fn: (r) => r.host == "{host}")'
    )
    return len(api.query(bucket.server, query))


def test_what_is_older_is_counted_with_its_oldest_there_and_here(
    filled: Bucket, tmp_path: Path, now: int
) -> None:
    settings = settings_for(filled, data_dir=tmp_path, **AGES)
    made = plan.make(settings, SystemClock())
    assert (made.host, made.bucket) == ("h1", filled.name)
    assert (made.bucket_retention_hours, made.shard_group_hours) == (0, 168)
    assert made.older_points == 12
    found = rows(made)
    assert set(found) == {(where, m) for where in (LOCAL, filled.name) for m in ("cpu", "mem")}
    for where in (LOCAL, filled.name):
        cpu, mem = found[where, "cpu"], found[where, "mem"]
        assert (cpu.retention_hours, cpu.older_points, cpu.next_sweep_points) == (6, 4, 4)
        assert (mem.retention_hours, mem.older_points, mem.next_sweep_points) == (48, 2, 2)
        assert cpu.oldest == mem.oldest == rfc3339(now - 60 * HOUR_NS)
        assert cpu.rule_removes is None  # the bucket keeps all
    assert count(filled, "h1") == 12
    with SpoolReader(tmp_path) as spool:
        assert spool.contents().backlog_points == 12


def test_the_rule_removes_with_the_lag_of_its_shard_groups(
    filled: Bucket, tmp_path: Path, now: int
) -> None:
    api.set_age(filled, 96, shard_hours=24)
    settings = settings_for(filled, data_dir=tmp_path, retention_hours=48)
    mem = rows(plan.make(settings, SystemClock()))[filled.name, "mem"]
    day = 24 * HOUR_NS
    # The group of what is 48 h old ends at a midnight; 96 h and a look of half an hour later.
    earliest = (now - 48 * HOUR_NS) // day * day + day + 96 * HOUR_NS + HOUR_NS // 2
    assert mem.rule_removes in (rfc3339(earliest), rfc3339(earliest + day))
    plan.apply(settings, SystemClock(), lambda *_: None)
    mem = rows(plan.make(settings, SystemClock()))[filled.name, "mem"]
    assert (mem.older_points, mem.rule_removes) == (0, None)


def test_what_came_late_behind_the_mark_is_older_but_not_the_next_sweeps(
    filled: Bucket, tmp_path: Path, now: int
) -> None:
    settings = settings_for(filled, data_dir=tmp_path, retention_hours=2, bucket_retention="off")
    session = Session(settings, lambda: settings)
    assert session.sweep().remote == 10
    session.stop()
    late = "\n".join(f"mem,host=h1 f=1i {now - age * HOUR_NS}" for age in (60, 20))
    assert api.write(filled.server, filled.name, late.encode())[0] == 204
    mem = rows(plan.make(settings, SystemClock()))[filled.name, "mem"]
    assert (mem.older_points, mem.next_sweep_points) == (2, 1)
    plan.apply(settings, SystemClock(), lambda *_: None)
    assert rows(plan.make(settings, SystemClock()))[filled.name, "mem"].older_points == 0


def test_apply_removes_it_with_progress_and_touches_no_other_host(
    filled: Bucket, tmp_path: Path
) -> None:
    settings = settings_for(filled, data_dir=tmp_path, **AGES)
    told: list[tuple[str, str, int | None]] = []
    plan.apply(settings, SystemClock(), lambda w, m, _, n: told.append((w, m, n)))
    removed = {
        where: sum(n or 0 for w, _, n in told if w == where) for where in (LOCAL, filled.name)
    }
    assert removed == {LOCAL: 6, filled.name: 6}
    assert {m for _, m, n in told if n} == {"cpu", ""}
    assert plan.make(settings, SystemClock()).older_points == 0
    assert (count(filled, "h1"), count(filled, "h2")) == (6, 12)
    with SpoolReader(tmp_path) as spool:
        contents = spool.contents()
    assert (contents.backlog_points, contents.lost) == (6, {"expired": 6})


def test_a_measurement_that_cannot_be_read_costs_its_own_count_alone(
    filled: Bucket, tmp_path: Path, now: int
) -> None:
    bad = "\n".join(f"bad,host=h1,_value=x f=1i {now - age * HOUR_NS}" for age in (60, 1))
    assert api.write(filled.server, filled.name, bad.encode())[0] == 204
    settings = settings_for(filled, data_dir=tmp_path, **AGES)
    made = plan.make(settings, SystemClock())
    assert made.older_points == 12
    assert made.uncounted == (plan.Uncounted(filled.name, "bad"),)
    told: list[tuple[str, str, int | None]] = []
    plan.apply(settings, SystemClock(), lambda w, m, _, n: told.append((w, m, n)))
    assert [(w, m) for w, m, n in told if n is None] == [(filled.name, "bad")]
    assert sum(n or 0 for _, _, n in told) == 12
    after = plan.make(settings, SystemClock())
    assert (after.older_points, after.uncounted) == (0, made.uncounted)  # its young point stays
    assert (count(filled, "h2")) == 12
    assert (
        filled.server.call(
            "POST",
            f"/api/v2/delete?org={filled.server.org}&bucket={filled.name}",
            {
                "start": "1970-01-01T00:00:00Z",
                "stop": rfc3339(now),
                "predicate": '_measurement="bad"',
            },
        ).status
        == 204
    )
    assert plan.make(settings, SystemClock()).uncounted == ()


def test_apply_removes_nothing_by_a_clock_that_influxdb_contradicts(
    filled: Bucket, tmp_path: Path
) -> None:
    settings = settings_for(filled, host="h1", data_dir=tmp_path, retention_hours=1)
    with SpoolReader(tmp_path) as reader:
        here = list(reader.history(0))
    clock = ManualClock(time.time_ns() + 365 * 86_400 * 10**9)
    query = f'from(bucket: "{filled.name}") |> range(start: 0) |> drop(columns: ["_stop"])'
    before = api.query(filled.server, query)
    assert before
    with pytest.raises(InfluxError, match=r"nothing was removed: this machine's clock is .* ahead"):
        plan.apply(settings, clock, lambda *_: None)
    assert api.query(filled.server, query) == before
    with SpoolReader(tmp_path) as reader:
        assert list(reader.history(0)) == here != []


def test_apply_may_run_beside_the_agent(filled: Bucket, tmp_path: Path) -> None:
    settings = settings_for(filled, data_dir=tmp_path, retention_hours=2)
    session = Session(settings, lambda: settings)
    try:
        plan.apply(settings, SystemClock(), lambda *_: None)
        session.record()
    finally:
        session.stop()
    with SpoolReader(tmp_path) as spool:
        contents = spool.contents()
    assert contents.ticks == 7
    assert contents.lost == {"expired": 10}


def test_the_means_of_this_host_have_their_own_age(
    filled: Bucket, means: str, tmp_path: Path, now: int
) -> None:
    text = "\n".join(
        f"mem,host={host} f=1 {now - age * HOUR_NS}" for host in ("h1", "h2") for age in (99, 101)
    )
    assert api.write(filled.server, means, text.encode())[0] == 204
    wanted = Downsample("5m", 100, means)
    settings = settings_for(filled, data_dir=tmp_path, downsample=wanted, **AGES)
    row = rows(plan.make(settings, SystemClock()))[means, "mem"]
    assert (row.retention_hours, row.older_points) == (100, 1)
    plan.apply(settings, SystemClock(), lambda *_: None)
    assert rows(plan.make(settings, SystemClock()))[means, "mem"].older_points == 0
    assert count(Bucket(filled.server, means, ""), "h2") == 2


def test_without_a_server_the_plan_is_of_the_local_copy(tmp_path: Path, now: int) -> None:
    with Spool(tmp_path, 2**24) as spool:
        for age in (10, 1):
            moment = now - age * HOUR_NS
            spool.append([f'cpu t="a b" {moment}', f"mem f=1i {moment}"], moment)
    settings = Settings(data_dir=tmp_path, host="h1", retention_hours=5)
    made = plan.make(settings, SystemClock())
    assert (made.bucket, made.bucket_retention_hours) == ("", None)
    assert {m: row.older_points for (_, m), row in rows(made).items()} == {"cpu": 1, "mem": 1}
    plan.apply(settings, SystemClock(), lambda *_: None)
    assert plan.make(settings, SystemClock()).older_points == 0
    with SpoolReader(tmp_path) as spool:
        assert spool.contents().lost == {}


def test_before_there_is_a_spool_nothing_is_too_old(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "none")
    plan.apply(settings, SystemClock(), lambda *_: None)
    assert plan.make(settings, SystemClock()).rows == ()
    assert not (tmp_path / "none").exists()


Command = Callable[..., Result]


@pytest.fixture
def command(bucket: Bucket, tmp_path: Path, _log_restored: None) -> Command:
    """Runs a command of `retention`."""
    env = environment(tmp_path, bucket, retention_hours=48, retention_overrides="{cpu = 6}")

    def run(*words: str, **more: str) -> Result:
        return CliRunner().invoke(main, ["retention", *words], env={**env, **more})

    return run


def test_the_commands_print_and_do_it(filled: Bucket, command: Command) -> None:
    before = command("plan")
    assert before.exit_code == 0, before.stderr
    head, *lines = before.stdout.splitlines()
    assert head.split()[:4] == ["where", "measurement", "kept", "older"]
    assert len(lines) == 4
    assert "cpu" in lines[0]
    # To the minute, so that a row has room in 80 columns.
    assert all(re.search(r" \d{4}-\d\d-\d\dT\d\d:\d\dZ ", line) for line in lines), lines
    made = json.loads(command("plan", "--json").stdout)
    assert made["host"] == "h1"
    assert [row["older_points"] for row in made["rows"]] == [4, 2, 4, 2]
    done = command("apply")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Older than their age: 12 points before, 0 now."
    assert f"{filled.name}: cpu before 20" in done.stderr
    assert f"{filled.name}: all else before 20" in done.stderr
    again = command("apply", METRICS_RETENTION_OVERRIDES="")
    assert again.stdout.endswith("Older than their age: 0 points before, 0 now.\n")
    assert f"{filled.name}: all before 20" in again.stderr


def test_what_cannot_be_counted_is_named(filled: Bucket, command: Command, now: int) -> None:
    line = f"bad,host=h1,_time=x f=1i {now - 60 * HOUR_NS}"
    assert api.write(filled.server, filled.name, line.encode())[0] == 204
    before = command("plan")
    assert before.exit_code == 0, before.stderr
    assert f"Bucket {filled.name!r}: measurement 'bad' cannot be counted" in before.stdout
    uncounted = [{"where": filled.name, "measurement": "bad"}]
    assert json.loads(command("plan", "--json").stdout)["uncounted"] == uncounted
    done = command("apply")
    assert done.exit_code == 0, done.stderr
    assert f"{filled.name}: bad before 20" in done.stderr
    assert "uncounted points removed" in done.stderr
    assert "cannot be counted" not in done.stdout


def test_a_server_that_does_not_answer_is_told_in_a_sentence(
    command: Command,
) -> None:
    for word in ("plan", "apply"):
        done = command(word, METRICS_INFLUXDB_URL="http://127.0.0.1:1")
        assert done.exit_code == 1
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith("metrics-pipeline: no answer from http://127.0.0.1:1: ")


def test_each_server_is_told_and_swept_whichever_is_down(
    filled: Bucket, means: str, command: Command, now: int
) -> None:
    text = "\n".join(f"mem,host={host} f=1i {now - 60 * HOUR_NS}" for host in ("h1", "h2"))
    assert api.write(filled.server, means, text.encode())[0] == 204
    its = mirror(Bucket(filled.server, means, ""))
    both = {f"METRICS_{name.upper()}": str(value) for name, value in its.items()}
    shown = command("plan", **both)
    assert shown.exit_code == 0, shown.stderr
    assert re.search(rf"^b: {means} +mem ", shown.stdout, re.MULTILINE)
    made = json.loads(command("plan", "--json", **both).stdout)
    assert (made["bucket"], made["mirrors"]["b"]["bucket"]) == (filled.name, means)
    assert [row["where"] for row in made["mirrors"]["b"]["rows"]] == [means]
    assert [row["older_points"] for row in made["rows"]] == [4, 2, 4, 2]

    down = {**both, "METRICS_INFLUXDB_URL": "http://127.0.0.1:1"}
    done = command("apply", **down)
    assert done.exit_code == 1
    assert f"b: {means}: all else before 20" in done.stderr
    (failure,) = (line for line in done.stderr.splitlines() if line.startswith("metrics-pipeline"))
    assert failure.startswith("metrics-pipeline: no answer from http://127.0.0.1:1: ")
    assert done.stdout.endswith("Older than their age: 7 points before, 0 now.\n")
    assert (count(filled, "h1"), count(Bucket(filled.server, means, ""), "h1")) == (12, 0)
    assert count(Bucket(filled.server, means, ""), "h2") == 1

    def wait_long(_: socket.socket, over: Event) -> None:
        over.wait(60)  # much longer than the timeout, then the connection ends

    with serving(wait_long) as url:
        silent = {"METRICS_MIRRORS__B__URL": url, "METRICS_MIRRORS__B__TIMEOUT_S": "1"}
        done = command("plan", **{**both, **silent})
    (failure,) = done.stderr.splitlines()
    assert failure == f"metrics-pipeline: no answer from {url}: timed out"

    nobody = {**down, "METRICS_MIRRORS__B__URL": "http://127.0.0.1:1"}
    before = command("plan", **down).stdout
    done = command("apply", **nobody)
    assert "before 20" not in done.stderr
    assert command("plan", **down).stdout == before
