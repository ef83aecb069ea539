"""The task, made, run and removed on the real server."""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.collectors import catalogue
from pipeline.influx.connection import Connection
from pipeline.influx.tasks import flux, reconcile, task_name
from pipeline.point import Point, encode
from pipeline.settings import Downsample, Settings
from tests.agents import eventually
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influxd import api
from tests.influxd.api import Bucket

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
SECOND = 10**9


@pytest.fixture
def means(bucket: Bucket) -> Iterator[Bucket]:
    """The bucket that the means go to."""
    name = f"{bucket.name}-means"
    yield api.create_bucket(bucket.server, name)
    for task in api.tasks(bucket):
        bucket.server.call("DELETE", f"/api/v2/tasks/{task['id']}").expect(204)
    api.delete_bucket(bucket.server, name)


def wanted(bucket: Bucket, every: str = "5m", **changes: Any) -> Settings:
    downsample = Downsample(every=every, bucket=f"{bucket.name}-means")
    return settings_for(bucket, **{"downsample": downsample, **changes})


def done(settings: Settings, before: str = "") -> tuple[str, str]:
    with closing(Connection(settings, ManualClock(), 60)) as connection:
        result = reconcile(connection, settings, before, catalogue.cumulative())
    return result.task, result.change


def write(bucket: Bucket, time_s: float, point: Point, host: str = "h1") -> None:
    api.put(bucket, encode(point, round(time_s * SECOND), {"host": host}))


def run_task(bucket: Bucket, at_s: int) -> None:
    (task,) = api.tasks(bucket)
    path = f"/api/v2/tasks/{task['id']}/runs"
    moment = datetime.fromtimestamp(at_s, UTC).isoformat()
    begun = bucket.server.call("POST", path, {"scheduledFor": moment}).expect(201).json()

    ends: list[str] = []

    def ended() -> bool:
        # For a moment between the list of runs and that of those that are over, it is in neither.
        answer = bucket.server.call("GET", f"{path}/{begun['id']}").json()
        ends.extend({answer.get("status")} & {"success", "failed"})
        return bool(ends)

    eventually(ended, "the end of the run")
    assert ends == ["success"], bucket.server.call("GET", f"{path}/{begun['id']}/logs").body


def values(bucket: Bucket) -> dict[tuple[object, ...], object]:
    key = ("host", "_measurement", "_field", "_time")
    return {tuple(row[name] for name in key): row["_value"] for row in api.rows(bucket)}


def test_the_task_writes_means_of_gauges_and_the_last_values_of_counters(
    bucket: Bucket, means: Bucket
) -> None:
    # Two whole spans of five minutes, in the past: the server runs the task by itself, too.
    end = int(time.time()) // (5 * MINUTE) * 5 * MINUTE - HOUR
    spans = (end - 10 * MINUTE, end - 5 * MINUTE)
    for number, begin in enumerate(spans):
        for reading in range(5):
            n, stamp = 10 * number + reading, (begin + reading * MINUTE) * SECOND
            api.put(
                bucket,
                f"cpu,host=h1,cpu=cpu0 usage_active={n},time_user={n} {stamp}",
                f"net,host=h1 bytes_recv={100 + n}i,speed={n}i {stamp}",
                f"interrupts,host=h1 total={n}i,CPU12={n}i {stamp}",
                f'system,host=h1 uptime_format="{n} days",load1=1 {stamp}',
                f'own,host=h1 depth={n}i,state="s{n}",open={str(n % 2 == 0).lower()} {stamp}',
                f"cpu,host=h2 usage_active=999 {stamp}",
            )
    # Of the span that is not over yet, nothing.
    write(bucket, end + 1, Point("cpu", {"usage_active": 77.0}, {"cpu": "cpu0"}))
    assert done(wanted(bucket))[0] == task_name(wanted(bucket))
    run_task(bucket, end)
    expected: dict[tuple[object, ...], object] = {}
    for number, begin in enumerate(spans):
        first, stop = 10 * number, (begin + 5 * MINUTE) * SECOND
        for measurement, field, value in (
            ("cpu", "usage_active", first + 2.0),
            ("cpu", "time_user", first + 4.0),
            ("net", "bytes_recv", 100 + first + 4),
            ("net", "speed", first + 2.0),
            ("interrupts", "total", first + 4),
            ("interrupts", "CPU12", first + 4),
            ("system", "uptime_format", f"{first + 4} days"),
            ("system", "load1", 1.0),
            ("own", "depth", first + 2.0),
            ("own", "state", f"s{first + 4}"),
            ("own", "open", True),
        ):
            expected[("h1", measurement, field, stop)] = value
    found = values(means)
    assert found == expected
    assert all(type(found[key]) is type(value) for key, value in expected.items())
    # Each span is made of all that has come by then, and to make it twice changes nothing.
    write(bucket, spans[1] + 4.5 * MINUTE, Point("net", {"bytes_recv": 5000}))
    run_task(bucket, end)
    assert values(means) == {**expected, ("h1", "net", "bytes_recv", end * SECOND): 5000}


@pytest.mark.parametrize(("hours", "rule_hours"), [(48, 0), (168, 48)])
def test_a_value_is_not_made_anew_of_what_the_age_has_left(
    bucket: Bucket, means: Bucket, hours: int, rule_hours: int
) -> None:
    api.set_age(bucket, rule_hours, shard_hours=1 if rule_hours else 168)
    now = int(time.time())
    today = now // DAY * DAY
    yesterday = today - DAY
    # Whatever of the day before yesterday is within the age, and all of yesterday.
    for hour in range(24):
        write(bucket, yesterday + hour * HOUR, Point("cpu", {"usage_active": float(hour)}))
        before = yesterday - DAY + hour * HOUR
        if before > now - 47 * HOUR:
            write(bucket, before, Point("cpu", {"usage_active": 90.0}))
    # The value that was made of the whole day.
    write(means, yesterday, Point("cpu", {"usage_active": 49.7}))
    settings = wanted(bucket, "1d", retention_hours=hours)
    done(settings)
    run_task(bucket, today)
    key = ("h1", "cpu", "usage_active")
    assert values(means) == {(*key, yesterday * SECOND): 49.7, (*key, today * SECOND): 11.5}


@pytest.mark.usefixtures("means")
def test_the_task_is_created_updated_and_removed_with_the_settings(bucket: Bucket) -> None:
    five = wanted(bucket)
    name = task_name(five)
    assert done(five) == (name, f"Task {name!r}: created, every 5m")
    assert done(five, name) == (name, "")
    (task,) = api.tasks(bucket)
    assert (task["name"], task["every"], task["status"]) == (name, "5m", "active")
    ten = wanted(bucket, "10m")
    assert done(ten, name) == (name, f"Task {name!r}: updated, every 10m")
    (updated,) = api.tasks(bucket)
    assert (updated["id"], updated["every"], updated["flux"]) == (
        task["id"],
        "10m",
        flux(ten, catalogue.cumulative(), 168 * HOUR),
    )
    bucket.server.call("PATCH", f"/api/v2/tasks/{task['id']}", {"status": "inactive"}).expect(200)
    done(ten, name)
    assert api.tasks(bucket)[0]["status"] == "active"
    other = wanted(bucket, "10m", host="h9")  # has a task of its own, in place of that one
    its_name, change = done(other, name)
    assert its_name == task_name(other) != name
    assert change == f"Task {name!r}: removed; Task {its_name!r}: created, every 10m"
    assert [task["name"] for task in api.tasks(bucket)] == [its_name]
    done(ten, its_name)
    off = settings_for(bucket)
    assert done(off, name) == ("", f"Task {name!r}: removed")
    assert api.tasks(bucket) == []
    assert done(off) == ("", "")


def test_another_task_is_never_touched_whatever_its_name(bucket: Bucket, means: Bucket) -> None:
    settings = wanted(bucket)
    name = task_name(settings)
    script = (
        f'option task = {{name: "{name}", every: 1h}}\n'
        f'from(bucket: "{bucket.name}") |> range(start: -1h) |> to(bucket: "{means.name}")'
    )
    other = {"org": bucket.server.org, "flux": script, "description": "made by hand"}
    made = bucket.server.call("POST", "/api/v2/tasks", other).expect(201).json()
    neighbour = wanted(bucket, host="h2")
    done(neighbour)
    before = {task["id"]: task for task in api.tasks(bucket)}
    done(settings)
    done(settings_for(bucket), name)
    after = {task["id"]: task for task in api.tasks(bucket)}
    assert after.keys() == before.keys()
    assert after[made["id"]]["flux"] == script
    assert sum(task["name"] == task_name(neighbour) for task in after.values()) == 1


@pytest.mark.parametrize("host", ['q"uote {name}', "back\\slash ${x} ü €"])
def test_any_host_name_is_safe_in_the_task(bucket: Bucket, means: Bucket, host: str) -> None:
    end = int(time.time()) // (5 * MINUTE) * 5 * MINUTE - HOUR
    write(bucket, end - 1, Point("cpu", {"usage_active": 1.0}), host)
    settings = wanted(bucket, host=host)
    name, _ = done(settings)
    run_task(bucket, end)
    assert list(values(means).values()) == [1.0]
    assert done(settings, name) == (name, "")
    done(settings_for(bucket, host=host), name)
    assert api.tasks(bucket) == []


def test_no_two_hosts_have_a_task_of_one_name() -> None:
    one = Settings(influxdb_bucket="x", host="a b")
    assert task_name(one) != task_name(Settings(influxdb_bucket="x a", host="b"))
