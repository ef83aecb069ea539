"""The keeper: the bucket's rule, the sweep and the downsampling, as the settings say."""

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterator
from threading import Event

from pipeline.clock import Clock, SystemClock
from pipeline.collectors import catalogue
from pipeline.health import ServerHealth, Trouble, label
from pipeline.influx import (
    CONFIRMED_AFTER_S,
    PATIENCE_S,
    Connection,
    HostPoints,
    InfluxError,
    Rule,
    Target,
    Wanted,
    WriteOnlyError,
    reconcile,
    shard_group_s,
)
from pipeline.influx import tasks as downsampling
from pipeline.retention.sweep import LocalPoints, Place, Retention, Swept
from pipeline.retention.trusted_clock import TrustedClock
from pipeline.settings import Age, Settings
from pipeline.spool import Fact, Queue, Spool, SpoolError

_log = logging.getLogger(__name__)

# A reading may reach InfluxDB so long after the sweep has passed its time.
_BEHIND_S = 86_400
# Of an age: a point on its very edge would be refused, or go with the next sweep.
_KEPT_SHARE = 0.9


class KnownRule:
    """The bucket's retention rule as it was seen last; noted for `status`.

    Args:
        queue: Where it is noted, that of the server.
        clock: Measures how often the log says that the rule is left alone.

    Attributes:
        rule: The rule; None while it is not known, or of a server without buckets.
    """

    def __init__(self, queue: Queue, clock: Clock | None = None) -> None:
        self._queue = queue
        self._changed = Event()
        # Only logged: `status` shows the difference.
        self._left_alone = Trouble(clock=clock or SystemClock(), label=label(queue.name))
        self._retired = False
        self.rule: Rule | None = None

    @property
    def age_s(self) -> int:
        """The age at which InfluxDB deletes, in seconds; 0 is for ever, or not known."""
        return self.rule.age_s if self.rule else 0

    def learn(self, rule: Rule | None, drift: str) -> None:
        """Take note of the rule, and of how it differs from what the settings want."""
        if self._retired:
            return
        self.rule = rule
        age = str(rule.age_s) if rule else None
        with contextlib.suppress(SpoolError):
            self._queue.note({Fact.BUCKET_AGE_S: age, Fact.BUCKET_DRIFT: drift or None})
        if rule and rule.change:
            self._changed.set()

    def leave_alone(self, why: str) -> None:
        """Log why the rule is not what the settings want and stays so; "" when it is."""
        # Each try with a refused token prepares again; one warning is enough.
        if why and not self._retired:
            self._left_alone.begins(why, why, kind=why)
        else:
            self._left_alone.ends()

    def on_change(self, event: Event) -> None:
        """Set this event, from now on, when the agent itself has changed the rule."""
        self._changed = event

    def retire(self) -> None:
        """Leave it to the rule of another bucket, or of other settings, to be noted."""
        self._retired = True


class Keeper:
    """Keeps one host's data no longer than its ages, between two changes of the settings.

    Args:
        settings: What is wanted.
        spool: The local copy; None where the keeper of another server sweeps and checks it.
        queue: The readings that wait for the server, and what is remembered of it.
        target: The bucket; None without an InfluxDB.
        known: The bucket's rule, as the target saw it.
        clock: Time.
        trusted_clock: Tells the time that points are deleted by.
        health: Shows what does not work with that server.
    """

    def __init__(
        self,
        settings: Settings,
        spool: Spool | None,
        queue: Queue,
        target: Target | None,
        known: KnownRule,
        clock: Clock,
        trusted_clock: TrustedClock,
        health: ServerHealth,
    ) -> None:
        self._settings = settings
        self._interval_s = settings.cleanup_interval_minutes * 60.0
        self._spool = spool
        self._queue = queue
        self._target = target
        self._known = known
        self._clock = clock
        self._trusted_clock = trusted_clock
        self._health = health
        self._trouble = health.trouble("sweep")
        self._downsampling_trouble = health.trouble("downsampling")
        delivers = target is not None
        local = None if spool is None else LocalPoints(spool.aging, delivers=delivers)
        self._retention = Retention(queue, trusted_clock.now_ns, settings.ages, local)
        self._sweeping = threading.Lock()
        self._downsampled = False
        self._checked = -math.inf  # when the store was checked as a whole, by the monotonic clock
        self._retired = False

    def is_old(self, time_ns: int) -> bool:
        """Return whether a reading of that time is too old to be sent."""
        return self._retention.is_old(time_ns, self._known.age_s)

    def trim(self) -> None:
        """Remove what is too old to be sent."""
        self._retention.trim(self._known.age_s)

    def oldest_ns(self, measurement: str) -> int:
        """Return the oldest time at which a new point is taken, and stays for a while.

        Args:
            measurement: The point's measurement.

        Returns:
            Nanoseconds since 1970-01-01 UTC.
        """
        own_s = self._settings.ages.of(measurement).hours * 3600
        age_s = min(filter(None, (own_s, self._known.age_s)), default=0)
        if not age_s:
            return 0
        return max(0, self._trusted_clock.now_ns() - round(_KEPT_SHARE * age_s * 10**9))

    def run(self, stop: Event, wake: Event) -> None:
        """Sweep at once and every `cleanup_interval_minutes`, or when `wake` is set.

        It ends at `stop`, after the window that is being swept.
        """
        excused: set[int | None] = {None, 401, 404}
        self._known.on_change(wake)
        while not stop.is_set():
            soon = self._try_to_sweep(stop, excused)
            wake.clear()  # the next line sees a rule that was changed before
            if soon or (self._target is not None and self._target.needs_recheck):
                wait_s = CONFIRMED_AFTER_S
            else:
                wait_s = self._interval_s
            if not stop.is_set():  # a stop may have set `wake` before it was cleared
                self._clock.wait(wake, wait_s)

    def retire(self) -> None:
        """Leave it to another keeper to report, however long a request is still under way here."""
        self._retired = True
        self._known.retire()

    def _try_to_sweep(self, stop: Event, excused: set[int | None]) -> bool:
        """Sweep; return whether to try again soon, as after each excused answer, once."""
        try:
            self._check()
            swept = self.sweep(stop.is_set)
        except InfluxError as error:
            if self._retired:
                return False
            # Delivery reports a server that does not answer, or takes no such token. At the start
            # it may not have done so yet, nor made the bucket.
            status = error.answer.status
            if self._health.trouble("delivery").under_way or status in excused:
                excused.discard(status)
                return True
            self._trouble.begins(
                str(error), f"Old points could not be removed from InfluxDB: {error}"
            )
        else:
            if self._retired:
                return False
            if swept.uncounted:
                names = ", ".join(map(repr, swept.uncounted))
                why = f"InfluxDB cannot read old points of {names}: they were deleted uncounted"
                self._trouble.begins(why, why)
            else:
                self._trouble.ends()
        return False

    def _check(self) -> None:
        """Read the whole store, but not again with each try of a sweep that fails."""
        now = self._clock.monotonic()
        if self._spool is not None and now - self._checked >= self._interval_s:
            self._checked = now
            self._spool.check()

    def sweep(self, stopped: Callable[[], bool] = lambda: False) -> Swept:
        """Remove what is older than its age, in InfluxDB and here.

        Raises:
            InfluxError: InfluxDB did not do its part; the local copy is swept all the same.
            SpoolError: The local copy could not be swept.
        """
        with self._sweeping:
            with contextlib.suppress(SpoolError):  # the next sweep tries again
                self._trusted_clock.remember()
            if self._target is None:
                return self._retention.sweep((), stopped)
            with self._target.connection(PATIENCE_S) as connection:
                try:
                    self._prepare(self._target, connection)
                except InfluxError:
                    self._retention.sweep((), stopped)
                    raise
                if self._target.write_only:
                    return self._retention.sweep((), stopped)
                everywhere = places(connection, self._settings, self._known.rule)
                return self._retention.sweep([place for place, _ in everywhere], stopped)

    def _prepare(self, target: Target, connection: Connection) -> None:
        if target.prepared:
            target.look(connection)
        else:
            target.prepare()
        if self._retired:
            return  # what the settings want is another keeper's affair
        target.shorten(connection)
        asked = self._settings.downsample.every or not target.write_only
        if asked and not self._downsampled:
            try:
                self._downsample(connection)
            except InfluxError as error:
                if error.answer.status is None or self._retired:
                    raise
                message = f"downsampling is not as the settings say: {error}"
                if not isinstance(error, WriteOnlyError):
                    message += (
                        "; the token must be allowed to read and write tasks and both buckets"
                    )
                self._downsampling_trouble.begins(message, message)

    def _downsample(self, connection: Connection) -> None:
        wanted = self._settings.downsample
        before = self._queue.facts().get(Fact.DOWNSAMPLING_TASK, "")
        changes = []
        try:
            if wanted.every:
                mode = self._settings.bucket_retention
                rule = Wanted(self._settings.influxdb_org, wanted.bucket, wanted.keep_hours, mode)
                found = reconcile(connection, rule, self._clock.now_ns())
                changes += [found.change or found.refused] if found else []
            cumulative = catalogue.cumulative()
            done = downsampling.reconcile(connection, self._settings, before, cumulative)
        except InfluxError as error:
            # A token that may not see tasks has made none, so there is none to remove.
            if wanted.every or before or error.answer.status is None:
                raise
            done = downsampling.Downsampled("")
        for change in filter(None, (*changes, done.change)):
            _log.info("%s%s", self._health.label, change)
        self._queue.note({Fact.DOWNSAMPLING_TASK: done.task or None})
        self._downsampled = True
        self._downsampling_trouble.ends()


def places(
    connection: Connection, settings: Settings, rule: Rule | None
) -> Iterator[tuple[Place, HostPoints]]:
    """Yield each place in InfluxDB that holds this host's points, and these points.

    The first is the bucket; the second, with downsampling, is the bucket of the means.
    """
    wanted = settings.downsample
    ages = settings.ages
    window_s = rule.shard_group_s if rule else shard_group_s(ages.shortest * 3600)
    where = (settings.influxdb_url, settings.influxdb_org)
    scope = (*where, settings.influxdb_bucket, settings.host)
    points = HostPoints(connection, settings.host)
    yield Place("influxdb", points, ages.each, scope, window_s, _BEHIND_S), points
    if wanted.every:
        means = HostPoints(connection, settings.host, wanted.bucket)
        window_s = shard_group_s(wanted.keep_hours * 3600)
        scope = (*where, wanted.bucket, settings.host)
        age = Age(wanted.keep_hours)
        yield Place("downsampled", means, (age,), scope, window_s, _BEHIND_S), means
