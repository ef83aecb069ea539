"""The rehearsal: an outage staged against the configured server, and the account of its points."""

import contextlib
import os
import secrets
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import click

from pipeline.cli.doctor import server as checks
from pipeline.cli.rehearse.agent import MEASUREMENT, Scratch
from pipeline.cli.rehearse.proxy import Proxy, State
from pipeline.clock import Clock
from pipeline.influx import Connection, HostPoints, InfluxError
from pipeline.settings import MAIN, Settings, changeable, setting_name
from pipeline.spool import Contents

_WITHIN_S = 180.0
_POLL_S = 0.05
_READINGS = 10
# InfluxDB counts and deletes slowly.
_SERVER_TIMEOUT_S = 60.0
# The wall clock may be set meanwhile.
_AROUND_NS = 3600 * 10**9
_REMOVALS = 3
_MOST_POINTS = 1_000_000

Say = Callable[[str], None]


class RehearsalError(click.ClickException):
    """The rehearsal could not be completed; the message says why."""


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the points of a rehearsal.

    Attributes:
        readings: How many readings were taken.
        points: How many points they had.
        missing: How many of these InfluxDB lacks.
        surplus: How many InfluxDB has beyond these.
        lost: What the agent itself counted as lost: cause to points.
    """

    readings: int
    points: int
    missing: int
    surplus: int
    lost: Mapping[str, int]

    @property
    def passed(self) -> bool:
        """Whether every point arrived, once."""
        return self.points > 0 and self.missing == self.surplus == 0

    def __str__(self) -> str:
        taken = f"{self.readings} readings with {self.points} points were taken"
        if self.passed:
            return f"Passed: {taken}, and InfluxDB has each of them once."
        causes = ", ".join(f"{cause} {points}" for cause, points in self.lost.items())
        return (
            f"FAILED: {taken}; InfluxDB lacks {self.missing} and has {self.surplus} too many. "
            f"The agent counts as lost: {causes or 'nothing'}."
        )


def rehearse(
    all_settings: Settings,
    clock: Clock,
    environ: Mapping[str, str],
    say: Say,
    server: str = MAIN,
) -> Account:
    """Stage an outage and remove its traces, also when it is interrupted.

    Args:
        all_settings: The settings.
        clock: Time.
        environ: The environment for the rehearsal's agent.
        say: Prints what happens.
        server: The name of the server to rehearse with.

    Raises:
        RehearsalError: It could not be completed.
        InfluxError: The same, for what the server said.
    """
    settings = _settings(all_settings, server)
    target = _target(settings, server)
    _require(settings, clock, server)
    host = f"rehearsal-{secrets.token_hex(4)}"
    with contextlib.closing(Connection(settings, clock, _SERVER_TIMEOUT_S)) as connection:
        say(
            f"Rehearsing against {settings.influxdb_url}, bucket {settings.influxdb_bucket!r}, "
            f"as host {host!r}, for {_WITHIN_S:.0f} s at most."
        )
        points = HostPoints(connection, host)
        began = clock.now_ns()
        try:
            with _stage(settings, host, target, environ) as (scratch, proxy):
                Script(scratch, proxy, clock, say).play()
                return _account(scratch, points)
        finally:
            _remove(points, host, began - _AROUND_NS, clock.now_ns() + _AROUND_NS)
            say("  its points in InfluxDB and its folder are removed")


@contextlib.contextmanager
def _stage(
    settings: Settings, host: str, target: tuple[str, int], environ: Mapping[str, str]
) -> Iterator[tuple[Scratch, Proxy]]:
    above = Path(tempfile.gettempdir())
    if os.geteuid() == 0 and (exposed := changeable(above, ())):
        why = "and root writes to nothing that others can change"
        raise RehearsalError(f"{exposed[0].message}, {why}; set TMPDIR to another folder")
    with (
        tempfile.TemporaryDirectory(prefix="metrics-pipeline-rehearsal-", dir=above) as folder,
        contextlib.closing(Proxy(*target, answers_connect=not settings.influxdb_proxy)) as proxy,
    ):
        scratch = Scratch(Path(folder), settings, host, proxy.url, environ)
        try:
            yield scratch, proxy
        finally:
            scratch.kill()


class Script:
    """The script: the connection breaks in every way, and the agent is killed three times.

    Args:
        scratch: The agent.
        proxy: The connection from it to the server.
        clock: Limits the time.
        say: Prints what happens.
    """

    def __init__(self, scratch: Scratch, proxy: Proxy, clock: Clock, say: Say) -> None:
        self._scratch = scratch
        self._proxy = proxy
        self._clock = clock
        self._say = say
        self._deadline = clock.monotonic() + _WITHIN_S

    def play(self) -> None:
        """Run it until all readings are delivered.

        Raises:
            RehearsalError: The agent ended by itself, or the time was not enough.
        """
        scratch, turn = self._scratch, self._proxy.turn
        scratch.start()
        self._until("readings are delivered", lambda now: now.delivered_points > 0)
        turn(State.DEAF)
        self._until_broken("the answer to a request is lost")
        turn(State.CUT)
        self._until_broken("a request is cut off")
        turn(State.REFUSED)
        self._until_more_are_taken("the server refuses connections")
        self._kill()
        scratch.start()
        turn(State.SILENT)
        self._until_more_are_taken("the server is silent")
        self._kill()
        turn(State.OPEN)
        delivered = self._now().delivered_points
        scratch.start()
        self._until(
            "the server is back, and the backlog begins to move",
            lambda now: now.delivered_points > delivered,
        )
        self._kill()
        ticks = self._now().ticks
        scratch.start(once=True)
        self._until("all is delivered", lambda now: now.ticks > ticks and now.backlog_points == 0)
        scratch.stop()

    def _kill(self) -> None:
        self._scratch.kill()
        self._say("  the agent is killed (SIGKILL), to be started again")

    def _until_broken(self, what: str) -> None:
        before = self._proxy.broken
        self._until(what, lambda _: self._proxy.broken > before)

    def _until_more_are_taken(self, what: str) -> None:
        before = self._now().ticks
        self._until(what, lambda now: now.ticks >= before + _READINGS)

    def _until(self, what: str, reached: Callable[[Contents], bool]) -> None:
        while (now := self._scratch.contents()) is None or not reached(now):
            if (failure := self._scratch.failure()) is not None:
                raise RehearsalError(f"the rehearsal's agent ended by itself: {failure}")
            if self._clock.monotonic() > self._deadline:
                raise RehearsalError(
                    f"within {_WITHIN_S:.0f} s it did not come so far: {what}; "
                    f"the agent says: {self._scratch.trouble()}"
                )
            self._clock.wait(Event(), _POLL_S)
        self._say(f"  {what}: {now.ticks} readings taken, {now.backlog_points} points wait")

    def _now(self) -> Contents:
        now = self._scratch.contents()
        if now is None:
            raise RehearsalError("the rehearsal's store is gone")
        return now


def _account(scratch: Scratch, points: HostPoints) -> Account:
    taken = scratch.taken()
    start, stop = min(taken), max(taken) + 1
    arrived = Counter(points.times(MEASUREMENT, start, stop, _MOST_POINTS))
    now = scratch.contents()
    return Account(
        readings=len(taken),
        points=taken.total(),
        missing=(taken - arrived).total(),
        surplus=(arrived - taken).total(),
        lost=now.lost if now else {},
    )


def _remove(points: HostPoints, host: str, start_ns: int, stop_ns: int) -> None:
    left = "some are left"
    for _ in range(_REMOVALS):  # a write that was still with the server may come after
        try:
            points.delete(start_ns, stop_ns)
            if points.count(start_ns, stop_ns) == 0:
                return
        except InfluxError as error:
            left = str(error)
    raise RehearsalError(f"the points with the tag host={host} could not be removed: {left}")


def _settings(settings: Settings, server: str) -> Settings:
    if not settings.delivers:
        raise RehearsalError("there is nothing to rehearse with: set influxdb_url first")
    if server not in settings.servers:
        there = ", ".join(settings.mirrors) or "none"
        raise RehearsalError(f"the settings have no mirror {server!r}; there are {there}")
    return settings.servers[server]


def _target(settings: Settings, server: str) -> tuple[str, int]:
    url = urlsplit(settings.influxdb_proxy or settings.influxdb_url)
    if settings.influxdb_proxy and url.scheme == "https":
        name = setting_name(server, "proxy")
        raise RehearsalError(f"no rehearsal goes through a proxy of https://; unset {name}")
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _require(settings: Settings, clock: Clock, server: str) -> None:
    """Make sure of all that a rehearsal needs, by requests that a server answers at once."""
    with contextlib.closing(Connection(settings, clock)) as connection:
        known = checks.first_look(connection, server)
        if known and known.ok:
            raise RehearsalError(f"a rehearsal counts and deletes in InfluxDB, but {known.message}")
        needed = (
            partial(checks.health, server=server),
            checks.token,
            checks.may_write,
            checks.may_query,
            checks.may_delete,
        )
        for found in [known] if known else (check(connection) for check in needed):
            if not found.ok:
                raise RehearsalError(f"{found.message}; {found.fix}")
