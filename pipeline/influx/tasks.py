"""Downsampling: one task in InfluxDB for each host, which makes means of what that host wrote.

Each host has a task of its own: hosts may want different things, and a host that wants no more
means removes its own task alone.
"""

import re
import shlex
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from itertools import groupby

from pipeline.influx.buckets import look
from pipeline.influx.client import Api, org_query, required
from pipeline.influx.connection import Connection
from pipeline.influx.points import flux_string
from pipeline.settings import LATE_S, Settings

# In the description of the tasks that are ours.
_MARK = "Made by metrics-pipeline; it is changed by the settings of that host."
_FLUX = """\
// Made by metrics-pipeline on {host}; to change it, change the settings there.
import "date"
import "system"
import "types"

option task = {{name: {name}, every: {every}, offset: {offset}s}}

late = date.truncate(t: date.sub(d: {late}s, from: now()), unit: {every})
{start}
data = from(bucket: {source})
    |> range(start: start, stop: date.truncate(t: now(), unit: {every}))
    |> filter(fn: (r) => r.host == {host})

// Counters and texts: the last value.
data
    |> filter(fn: (r) => {last})
    |> aggregateWindow(every: {every}, fn: last, createEmpty: false)
    |> to(bucket: {target})
    |> yield(name: "last")

// All other numbers: the mean.
data
    |> filter(fn: (r) => not ({last}))
    |> filter(fn: (r) => types.isNumeric(v: r._value))
    |> aggregateWindow(every: {every}, fn: mean, createEmpty: false)
    |> to(bucket: {target})
    |> yield(name: "mean")

// What the catalogue does not know and is no number.
data
    |> filter(fn: (r) => not ({last}))
    |> filter(fn: (r) => not types.isNumeric(v: r._value))
    |> aggregateWindow(every: {every}, fn: last, createEmpty: false)
    |> to(bucket: {target})
    |> yield(name: "other")
"""
# A value that was made of a whole span is not made again from what is left of it.
_WHOLE = """\
// The first span of which no reading was old enough to be deleted.
kept = date.sub(d: {age}s, from: system.time())
whole = date.truncate(t: date.add(d: {every}, to: kept), unit: {every})
start = if late < whole then whole else late
"""


Fields = Collection[tuple[str, str]]
"""Measurements, each with a field."""


@dataclass(frozen=True, slots=True)
class Downsampled:
    """What was done.

    Attributes:
        task: The name of the host's task; "" when it has none.
        change: What was done, in a sentence for the log; "" when nothing was.
    """

    task: str
    change: str = ""


def task_name(settings: Settings) -> str:
    """Return the name of the host's task."""
    # Quoted where needed, so that no two hosts have one name.
    bucket, host = shlex.quote(settings.influxdb_bucket), shlex.quote(settings.host)
    return f"metrics-pipeline {bucket} {host}"


def flux(settings: Settings, last: Fields, age_s: int = 0) -> str:
    """Return the task as Flux; see `reconcile`.

    Args:
        settings: The settings.
        last: The fields of which the last value counts.
        age_s: The age at which readings are deleted, in seconds; 0 is for ever.
    """
    wanted = settings.downsample
    # The tasks of many hosts run at different moments, and each after its readings have come.
    shortest, longest = wanted.wait_s
    spread = zlib.crc32(settings.host.encode()) % (longest - shortest)
    start = _WHOLE.format(age=age_s, every=wanted.every) if age_s else "start = late"
    return _FLUX.format(
        host=flux_string(settings.host),
        name=flux_string(task_name(settings)),
        every=wanted.every,
        offset=shortest + spread,
        late=max(LATE_S, 2 * wanted.every_s),
        start=start,
        source=flux_string(settings.influxdb_bucket),
        target=flux_string(wanted.bucket),
        last=_condition(last),
    )


def reconcile(connection: Connection, settings: Settings, before: str, last: Fields) -> Downsampled:
    """Make the host's task what the settings ask for: create, update or remove it.

    Args:
        connection: With a token that may read and write tasks.
        settings: The settings.
        before: The name of the task that this host had; "" when it had none.
        last: The fields of which the last value counts, and not the mean.

    Returns:
        What was done.

    Raises:
        InfluxError: The server did not answer, or did not allow it.
    """
    name = task_name(settings)
    wanted = name if settings.downsample.every else ""
    changes = []
    for old in sorted({before, name} - {wanted, ""}):
        if _remove(connection, settings, old):
            changes.append(f"Task {old!r}: removed")
        elif old == before:
            changes.append(f"Task {old!r}: gone, or not for this token to see: look after it")
    if wanted:
        rule = look(connection)
        ages_s = {settings.ages.shortest * 3600, rule.age_s if rule else 0} - {0}
        changes.append(_put(connection, settings, flux(settings, last, min(ages_s, default=0))))
    return Downsampled(wanted, "; ".join(filter(None, changes)))


def _put(connection: Connection, settings: Settings, text: str) -> str:
    name = task_name(settings)
    wanted = {"flux": text, "description": _MARK, "status": "active"}
    task = _find(connection, settings, name)
    if task is None:
        org = org_query(settings.influxdb_org)
        connection.ask(lambda api: api.tasks.post_tasks(wanted | org))
        return f"Task {name!r}: created, every {settings.downsample.every}"
    if wanted.items() <= task.items():
        return ""
    connection.ask(lambda api: api.tasks.patch_tasks_id(task["id"], wanted))
    return f"Task {name!r}: updated, every {settings.downsample.every}"


def _remove(connection: Connection, settings: Settings, name: str) -> bool:
    task = _find(connection, settings, name)
    if task is not None:
        connection.ask(lambda api: api.delete_task(task["id"]))
    return task is not None


def _find(connection: Connection, settings: Settings, name: str) -> dict[str, str] | None:
    """Return the host's own task: another may have its name, but not its mark."""

    def read(api: Api) -> dict[str, str] | None:
        tasks = api.tasks.get_tasks(name=name, **org_query(settings.influxdb_org, "org_id")).tasks
        own = (task for task in tasks if task.description == _MARK)
        kept = ("id", "flux", "description", "status")
        return next(({key: required(getattr(task, key)) for key in kept} for task in own), None)

    return connection.ask(read)


def _is(field: str) -> str:
    if "<n>" in field:  # one for each core
        return f"r._field =~ /^{re.escape(field).replace('<n>', '[0-9]+')}$/"
    return f"r._field == {flux_string(field)}"


def _condition(wanted: Fields) -> str:
    terms = []
    for measurement, group in groupby(sorted(wanted), lambda entry: entry[0]):
        fields = " or ".join(_is(field) for _, field in group)
        terms.append(f"(r._measurement == {flux_string(measurement)} and ({fields}))")
    return " or ".join(terms)
