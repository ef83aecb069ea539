"""The checks of InfluxDB: each is one question, and none leaves a trace."""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pipeline.clock import Clock, rfc3339
from pipeline.health import human
from pipeline.influx import (
    CLOCK_FIX,
    LARGEST_SKEW_S,
    NOTHING,
    Connection,
    HostPoints,
    InfluxError,
    Wanted,
    WriteOnlyError,
    difference,
    look,
    one_line,
    org_option,
    predicate,
)
from pipeline.settings import MAIN, hours_text, setting_name

# A host that nobody has, and a moment of which nobody has data.
_NOBODY, _MOMENT = "metrics-pipeline doctor", (0, 1)
_RIGHTS = "give it a token that may read and write this bucket"
_RENEW = "put a valid token in the settings"
_LONGEST_WORD = 60
_SAME_NAME_S = 3600
_SAME_NAME_POINTS = 1_000
_OWN_MEASUREMENT = "system_metrics"

Spooled = Callable[[], tuple[int, frozenset[int]] | None]
"""Returns the time of the oldest reading in the own store and all of the last hour, in nanoseconds
since 1970-01-01 UTC; None when there is no store."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A precondition, and whether it holds.

    Attributes:
        check: Its name.
        ok: Whether it holds. With a `fix`, it does so with a risk.
        message: What was found, in one line.
        fix: What to do, in one line; "" when there is nothing to do.
        checked: Whether it could be checked.
    """

    check: str
    ok: bool
    message: str
    fix: str = ""
    checked: bool = True


def examine(
    connection: Connection, clock: Clock, spooled: Spooled, place_of_token: str, server: str
) -> Iterator[Finding]:
    """Check all that delivery to a server and retention there need, and say what was not checked.

    Args:
        connection: To the server.
        clock: The clock to compare with the server's.
        spooled: Returns what this host's own store holds.
        place_of_token: Says where a valid token is to be put.
        server: The server's name, which its findings have where it is a mirror.
    """
    checks: dict[str, Callable[[], Finding]] = {
        "server": lambda: health(connection, server),
        "clock": lambda: time_of_day(connection),
        "token": lambda: token(connection, place_of_token),
        "bucket": lambda: bucket(connection, server),
        "write": lambda: may_write(connection),
        "query": lambda: may_query(connection),
        "delete": lambda: may_delete(connection),
        "points": lambda: can_be_read(connection, clock),
        "host": lambda: one_host(connection, clock, spooled),
    }
    if known := first_look(connection, server):
        checks["server"] = lambda: known
        if known.ok:
            checks = {kind: checks[kind] for kind in ("server", "clock", "write")}
    broken = ""
    for kind, check in checks.items():
        its = name_of(kind, server)
        if broken:
            fix = f"fix {broken} first"
            yield Finding(its, False, "could not be checked", fix, checked=False)
            continue
        try:
            found = replace(check(), check=its)
        except InfluxError as error:
            found = Finding(its, False, str(error), _RIGHTS)
        yield found
        if not found.ok and kind in ("server", "token", "bucket"):
            broken = its


def name_of(check: str, server: str) -> str:
    """Return the name of a check of a server; that of a mirror has the mirror's name at its end."""
    return check if server == MAIN else f"{check} {server}"


def first_look(connection: Connection, server: str = MAIN) -> Finding | None:
    """Find out what kind of server this is.

    Returns:
        The finding for a server that only takes readings, or that does not answer: asking it
        again would take as long again. None for any other, which the checks are for.
    """
    try:
        look(connection)
    except WriteOnlyError as only:
        return Finding("server", True, str(only))
    except InfluxError as error:
        if error.answer.status is None:
            return Finding("server", False, str(error), _reach(server))
    return None


def _reach(server: str) -> str:
    return f"start it, open the way to it, or correct {setting_name(server, 'url')}"


def health(connection: Connection, server: str = MAIN) -> Finding:
    """Check that the server answers and is healthy."""
    url = connection.settings.influxdb_url
    try:
        told = connection.ask(lambda api: dict(api.request("GET", "/health")[0]))
    except InfluxError as error:
        return Finding("server", False, str(error), _reach(server))
    status, version = (_word(connection, told.get(key)) for key in ("status", "version"))
    if status != "pass":
        reason = f"{url} says of its health: {status or 'nothing'}"
        return Finding("server", False, reason, "see its log; is it InfluxDB 2?")
    known = version or "of a version that it does not tell"
    return Finding("server", True, f"{url} is healthy, InfluxDB {known}")


def _word(connection: Connection, said: object) -> str:
    return one_line(connection.masked(str(said or "")), _LONGEST_WORD)


def time_of_day(connection: Connection) -> Finding:
    """Check this machine's clock against the server's."""
    skew = connection.clock_difference()
    if skew is None:
        return Finding("clock", True, "the server tells no time to compare with")
    if skew:
        return Finding("clock", False, skew, CLOCK_FIX)
    return Finding("clock", True, f"within {LARGEST_SKEW_S:.0f} s of the server's")


def token(connection: Connection, place: str = _RENEW) -> Finding:
    """Check that the server knows the token."""
    try:
        # Any token may ask; what it may not see is left out of the answer.
        connection.ask(lambda api: api.request("GET", "/api/v2/buckets", query={"limit": "1"}))
    except InfluxError as error:
        return Finding("token", False, str(error), place)
    return Finding("token", True, "the server knows it")


def bucket(connection: Connection, server: str = MAIN) -> Finding:
    """Check that the bucket is there and keeps data as long as the settings say."""
    settings = connection.settings
    name = f"bucket {settings.influxdb_bucket!r}"
    rule = look(connection)
    if rule is None:
        answer = connection.write(NOTHING)
        if answer.status in (204, 403):  # a token need not see a bucket to write to it
            return Finding("bucket", True, f"{name} is there, its age cannot be seen by this token")
        mirror = f"bucket or org of mirror {server}"
        where = "influxdb_bucket or influxdb_org" if server == MAIN else mirror
        fix = f"make it, or run the agent with a token that may, or correct {where}"
        return Finding("bucket", False, answer.message, fix)
    differs = difference(Wanted.of(settings), rule)
    if not differs:
        return Finding("bucket", True, f"{name} keeps {hours_text(rule.age_s / 3600)}")
    fix = (
        "start the agent again with a token that may change the bucket"
        if settings.bucket_retention in ("extend", "enforce")
        else 'set bucket_retention = "extend", or retention_hours to the age of the bucket'
    )
    return Finding("bucket", False, differs, fix)


def may_write(connection: Connection) -> Finding:
    """Check that the token may write, by writing nothing."""
    answer = connection.write(NOTHING)
    if answer.status != 204:
        return Finding("write", False, answer.message, _RIGHTS)
    return Finding("write", True, "the token may write")


def may_query(connection: Connection) -> Finding:
    """Check that the token may query, which counting what a sweep deletes needs."""
    HostPoints(connection, _NOBODY).count(*_MOMENT)
    return Finding("query", True, "the token may query")


def may_delete(connection: Connection) -> Finding:
    """Check that the token may delete, by deleting what nobody has."""
    HostPoints(connection, _NOBODY).delete(*_MOMENT)
    return Finding("delete", True, "the token may delete")


def can_be_read(connection: Connection, clock: Clock) -> Finding:
    """Check that InfluxDB can read all of this host's points, which counting them needs."""
    settings, now_ns = connection.settings, clock.now_ns()
    host = settings.host
    unreadable = HostPoints(connection, host).unreadable(0, now_ns)
    if not unreadable:
        return Finding("points", True, f"those of host {host!r} can be read")
    names = ", ".join(map(repr, unreadable))
    what = f"InfluxDB cannot read all points of {names}, as with a tag _value or _time"
    where = f"{org_option(settings.influxdb_org)} --bucket {shlex.quote(settings.influxdb_bucket)}"
    span = f"--start {rfc3339(0)} --stop {rfc3339(now_ns)}"
    fix = " && ".join(
        f"influx delete {where} {span} --predicate {shlex.quote(predicate(host, name))}"
        for name in unreadable
    )
    return Finding("points", False, f"{what}: they are neither shown nor counted", fix)


def one_host(connection: Connection, clock: Clock, spooled: Spooled) -> Finding:
    """Check that nobody else writes under this host's name.

    Each delivered reading stays in the own store until its age, and its time is told in
    nanoseconds, which no two agents share: a time that the store does not know is another's.
    """
    host, now = connection.settings.host, clock.now_ns()
    since = now - _SAME_NAME_S * 10**9
    points = HostPoints(connection, host)
    there = points.times(_OWN_MEASUREMENT, since, now, _SAME_NAME_POINTS)
    own = spooled()  # after the query: what is in InfluxDB is in the store already
    if own is None:
        return Finding("host", True, f"no store yet to tell other agents named {host!r} by")
    first, times = own
    # What is older may be of this agent too, with a store that is no more.
    others = sum(time >= first and time not in times for time in there)
    if others:
        wrote = human.count(others, "reading")
        return Finding(
            "host",
            False,
            f"in the last hour another agent wrote {wrote} as host {host!r}",
            "set another host on one of the two: each deletes the other's old points too",
        )
    return Finding("host", True, f"nobody else writes as {host!r}")
