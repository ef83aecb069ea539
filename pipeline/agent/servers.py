"""The servers: delivery to each and retention at each, in threads of their own."""

import contextlib
import logging
import random
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import wait
from dataclasses import dataclass
from threading import Event

from pipeline.agent.worker import Workers, in_turns
from pipeline.background import in_background
from pipeline.clock import Clock
from pipeline.delivery import Delivery, Pace
from pipeline.health import Health, Trouble, label, subject
from pipeline.influx import Target, unprotected
from pipeline.retention import Keeper, KnownRule, Swept, TrustedClock
from pipeline.settings import MAIN, NAMES, Settings
from pipeline.spool import Fact, Spool, SpoolError

_log = logging.getLogger(__name__)

END_S = 2.0
"""The longest time that the threads of a server are given to end, in seconds."""
_QUEUES = "queues"
# A change of any other setting replaces what belongs to a server, also of one that is new here.
_NOT_OF_A_SERVER = frozenset(
    {"collection_interval_ms", "tags", "host_root", "collectors", "mirrors"}
    | {"data_dir", "spool_max_mb", "http_port", "log_level", "log_format"}
)


@dataclass(frozen=True, slots=True)
class _Server:
    """Retention and delivery by one state of the settings; no delivery without an InfluxDB."""

    settings: Settings
    keeper: Keeper
    delivery: Delivery | None


def _place(settings: Settings) -> str:
    return "{}, organisation {!r}, bucket {!r}".format(*settings.place)


def _threads(names: Collection[str]) -> list[str]:
    return [subject(work, name) for name in names for work in ("delivery", "sweep")]


def _differ(old: Settings, new: Settings) -> bool:
    own = (name for name in NAMES if name not in _NOT_OF_A_SERVER)
    return any(getattr(old, name) != getattr(new, name) for name in own)


class Servers:
    """All that is done for the servers, by the settings of the moment.

    Each has connections, an outage and a pace of its own, so that none waits for another. Without
    an InfluxDB there is the main one alone, which only looks after the local copy.

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
        self._exposed: dict[str, Trouble] = {}  # only logged: readings are delivered all the same
        # Other threads read it: it is replaced, and never changed.
        self._servers = {name: self._connect(name, own) for name, own in settings.views.items()}

    @property
    def threads(self) -> tuple[str, ...]:
        """The names of all threads."""
        return (*_threads(self._servers), _QUEUES)

    def start(self) -> None:
        """Start the threads."""
        for name in self._servers:
            self._start(name)
        self._queue()

    def change(self, new: Settings) -> None:
        """Take new settings; only the servers whose own ones changed are replaced."""
        before, views = self._servers, new.views
        fresh = {
            name: self._connect(name, own)
            for name, own in views.items()
            if name not in before or _differ(before[name].settings, own)
        }
        self._servers = {name: fresh.get(name) or before[name] for name in views}
        gone = before.keys() - views.keys()
        self._workers.end(END_S, *_threads(gone), retire=True)
        for name in gone:
            self._health.forget(name)
            self._exposed.pop(name, None)
        for name in fresh:
            self._start(name)
        if fresh or gone:
            self._queue()

    def wake(self) -> None:
        """Have what waits delivered now."""
        for name in self._servers:
            self._workers.wake(subject("delivery", name))

    def sweep(self) -> Swept:
        """Remove what is older than the age, at all servers at the same time, and here.

        Returns:
            What was removed; of the servers, from the one that had the most points.

        Raises:
            InfluxError: A server failed; the others were swept.
            SpoolError: The local copy could not be swept; the mirrors were.
        """
        sweeps = [
            in_background(server.keeper.sweep, subject("cleanup", name))
            for name, server in self._servers.items()
        ]
        wait(sweeps)
        swept = [sweep.result() for sweep in sweeps]
        uncounted = dict.fromkeys(name for one in swept for name in one.uncounted)
        most = max(one.remote for one in swept)
        return Swept(most, max(one.local for one in swept), tuple(uncounted))

    def oldest_ns(self, measurement: str) -> int:
        """Return the oldest time at which every server takes a new point, and keeps it for a while.

        Args:
            measurement: The point's measurement.

        Returns:
            Nanoseconds since 1970-01-01 UTC.
        """
        return max(server.keeper.oldest_ns(measurement) for server in self._servers.values())

    def _connect(self, name: str, settings: Settings) -> _Server:
        spool, clock, trusted_clock = self._spool, self._clock, self._trusted_clock
        queue, health, is_main = spool.queue(name), self._health.server(name), name == MAIN
        known, target = KnownRule(queue, clock), None
        if settings.delivers:
            target = Target(
                settings,
                lambda: self._reload().servers.get(name, settings),
                clock,
                known,
                # Only one server judges this machine's clock: two may differ.
                trusted_clock.server_says if is_main else lambda _: None,
                trusted_clock.unset,
                health.label,
            )
        local = spool if is_main else None
        keeper = Keeper(settings, local, queue, target, known, clock, trusted_clock, health)
        if target is None:
            return _Server(settings, keeper, None)
        pace = Pace(
            settings.flush_interval_ms / 1000,
            settings.flush_jitter_ms / 1000,
            settings.batch_max_points,
        )
        delivery = Delivery(
            queue, target, clock, pace, random.uniform, health, keeper.is_old, keeper.trim
        )
        return _Server(settings, keeper, delivery)

    def _start(self, name: str) -> None:
        """Start the threads of a server, in place of the ones before."""
        server, health = self._servers[name], self._health.server(name)
        keeper, delivery = server.keeper, server.delivery
        delivering, sweeping = subject("delivery", name), subject("sweep", name)
        self._workers.start(
            sweeping, keeper.run, keeper.retire, lambda: health.clear("sweep", "downsampling")
        )
        if delivery is None:
            self._workers.end(END_S, delivering, retire=True)
            health.clear("delivery")
        else:
            self._tell(name, server.settings)
            self._workers.start(
                delivering, delivery.run, delivery.retire, lambda: health.clear("delivery")
            )
        # Last: once `status` shows that there is no server any more, nothing is sent.
        with contextlib.suppress(SpoolError):  # the recorder logs it with the next reading
            self._spool.queue(name).note({Fact.URL: server.settings.influxdb_url})

    def _tell(self, name: str, settings: Settings) -> None:
        """Log where readings go, and whether others can read them on the way."""
        prefix, where = label(name), (settings.influxdb_url, settings.influxdb_bucket)
        _log.info("%sDelivering to %s, bucket %r", prefix, *where)
        exposed = self._exposed.setdefault(name, Trouble(label=prefix))
        if exposure := unprotected(settings, name):
            line = str(exposure)
            exposed.begins(line, line[0].upper() + line[1:], kind=line)
        else:
            exposed.ends()

    def _queue(self) -> None:
        """Have the queues of new mirrors filled, and those of mirrors that are gone given up."""
        with contextlib.suppress(SpoolError):  # the thread tries again
            if next(self._serve(), True):  # there is nothing to do
                return
        self._workers.start(_QUEUES, self._fill)

    def _serve(self) -> Iterator[None]:
        given = {name: server.settings for name, server in self._servers.items()}
        places = {name: _place(own) for name, own in given.items() if own.delivers}
        return self._spool.serve(given.keys() - {MAIN}, places)

    def _fill(self, stop: Event, _: Event) -> None:
        in_turns(self._serve(), self._clock, stop, self._health.trouble(_QUEUES))
