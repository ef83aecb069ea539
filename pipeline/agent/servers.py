"""The servers: delivery to each and retention at each, in threads of their own."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.agent.worker import Workers
from pipeline.clock import Clock
from pipeline.delivery import Delivery, Pace
from pipeline.health import Health, Trouble
from pipeline.influx import Target, unprotected
from pipeline.retention import Keeper, KnownRule, Swept, TrustedClock
from pipeline.settings import MAIN, NAMES, Settings
from pipeline.spool import Spool

_log = logging.getLogger(__name__)

END_S = 2.0
"""The longest time that the threads of a server are given to end, in seconds."""
# The settings whose change replaces what belongs to a server.
_OWN = frozenset(
    {"host", "retention_hours", "retention_overrides", "bucket_retention", "downsample"}
    | {"cleanup_interval_minutes", "batch_max_points", "flush_interval_ms", "flush_jitter_ms"}
    | {name for name in NAMES if name.startswith("influxdb_")}
)


@dataclass(frozen=True, slots=True)
class _Server:
    """Retention and delivery by one state of the settings; no delivery without an InfluxDB."""

    settings: Settings
    keeper: Keeper
    delivery: Delivery | None


class Servers:
    """All that is done for the servers, by the settings of the moment.

    Args:
        settings: The settings.
        reload: Reads the settings again, for a token that was rotated.
        spool: Where the readings wait.
        clock: The source of time.
        trusted_clock: Tells the time that points are deleted by.
        health: Shows how each server fares.
        workers: Runs the threads.
    """

    def __init__(
        self,
        settings: Settings,
        reload: Callable[[], Settings],
        spool: Spool,
        clock: Clock,
        trusted_clock: TrustedClock,
        health: Health,
        workers: Workers,
    ) -> None:
        self._reload = reload
        self._spool = spool
        self._clock = clock
        self._trusted_clock = trusted_clock
        self._health = health
        self._workers = workers
        self._exposed = Trouble()  # only logged: readings are delivered all the same
        self._server = self._connect(settings)

    @property
    def threads(self) -> tuple[str, ...]:
        """The names of all threads."""
        return ("delivery", "sweep")

    def start(self) -> None:
        """Start the threads, in place of the ones before."""
        settings, keeper, delivery = (
            self._server.settings,
            self._server.keeper,
            self._server.delivery,
        )
        health = self._health.server(MAIN)
        self._workers.start(
            "sweep", keeper.run, keeper.retire, lambda: health.clear("sweep", "downsampling")
        )
        if delivery is None:
            self._workers.end(END_S, "delivery", retire=True)
            health.clear("delivery")
            return
        _log.info("Delivering to %s, bucket %r", settings.influxdb_url, settings.influxdb_bucket)
        if exposure := unprotected(settings):
            line = str(exposure)
            self._exposed.begins(line, line[0].upper() + line[1:], kind=line)
        else:
            self._exposed.ends()
        self._workers.start(
            "delivery", delivery.run, delivery.retire, lambda: health.clear("delivery")
        )

    def change(self, new: Settings) -> None:
        """Take new settings; what they concern is replaced."""
        old = self._server.settings
        if any(getattr(old, name) != getattr(new, name) for name in _OWN):
            self._server = self._connect(new)
            self.start()

    def wake(self) -> None:
        """Have what waits delivered now."""
        self._workers.wake("delivery")

    def sweep(self) -> Swept:
        """Remove what is older than the age, in InfluxDB and here.

        Raises:
            InfluxError: InfluxDB failed.
            SpoolError: The local copy could not be swept.
        """
        return self._server.keeper.sweep()

    def oldest_ns(self, measurement: str) -> int:
        """Return the oldest time that a new point of a measurement may have, in ns since 1970."""
        return self._server.keeper.oldest_ns(measurement)

    def _connect(self, settings: Settings) -> _Server:
        spool, clock, trusted_clock = self._spool, self._clock, self._trusted_clock
        queue, health = spool.queue(), self._health.server(MAIN)
        known, target = KnownRule(queue, clock), None
        if settings.delivers:
            date, unset = trusted_clock.server_says, trusted_clock.unset
            target = Target(settings, self._reload, clock, known, date, unset)
        keeper = Keeper(settings, spool, queue, target, known, clock, trusted_clock, health)
        if target is None:
            return _Server(settings, keeper, None)
        pace = Pace(
            settings.flush_interval_ms / 1000,
            settings.flush_jitter_ms / 1000,
            settings.batch_max_points,
        )
        return _Server(
            settings,
            keeper,
            Delivery(queue, target, clock, pace, random.uniform, health, keeper.trim),
        )
