"""The bucket and its retention rule."""

import logging
import shlex
from dataclasses import dataclass
from typing import Any

from pipeline.clock import rfc3339
from pipeline.influx.answer import InfluxError
from pipeline.influx.client import Api, is_org_id, org_query, required
from pipeline.influx.connection import Connection
from pipeline.influx.points import count_by_host
from pipeline.influx.writeonly import raise_if_write_only
from pipeline.settings import HOUR_NS, Settings, hours_text

_log = logging.getLogger(__name__)

_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S
_LONGEST_S = 2**63 // 10**9  # that Go can count
_NAMED = 5
# InfluxDB counts the spans of shard groups from 0001-01-01, a Monday, as Go does.
_YEAR_1_S = 62_135_596_800


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rule that a bucket should have.

    Attributes:
        org: Its organisation.
        bucket: The bucket.
        hours: The age, in hours; 0 is for ever.
        mode: How far it may be changed: a value of `bucket_retention`.
    """

    org: str
    bucket: str
    hours: int
    mode: str

    @classmethod
    def of(cls, settings: Settings) -> "Wanted":
        """Return the rule that the settings want: to keep points for the longest of the ages."""
        hours = settings.ages.longest
        return cls(
            settings.influxdb_org, settings.influxdb_bucket, hours, settings.bucket_retention
        )

    @property
    def age_s(self) -> int:
        """The age in seconds; 0 is for ever."""
        return self.hours * _HOUR_S

    def would_change(self, age_s: int) -> bool:
        """Tell whether a bucket that has an age would get this one in its place."""
        if self.mode == "extend":
            return _is_longer(self.age_s, age_s)
        return self.mode == "enforce" and self.age_s != age_s


@dataclass(frozen=True, slots=True)
class Rule:
    """A bucket's retention rule, and what was done to it.

    Attributes:
        age_s: The age after which InfluxDB drops data, in seconds; 0 is for ever.
        shard_group_s: The span of a shard group, in seconds.
        change: What was done, in a sentence for the log; "" when nothing was.
        refused: Why it is not what it should be, in a sentence with the fix; "" when it is.
    """

    age_s: int
    shard_group_s: int
    change: str = ""
    refused: str = ""

    def removes_ns(self, time_ns: int) -> int | None:
        """Return the time at which a point of a time may be dropped; None: it is never dropped.

        InfluxDB drops a shard group as a whole, once the youngest point that it could hold is too
        old. It looks for such groups every 30 minutes, so that it may take that much longer.
        """
        if self.age_s == 0:
            return None
        span = self.shard_group_s
        group = (time_ns // 10**9 + _YEAR_1_S) // span
        return ((group + 1) * span - _YEAR_1_S + self.age_s) * 10**9


def shard_group_s(age_s: int) -> int:
    """Return the span of a shard group that InfluxDB chooses for an age, both in seconds.

    https://docs.influxdata.com/influxdb/v2/reference/internals/shards/#shard-group-duration
    """
    if age_s == 0 or age_s >= 180 * _DAY_S:
        return 7 * _DAY_S
    return _DAY_S if age_s >= 2 * _DAY_S else _HOUR_S


def reconcile(
    connection: Connection, wanted: Wanted, now_ns: int, *, shorten: bool = True
) -> Rule | None:
    """Make a bucket's rule what `bucket_retention` asks for.

    `off` only looks; `create` makes a missing bucket with the age as its rule; `extend` also
    lengthens a shorter rule, since hosts with other ages may share the bucket; `enforce` sets it,
    and says first how much that removes.

    Args:
        connection: To shorten, one with a timeout of minutes: InfluxDB counts slowly.
        wanted: The rule that it should have.
        now_ns: Now, in nanoseconds since 1970-01-01 UTC.
        shorten: Whether `enforce` may shorten a rule now: what that removes is counted first, which
            may take minutes.

    Returns:
        The rule as it is now, or None when the token can see no such bucket: one that may only
        write cannot look a bucket up, so None does not prove that it is missing.

    Raises:
        WriteOnlyError: The server has no buckets.
        InfluxError: The server did not answer, or did not allow to look or to create.
    """
    found = _find(connection, wanted.bucket)
    if found is None:
        return None if wanted.mode == "off" else _create(connection, wanted)
    bucket_id, now = found
    shorter = not _is_longer(wanted.age_s, now.age_s)
    if not wanted.would_change(now.age_s) or (shorter and not shorten):
        return now
    try:
        if shorter:
            _announce(connection, wanted, now_ns)
        connection.ask(lambda api: api.buckets.patch_buckets_id(bucket_id, _body(wanted.age_s)))
    except InfluxError as error:
        if error.answer.status not in (401, 403, 404, 422):  # it may well be done the next time
            raise
        return Rule(now.age_s, now.shard_group_s, refused=f"{drift(wanted, now)} ({error})")
    ages = f"from {_hours(now.age_s)} to {_hours(wanted.age_s)}"
    change = f"Bucket {wanted.bucket!r}: retention rule changed {ages}"
    return Rule(wanted.age_s, shard_group_s(wanted.age_s), change)


def look(connection: Connection, bucket: str = "") -> Rule | None:
    """Return a bucket's rule, or None when the token can see no such bucket.

    Raises:
        WriteOnlyError: The server has no buckets.
        InfluxError: The server did not answer, or did not allow it.
    """
    found = _find(connection, bucket or connection.settings.influxdb_bucket)
    return found[1] if found else None


def describe(rule: Rule, settings: Settings) -> str:
    """Say what a bucket's rule is, and what to do where it is not the settings' age."""
    own_s = settings.ages.longest * _HOUR_S
    if rule.refused:
        return rule.refused
    text = rule.change or f"Bucket {settings.influxdb_bucket!r}: keeps {_hours(rule.age_s)}"
    if rule.age_s == own_s:
        return text
    if _is_longer(rule.age_s, own_s):
        return (
            f"{text}, as other hosts may need it; this host's points go after {_hours(own_s)} "
            '(bucket_retention = "enforce" makes that the rule of all)'
        )
    return (
        f"{text}, which is less than this host's {_hours(own_s)}: "
        'set bucket_retention = "extend" and run setup again'
    )


def difference(wanted: Wanted, rule: Rule) -> str:
    """Say how a rule differs from what the settings want; "" when it may stay as it is."""
    if not _is_longer(wanted.age_s, rule.age_s) and not wanted.would_change(rule.age_s):
        return ""
    return f"Bucket {wanted.bucket!r} keeps {_hours(rule.age_s)} and not {_hours(wanted.age_s)}"


def drift(wanted: Wanted, rule: Rule) -> str:
    """Say how a rule differs from what the settings want, and the fix; "" when it does not."""
    found = difference(wanted, rule)
    return f"{found}; with a token that may change it: {command(wanted)}" if found else ""


def command(wanted: Wanted) -> str:
    """Return the command of InfluxDB's own client that sets the rule."""
    span = shard_group_s(wanted.age_s) // _HOUR_S
    org, name = org_option(wanted.org), shlex.quote(wanted.bucket)
    found = f"influx bucket list {org} --name {name} --hide-headers | cut -f1"
    age = f"{wanted.hours}h" if wanted.hours else "0"
    return (
        f'influx bucket update --id "$({found})" --retention {age} --shard-group-duration {span}h'
    )


def org_option(org: str) -> str:
    """Return the option of InfluxDB's own client that names an organisation."""
    return f"--org-id {org}" if is_org_id(org) else f"--org {shlex.quote(org)}"


def _announce(connection: Connection, wanted: Wanted, now_ns: int) -> None:
    cutoff_ns = now_ns - wanted.hours * HOUR_NS
    counts, unreadable = count_by_host(connection, wanted.bucket, cutoff_ns)
    most = sorted(counts, key=lambda host: -counts[host])[:_NAMED]
    named = ", ".join(f"{host or 'without a host'} {counts[host]}" for host in most)
    more = f", and {len(counts) - len(most)} more" if len(counts) > len(most) else ""
    uncounted = ", ".join(map(repr, unreadable[:_NAMED]))
    points, hosts = sum(counts.values()), len(counts)
    _log.warning(
        "Bucket %r: InfluxDB will delete what is older than %s: "
        "%d point%s of %d host%s%s, the newest before %s%s",
        wanted.bucket, hours_text(wanted.hours),
        points, "s" * (points != 1), hosts, "s" * (hosts != 1),
        f" ({named}{more})" if counts else "", rfc3339(cutoff_ns),
        f"; and of {uncounted}, which it cannot count" if unreadable else "",
    )  # fmt: skip


def _find(connection: Connection, name: str) -> tuple[str, Rule] | None:
    # An operator's token sees every organisation's bucket of that name.
    query = {"name": name, **org_query(connection.settings.influxdb_org)}

    def read(api: Api) -> tuple[str, Rule] | None:
        # The client's model makes 30 days of a rule without an age.
        answer, _, _ = api.request("GET", "/api/v2/buckets", query=query)
        own = (bucket for bucket in answer["buckets"] if bucket["name"] == name)
        return next(((str(bucket["id"]), _rule_of(bucket)) for bucket in own), None)

    try:
        return connection.ask(read)
    except InfluxError as error:
        if error.answer.status == 404 and error.answer.code:
            return None
        raise_if_write_only(connection, error)
        raise


def _create(connection: Connection, wanted: Wanted) -> Rule | None:
    which = org_query(connection.settings.influxdb_org, "org_id")
    orgs = connection.ask(
        lambda api: [required(org.id) for org in api.organizations.get_orgs(**which).orgs]
    )
    if not orgs:
        return None
    bucket = {"orgID": orgs[0], "name": wanted.bucket, **_body(wanted.age_s)}
    connection.ask(lambda api: api.buckets.post_buckets(bucket))
    change = f"Bucket {wanted.bucket!r}: created, keeps {_hours(wanted.age_s)}"
    return Rule(wanted.age_s, shard_group_s(wanted.age_s), change)


def _body(age_s: int) -> dict[str, Any]:
    """Return what a request says of a bucket's rule."""
    # InfluxDB refuses an age alone that its present shard groups do not fit.
    span = shard_group_s(age_s)
    rule = {"type": "expire", "everySeconds": age_s, "shardGroupDurationSeconds": span}
    return {"retentionRules": [rule]}


def _rule_of(bucket: Any) -> Rule:
    """Read the rule of a bucket in an answer."""
    for rule in bucket.get("retentionRules") or []:
        age_s = _seconds(rule["everySeconds"])
        span_s = _seconds(rule.get("shardGroupDurationSeconds") or shard_group_s(age_s))
        return Rule(age_s, span_s)
    return Rule(0, shard_group_s(0))


def _seconds(value: Any) -> int:
    seconds = int(value)
    if not 0 <= seconds <= _LONGEST_S:
        raise ValueError(f"{seconds} seconds")
    return seconds


def _is_longer(age_s: int, than_s: int) -> bool:
    return than_s != 0 and (age_s == 0 or age_s > than_s)


def _hours(age_s: int) -> str:
    return hours_text(age_s / _HOUR_S)
