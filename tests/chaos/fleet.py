"""Many hosts in one process and one simulated time, with real sockets to their servers.

Each host is a thread for each server, with the real Delivery, Spool and Connection. One of them
runs at a time, and the time moves when all wait, so that a simulation comes out the same on any
machine.
"""

import asyncio
import gzip
import heapq
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

from pipeline.delivery import Delivery, Pace
from pipeline.health import Health
from pipeline.influx import Answer, Connection
from pipeline.settings import Settings
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
    status: int

    def under_way(self, moment: float) -> bool:
        return self.began <= moment < self.ended


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
        self.url = ""
        self.requests: list[Request] = []
        self.stored: dict[str, set[str]] = {}

    def answer(self, host: str, body: bytes) -> bytes:
        lines = gzip.decompress(body).decode().splitlines()
        now = self._simulation.now
        if now < self._down_until:
            self.requests.append(Request(host, now, now + 0.001, len(lines), 503))
            head = f"HTTP/1.1 503 Busy\r\nRetry-After: {self._retry_after_s}\r\n"
            return f"{head}Content-Length: 0\r\n\r\n".encode()
        self._busy_until = max(now, self._busy_until) + 0.001 + len(lines) / self._rate
        self.requests.append(Request(host, now, self._busy_until, len(lines), 204))
        self.stored.setdefault(host, set()).update(lines)
        return b"HTTP/1.1 204 No Content\r\n\r\n"

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Serve on a real port, in a thread."""
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2048)
        )
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield
        finally:
            loop.call_soon_threadsafe(server.close)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.split(": ", 1) for line in head.splitlines()[1:-1])
                body = await reader.readexactly(int(fields["Content-Length"]))
                writer.write(self.answer(fields["Authorization"].removeprefix("Token "), body))
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()


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
    """The server as a host's Delivery sees it: a real connection, and the answer's time."""

    def __init__(self, simulation: Simulation, influx: Influx, connection: Connection) -> None:
        self._simulation, self._influx, self._connection = simulation, influx, connection

    def prepare(self) -> None: ...

    def renew(self) -> None: ...

    def close(self) -> None: ...

    def write(self, body: bytes) -> Answer:
        answer = self._connection.write(body)
        self._simulation.sleep_until(self._influx.requests[-1].ended)
        return answer


def host(
    name: str, spool: Spool, simulation: Simulation, server: str, influx: Influx, pace: Pace
) -> Callable[[], None]:
    """Return the job of a host that comes up with a backlog for a server."""

    def job() -> None:
        stop = Event()
        queue = spool.queue(server)
        clock = HostClock(simulation, queue, stop)
        settings = Settings(
            influxdb_url=influx.url, influxdb_org="o", influxdb_bucket="b", influxdb_token=name
        )
        connection = Connection(settings, clock)
        chance = random.Random(name + server)  # noqa: S311  # chance that comes back is wanted
        remote = Remote(simulation, influx, connection)
        health = Health(clock, 60, lambda _: None)
        Delivery(
            queue, remote, clock, pace, chance.uniform, health.server(server), lambda _: False
        ).run(stop, Event())
        connection.close()

    return job
