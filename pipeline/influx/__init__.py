"""InfluxDB 2 by influxdb-client: one connection, and all that is kept there."""

from pipeline.influx.answer import Answer, InfluxError, Verdict, is_expired, one_line, verdict
from pipeline.influx.buckets import (
    Rule,
    Wanted,
    describe,
    difference,
    look,
    org_option,
    reconcile,
    shard_group_s,
)
from pipeline.influx.client import Api, is_org_id, unprotected
from pipeline.influx.connection import CLOCK_FIX, LARGEST_SKEW_S, NOTHING, Connection
from pipeline.influx.points import HostPoints, UnreadableError, predicate
from pipeline.influx.target import CONFIRMED_AFTER_S, PATIENCE_S, Target
from pipeline.influx.tasks import task_name
from pipeline.influx.writeonly import WriteOnlyError

__all__ = [
    "CLOCK_FIX",
    "CONFIRMED_AFTER_S",
    "LARGEST_SKEW_S",
    "NOTHING",
    "PATIENCE_S",
    "Answer",
    "Api",
    "Connection",
    "HostPoints",
    "InfluxError",
    "Rule",
    "Target",
    "UnreadableError",
    "Verdict",
    "Wanted",
    "WriteOnlyError",
    "describe",
    "difference",
    "is_expired",
    "is_org_id",
    "look",
    "one_line",
    "org_option",
    "predicate",
    "reconcile",
    "shard_group_s",
    "task_name",
    "unprotected",
    "verdict",
]
