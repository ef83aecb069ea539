"""Downsampling: one task in InfluxDB for each host, which makes means of what that host wrote.

Each host has a task of its own: hosts may want different things, and a host that wants no more
means removes its own task alone.
"""

import shlex
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from itertools import groupby

from pipeline.influx.client import Api, known
from pipeline.influx.connection import Connection
from pipeline.influx.points import flux_string
from pipeline.settings import Settings, duration_s

# Readings that come late by up to this are still counted in.
_LATE_S = 3600
# In the description of the tasks that are ours.
_MARK = "Made by metrics-pipeline; it is changed by the settings of that host."
_FLUX = """\
// Made by metrics-pipeline on {host}; to change it, change the settings there.
import "date"
import "types"

option task = {{name: {name}, every: {every}, offset: {offset}s}}

data = from(bucket: {source})
    |> range(
        start: date.truncate(t: date.sub(d: {late}s, from: now()), unit: {every}),
        stop: date.truncate(t: now(), unit: {every}),
    )
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


def flux(settings: Settings, last: Fields) -> str:
    """Return the task as Flux; see `reconcile`."""
    wanted = settings.downsample
    every_s = duration_s(wanted.every)
    # The tasks of many hosts run at different moments, and each after its readings have come.
    spread = zlib.crc32(settings.host.encode()) % max(1, min(every_s // 2, 120))
    return _FLUX.format(
        host=flux_string(settings.host),
        name=flux_string(task_name(settings)),
        every=wanted.every,
        offset=every_s // 4 + spread,
        late=max(_LATE_S, 2 * every_s),
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
        changes.append(_put(connection, settings, flux(settings, last)))
    return Downsampled(wanted, "; ".join(filter(None, changes)))


def _put(connection: Connection, settings: Settings, text: str) -> str:
    name = task_name(settings)
    wanted = {"flux": text, "description": _MARK, "status": "active"}
    task = _find(connection, settings, name)
    if task is None:
        org = {"org": settings.influxdb_org}
        connection.ask(lambda api: api.tasks.post_tasks(wanted | org))
        return f"Task {name!r}: created, every {settings.downsample.every}"
    if task == task | wanted:
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
        tasks = api.tasks.get_tasks(name=name, org=settings.influxdb_org).tasks
        own = (task for task in tasks if task.description == _MARK)
        kept = ("id", "flux", "description", "status")
        return next(({key: known(getattr(task, key)) for key in kept} for task in own), None)

    return connection.ask(read)


def _condition(wanted: Fields) -> str:
    terms = []
    for measurement, group in groupby(sorted(wanted), lambda entry: entry[0]):
        fields = " or ".join(f"r._field == {flux_string(field)}" for _, field in group)
        terms.append(f"(r._measurement == {flux_string(measurement)} and ({fields}))")
    return " or ".join(terms)
