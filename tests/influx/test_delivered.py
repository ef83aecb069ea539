"""Delivery against the real server, for the answers that it can be made to give."""

import random
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event
from unittest.mock import patch

from pipeline.delivery import Delivery, Pace
from pipeline.health import Health
from pipeline.influx.connection import Connection
from pipeline.influx.target import Target
from pipeline.retention import KnownRule
from pipeline.spool import Spool
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influxd import api
from tests.influxd.api import Bucket

HOUR_NS = 3600 * 10**9


@contextmanager
def delivering(spool: Spool, bucket: Bucket) -> Iterator[Delivery]:
    settings, clock = settings_for(bucket, bucket_retention="off"), ManualClock()
    queue, health = spool.queue(), Health(clock, 60, lambda _: None).server("main")
    target = Target(settings, lambda: settings, clock, KnownRule(queue))
    with closing(target):
        pace = Pace(10, 0, 5_000)
        yield Delivery(
            queue, target, clock, pace, random.uniform, health, lambda _: False, lambda: None
        )


def stored(bucket: Bucket) -> set[tuple[object, object]]:
    return {(row["_measurement"], row["_value"]) for row in api.rows(bucket)}


def test_bad_lines_conflicts_and_expired_points_are_told_apart_and_harm_no_other(
    spool: Spool, bucket: Bucket
) -> None:
    api.set_age(bucket, 24)
    now = time.time_ns()
    api.put(bucket, f"typed f=1i {now}")
    good = [f"good,n={n} f={n}i {now}" for n in range(60)]
    spool.append([*good[:20], "rubbish", *good[20:30]], 1)
    spool.append([*good[30:50], f"old f=1i {now - 1_000 * HOUR_NS}"], 2)
    spool.append([f'typed f="text" {now}', *good[50:]], 3)
    with delivering(spool, bucket) as delivery:
        delivery.drain(Event())
    contents = spool.contents()
    assert contents.lost == {"rejected": 2, "expired": 1}
    assert (contents.delivered_points, contents.rejected_points) == (60, 2)
    assert contents.backlog_points == 0
    assert stored(bucket) == {("typed", 1)} | {("good", n) for n in range(60)}


def test_series_that_conflict_in_every_reading_cost_the_good_ones_no_search_each_time(
    spool: Spool, bucket: Bucket
) -> None:
    hour_ns = time.time_ns() // HOUR_NS * HOUR_NS - HOUR_NS
    api.put(bucket, *(f"typed,n={n} f=1i {hour_ns}" for n in range(20)))
    costs = []
    counted = patch.object(Connection, "write", autospec=True, side_effect=Connection.write)
    with delivering(spool, bucket) as delivery, counted as sent:
        for second in range(1, 8):
            at = hour_ns + second * 10**9
            conflicts = [f"typed,n={n} f={n}.5 {at}" for n in range(20)]
            spool.append([*conflicts, f"good f={second}i {at}"], second)
            before = sent.call_count
            delivery.drain(Event())
            costs.append(sent.call_count - before)
    assert costs[2:] == [1] * 5
    contents = spool.contents()
    assert (contents.delivered_points, contents.lost) == (7, {"rejected": 140})
    assert stored(bucket) == {("typed", 1)} | {("good", n) for n in range(1, 8)}
