import math
import time
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from pipeline.influx.buckets import Rule, Wanted, command, drift, look, reconcile, shard_group_s
from pipeline.influx.connection import Connection
from pipeline.settings import Settings
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influxd import api
from tests.influxd.api import Bucket

HOUR, DAY = 3600, 86_400
ORG_ID = "0123456789abcdef"


def reconciled_if_seen(bucket: Bucket, **changes: Any) -> Rule | None:
    settings = settings_for(bucket, **changes)
    with closing(Connection(settings, ManualClock())) as connection:
        return reconcile(connection, Wanted.of(settings), time.time_ns())


def reconciled(bucket: Bucket, **changes: Any) -> Rule:
    rule = reconciled_if_seen(bucket, **changes)
    assert rule is not None
    return rule


def rule_of(bucket: Bucket, name: str = "") -> tuple[int, int]:
    found = api.get_bucket(bucket.server, name or bucket.name)
    assert found is not None
    (rule,) = found["retentionRules"]
    return rule["everySeconds"], rule["shardGroupDurationSeconds"]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What this package has logged."""
    return [one.getMessage() for one in caplog.records if one.name.startswith("pipeline")]


def set_rule(bucket: Bucket, age_s: int) -> None:
    api.delete_bucket(bucket.server, bucket.name)
    api.create_bucket(bucket.server, bucket.name, age_s)


@pytest.mark.parametrize(
    ("mode", "hours", "made"),
    [
        ("create", 168, (168 * HOUR, DAY)),
        ("extend", 168, (168 * HOUR, DAY)),
        ("enforce", 168, (168 * HOUR, DAY)),
        ("extend", 0, (0, 7 * DAY)),
    ],
)
def test_a_missing_bucket_is_created_with_its_age(
    bucket: Bucket, missing: str, mode: str, hours: int, made: tuple[int, int]
) -> None:
    changes = {"influxdb_bucket": missing, "retention_hours": hours, "bucket_retention": mode}
    rule = reconciled(bucket, **changes)
    assert "created" in rule.change
    assert rule_of(bucket, missing) == made == (rule.age_s, rule.shard_group_s)


def test_off_makes_no_bucket(bucket: Bucket, missing: str) -> None:
    assert reconciled_if_seen(bucket, influxdb_bucket=missing, bucket_retention="off") is None
    assert api.get_bucket(bucket.server, missing) is None


@pytest.mark.parametrize(
    ("mode", "now_s", "hours", "expected_s"),
    [
        ("extend", DAY, 168, 168 * HOUR),  # shorter: lengthened
        ("extend", DAY, 0, 0),  # for ever is longest
        ("extend", 0, 168, 0),  # never shortened, other hosts may want it
        ("extend", 30 * DAY, 168, 30 * DAY),
        ("extend", 168 * HOUR, 168, 168 * HOUR),
        ("create", DAY, 168, DAY),
        ("create", DAY, 0, DAY),
        ("off", DAY, 168, DAY),
        ("off", 2 * DAY, 24, 2 * DAY),
        ("enforce", 0, 24, DAY),  # InfluxDB refuses this one without its shard group
        ("enforce", DAY, 168, 168 * HOUR),
        ("enforce", 30 * DAY, 1, HOUR),
        ("enforce", DAY, 0, 0),
        ("enforce", DAY, 24, DAY),
    ],
)
def test_each_mode_does_to_a_bucket_what_it_says(
    bucket: Bucket, mode: str, now_s: int, hours: int, expected_s: int,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    set_rule(bucket, now_s)
    changes = {"retention_hours": hours, "bucket_retention": mode}
    wanted, before = Wanted.of(settings_for(bucket, **changes)), Rule(*rule_of(bucket))
    rule = reconciled(bucket, **changes)
    assert rule.age_s == expected_s
    assert rule_of(bucket) == (rule.age_s, rule.shard_group_s)
    assert bool(rule.change) == (expected_s != now_s)
    assert bool(told(caplog)) == (0 < expected_s < (now_s or math.inf))  # what that removes
    assert reconciled(bucket, **changes) == replace(rule, change="")  # nothing a second time
    # A rule that was to be changed is told, and one by which data goes before its age.
    too_short = 0 < expected_s < hours * HOUR or (hours == 0 < expected_s)
    assert drift(wanted, rule).startswith(f"Bucket {bucket.name!r} keeps ") == too_short
    assert bool(drift(wanted, before)) == (too_short or bool(rule.change))


def test_a_token_that_may_only_write_cannot_see_the_bucket_and_says_so(bucket: Bucket) -> None:
    token = api.create_token(bucket, ["write"])
    assert reconciled_if_seen(bucket, influxdb_token=token) is None


def test_a_token_for_the_bucket_alone_may_extend_it(bucket: Bucket) -> None:
    api.set_age(bucket, 24)
    rule = reconciled(bucket, influxdb_token=api.create_token(bucket))
    assert rule.change == f"Bucket {bucket.name!r}: retention rule changed from 24 h to 168 h"
    assert rule_of(bucket) == (168 * HOUR, DAY)


@pytest.mark.parametrize("mode", ["extend", "enforce"])
def test_another_organisations_bucket_of_the_same_name_is_left_alone(
    bucket: Bucket, mode: str
) -> None:
    set_rule(bucket, DAY)
    server = bucket.server
    org = server.call("POST", "/api/v2/orgs", {"name": f"org of {bucket.name}"}).expect(201).json()
    try:
        rule = reconciled(bucket, influxdb_org=org["name"], bucket_retention=mode)
        assert "created" in rule.change  # a bucket of its own
        assert rule_of(bucket) == (DAY, HOUR)
    finally:
        server.call("DELETE", f"/api/v2/orgs/{org['id']}").expect(204)


def put(bucket: Bucket, age_h: float, *series: str) -> None:
    time_ns = time.time_ns() - round(age_h * HOUR * 1e9)
    api.put(bucket, *(f"{one} n=1i {time_ns}" for one in series))


def test_enforce_says_first_how_many_points_of_how_many_hosts_go(
    bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    for age in (30, 40, 50):
        put(bucket, age, *(f"cpu,host=h{n}" for n in range(1, 7)))
    put(bucket, 60, "cpu,host=h2")
    put(bucket, 1, "cpu,host=h1")
    rule = reconciled(bucket, retention_hours=24, bucket_retention="enforce")
    assert rule.age_s == DAY
    (said,) = told(caplog)
    assert said.startswith(
        f"Bucket {bucket.name!r}: InfluxDB will delete what is older than 24 h: "
        "19 points of 6 hosts (h2 4, "
    )
    assert ", and 1 more), the newest before 20" in said


def test_enforce_does_not_stop_at_points_that_flux_cannot_read(
    bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    put(bucket, 30, "cpu,host=h1", "cpu,host=h2", "bad,host=h2,_value=x")
    rule = reconciled(bucket, retention_hours=24, bucket_retention="enforce")
    assert rule_of(bucket) == (DAY, HOUR) == (rule.age_s, rule.shard_group_s)
    (said,) = told(caplog)
    assert "24 h: 2 points of 2 hosts" in said
    assert said.endswith("; and of 'bad', which it cannot count")


@pytest.mark.parametrize(("overrides", "hours"), [({"cpu": 24, "disk": 500}, 500), ({"cpu": 0}, 0)])
def test_the_rule_is_that_of_the_longest_age(overrides: dict[str, int], hours: int) -> None:
    assert Wanted.of(Settings(retention_hours=48, retention_overrides=overrides)).hours == hours


@pytest.mark.parametrize(("mode", "now_s"), [("extend", DAY), ("enforce", 30 * DAY)])
def test_a_token_that_may_not_change_the_bucket_is_told_the_command_that_would(
    bucket: Bucket, mode: str, now_s: int
) -> None:
    api.set_age(bucket, now_s // HOUR)
    token = api.create_token(bucket, ["read"])
    rule = reconciled(bucket, influxdb_token=token, bucket_retention=mode)
    assert (rule.age_s, rule.change) == (now_s, "")
    assert command(Wanted(bucket.server.org, bucket.name, 168, mode)) in rule.refused
    assert "401" in rule.refused or "403" in rule.refused
    assert rule_of(bucket) == (now_s, HOUR)


@pytest.mark.parametrize(
    ("org", "bucket", "hours", "found", "set_to"),
    [
        ("lab", "b", 168, "--org lab --name b", "168h --shard-group-duration 24h"),
        ("o o", "it's", 0, "--org 'o o' --name 'it'\"'\"'s'", "0 --shard-group-duration 168h"),
        (ORG_ID, "b", 1, f"--org-id {ORG_ID} --name b", "1h --shard-group-duration 1h"),
    ],
)
def test_the_command_that_sets_a_rule_is_one_for_a_shell(
    org: str, bucket: str, hours: int, found: str, set_to: str
) -> None:
    assert command(Wanted(org, bucket, hours, "extend")) == (
        f'influx bucket update --id "$(influx bucket list {found} --hide-headers | cut -f1)" '
        f"--retention {set_to}"
    )


def test_to_look_changes_nothing(bucket: Bucket, connection: Connection) -> None:
    set_rule(bucket, DAY)
    assert look(connection) == Rule(DAY, HOUR)
    assert look(connection, "nowhere") is None
    assert rule_of(bucket) == (DAY, HOUR)


def moment(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("age_s", "time", "gone"),
    [
        (DAY, "2024-05-15T10:20:00Z", "2024-05-16T11:00:00Z"),
        (2 * DAY, "2024-05-15T10:20:00Z", "2024-05-18T00:00:00Z"),
        (2 * DAY, "2024-05-15T00:00:00Z", "2024-05-18T00:00:00Z"),
        # A Wednesday: shard groups of 7 days begin on Mondays.
        (200 * DAY, "2024-05-15T10:20:00Z", "2024-12-06T00:00:00Z"),
    ],
)
def test_the_rule_removes_a_point_when_its_whole_shard_group_is_too_old(
    age_s: int, time: str, gone: str
) -> None:
    rule = Rule(age_s, shard_group_s(age_s))
    assert rule.removes_ns(moment(time)) == moment(gone)
    assert Rule(0, 7 * DAY).removes_ns(moment(time)) is None
