"""The bucket and its retention rule."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.influx.connection import Connection, InfluxError

if TYPE_CHECKING:
    from influxdb_client import Bucket, BucketRetentionRules, InfluxDBClient

_log = logging.getLogger(__name__)

_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S


@dataclass(frozen=True, slots=True)
class Rule:
    """A bucket's retention rule, and what was done to it.

    Attributes:
        age_s: The age after which InfluxDB drops data, in seconds; 0 is for ever.
        shard_group_s: The span of a shard group, in seconds.
        change: What was done, in a sentence for the log; "" when it was right already.
    """

    age_s: int
    shard_group_s: int
    change: str = ""


def shard_group_s(age_s: int) -> int:
    """Return the span of a shard group that InfluxDB chooses for an age, both in seconds.

    https://docs.influxdata.com/influxdb/v2/reference/internals/shards/#shard-group-duration
    """
    if age_s == 0 or age_s >= 180 * _DAY_S:
        return 7 * _DAY_S
    return _DAY_S if age_s >= 2 * _DAY_S else _HOUR_S


def reconcile(connection: Connection) -> Rule | None:
    """Make the configured bucket's rule what `bucket_retention` asks for.

    `off` only looks; `create` makes a missing bucket with the age as its rule; `extend` also
    lengthens a shorter rule, since hosts with other ages may share the bucket; `enforce` sets it.

    Returns:
        The rule as it is now, or None when the token can see no such bucket: one that may only
        write cannot look a bucket up, so None does not prove that it is missing.

    Raises:
        InfluxError: The server did not answer, or did not allow it.
    """
    settings = connection.settings
    age_s = settings.retention_hours * _HOUR_S
    bucket = _find(connection)
    if bucket is None:
        if settings.bucket_retention == "off":
            return None
        return connection.ask(lambda client: _create(client, connection, age_s))
    now = _rule(bucket)
    longer = now.age_s != 0 and (age_s == 0 or age_s > now.age_s)
    wanted = {"extend": longer, "enforce": age_s != now.age_s}
    if not wanted.get(settings.bucket_retention, False):
        return now
    if not longer:
        _log.warning(
            "Bucket %r: InfluxDB will delete what is older than %s, of every host in it",
            settings.influxdb_bucket,
            _hours(age_s),
        )
    bucket.retention_rules = [_rules(age_s)]
    connection.ask(lambda client: client.buckets_api().update_bucket(bucket))
    return Rule(
        age_s,
        shard_group_s(age_s),
        f"Bucket {settings.influxdb_bucket!r}: retention rule changed "
        f"from {_hours(now.age_s)} to {_hours(age_s)}",
    )


def look(connection: Connection) -> Rule | None:
    """Return the configured bucket's rule, or None when the token can see no such bucket.

    Raises:
        InfluxError: The server did not answer, or did not allow it.
    """
    bucket = _find(connection)
    return _rule(bucket) if bucket else None


def _find(connection: Connection) -> "Bucket | None":
    name = connection.settings.influxdb_bucket
    # An operator's token sees every organisation's bucket of that name.
    org = connection.settings.influxdb_org
    try:
        found = connection.ask(lambda client: client.buckets_api().find_buckets(name=name, org=org))
    except InfluxError as error:
        if error.answer.status != 404:
            raise
        return None
    return next((bucket for bucket in found.buckets or [] if bucket.name == name), None)


def _create(client: "InfluxDBClient", connection: Connection, age_s: int) -> Rule | None:
    name = connection.settings.influxdb_bucket
    orgs = client.organizations_api().find_organizations(org=connection.settings.influxdb_org)
    if not orgs:
        return None
    client.buckets_api().create_bucket(
        bucket_name=name, org=orgs[0].id, retention_rules=_rules(age_s)
    )
    return Rule(age_s, shard_group_s(age_s), f"Bucket {name!r}: created, keeps {_hours(age_s)}")


def _rules(age_s: int) -> "BucketRetentionRules":
    from influxdb_client import BucketRetentionRules  # noqa: PLC0415  # see Connection

    # InfluxDB refuses an age alone that its present shard groups do not fit.
    return BucketRetentionRules(
        type="expire", every_seconds=age_s, shard_group_duration_seconds=shard_group_s(age_s)
    )


def _rule(bucket: "Bucket") -> Rule:
    for rule in bucket.retention_rules or []:
        age_s = rule.every_seconds or 0
        return Rule(age_s, rule.shard_group_duration_seconds or shard_group_s(age_s))
    return Rule(0, shard_group_s(0))


def _hours(age_s: int) -> str:
    return f"{age_s / _HOUR_S:g} h" if age_s else "for ever"
