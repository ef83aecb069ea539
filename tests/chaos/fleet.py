"""Many hosts in one process and one simulated time.

Each host is a thread for each server, with the real Delivery and Spool. One of them runs at a time,
and the time moves when all wait, so that a simulation comes out the same on any machine. Only
the threads in which a Delivery settles and leases run beside the turns: what they do is with the
host's own queue, and the Delivery that needs it waits for it while the time stands still.
"""

import gzip
import heapq
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from pipeline.delivery import Delivery, Pace
from pipeline.health import Health
from pipeline.influx import Answer
from pipeline.spool import Queue, Spool
from tests.clocks import START_NS

_WITHIN_S = 600.0


class Simulation:
    """The one time, and whose turn it is."""

    def __init__(self) -> None:
        self.now = 0.0
        self._waiting: list[tuple[float, int, threading.Semaphore]] = []
        self._turns = 0
        self._over = Event()

    def sleep_until(self, moment: float) -> None:
        """Let the others go on until it is that late."""
        mine = self._enter(moment)
        self._pass_on()
        mine.acquire()

    def run(self, jobs: list[Callable[[], None]]) -> None:
        """Run jobs, all from now on, to their ends."""

        def one(job: Callable[[], None], turn: threading.Semaphore) -> None:
            turn.acquire()
            try:
                job()
            finally:
                self._pass_on()

        threads = [
            threading.Thread(target=one, args=(job, self._enter(self.now)), daemon=True)
            for job in jobs
        ]
        for thread in threads:
            thread.start()
        self._pass_on()
        assert self._over.wait(_WITHIN_S), "the simulation does not end"
        for thread in threads:
            thread.join()

    def _enter(self, moment: float) -> threading.Semaphore:
        turn = threading.Semaphore(0)
        self._turns += 1
        heapq.heappush(self._waiting, (moment, self._turns, turn))
        return turn

    def _pass_on(self) -> None:
        if not self._waiting:
            self._over.set()
            return
        moment, _, turn = heapq.heappop(self._waiting)
        self.now = max(self.now, moment)
        turn.release()


@dataclass(frozen=True)
class Request:
    """What one request was, in simulated seconds."""

    host: str
    began: float
    ended: float
    lines: int
    status: int | None


class Influx:
    """A server that takes so many lines a second, one request after the other.

    Args:
        simulation: Its time.
        rate: How many lines it takes a second.
        down_until: Before this it answers 503.
        retry_after_s: What it asks for meanwhile.
    """

    def __init__(
        self, simulation: Simulation, rate: float, down_until: float, retry_after_s: int
    ) -> None:
        self._simulation = simulation
        self._rate = rate
        self._down_until = down_until
        self._retry_after_s = retry_after_s
        self._busy_until = 0.0
        self.requests: list[Request] = []
        self.stored: dict[str, set[str]] = {}

    def write(self, host: str, body: bytes) -> Answer:
        """Take the readings of a host, for as long as that lasts."""
        lines = gzip.decompress(body).decode().splitlines()
        now = self._simulation.now
        if now < self._down_until:
            answer, ended = Answer(503, retry_after_s=self._retry_after_s), now + 0.001
        else:
            answer = Answer(204)
            ended = max(now, self._busy_until) + 0.001 + len(lines) / self._rate
            self._busy_until = ended
            self.stored.setdefault(host, set()).update(lines)
        self.requests.append(Request(host, now, ended, len(lines), answer.status))
        self._simulation.sleep_until(ended)
        return answer


class HostClock:
    """The simulated time as one host sees it; a host that has delivered all has done its part."""

    def __init__(self, simulation: Simulation, queue: Queue, stop: Event) -> None:
        self._simulation = simulation
        self._queue = queue
        self._stop = stop

    def now_ns(self) -> int:
        return START_NS + round(1e9 * self._simulation.now)

    def monotonic(self) -> float:
        return self._simulation.now

    def wait(self, event: Event, seconds: float) -> bool:
        if event.is_set():
            return True
        if self._queue.contents().backlog_points == 0:
            self._stop.set()
        else:
            self._simulation.sleep_until(self._simulation.now + seconds)
        return event.is_set()


class Remote:
    """The server as a host's Delivery sees it."""

    def __init__(self, host: str, influx: Influx) -> None:
        self._host, self._influx = host, influx

    def prepare(self) -> None: ...

    def renew(self) -> None: ...

    def close(self) -> None: ...

    def write(self, body: bytes) -> Answer:
        return self._influx.write(self._host, body)


def host(
    name: str, spool: Spool, simulation: Simulation, server: str, influx: Influx, pace: Pace
) -> Callable[[], None]:
    """Return the job of a host that comes up with a backlog for a server."""

    def job() -> None:
        stop = Event()
        queue = spool.queue(server)
        clock = HostClock(simulation, queue, stop)
        chance = random.Random(name + server)  # noqa: S311  # chance that comes back is wanted
        health = Health(clock, 60, lambda _: None).server(server)
        remote = Remote(name, influx)
        delivery = Delivery(
            queue, remote, clock, pace, chance.uniform, health, lambda _: False, lambda: None
        )
        delivery.run(stop, Event())

    return job
