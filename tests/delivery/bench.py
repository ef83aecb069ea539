"""A delivery on a store, a server that answers by script, and a clock of their own."""

import gzip
from collections.abc import Callable, Mapping
from threading import Event

from pipeline.delivery import Delivery, Pace
from pipeline.health import Health
from pipeline.influx import Answer, InfluxError
from pipeline.spool import Fact, Spool
from tests.clocks import ManualClock

OK = Answer(204)
DOWN = Answer(None, message="no answer")
BAD = Answer(400, "invalid", "unable to parse")


class Server:
    """Answers by script; refuses lines that contain `refuses`, as InfluxDB refuses a batch.

    What `before` returns for the lines of a request comes before all that.
    """

    def __init__(self, answers: list[Answer] | None = None) -> None:
        self.answers = answers or []
        self.requests: list[list[str]] = []
        self.stored: set[str] = set()
        self.prepared: list[Answer | None] = []
        self.renewed = 0
        self.closed = 0
        self.unready: list[Answer] = []
        self.refusal = BAD
        self.refuses = "bad"
        self.before: Callable[[list[str]], Answer | None] = lambda _: None

    def prepare(self) -> None:
        self.prepared.append(self.unready[0] if self.unready else None)
        if self.unready:
            raise InfluxError(self.unready.pop(0))

    def write(self, body: bytes) -> Answer:
        lines = gzip.decompress(body).decode().splitlines()
        self.requests.append(lines)
        if (first := self.before(lines)) is not None:
            return first
        if self.answers and (answer := self.answers.pop(0)) != OK:
            return answer
        good = {line for line in lines if self.refuses not in line}
        if len(good) < len(lines):
            if self.refusal.status == 422:
                self.stored |= good
            return self.refusal
        self.stored |= good
        return OK

    def close(self) -> None:
        self.closed += 1

    def renew(self) -> None:
        self.renewed += 1


def at_most(lines: int) -> Callable[[list[str]], Answer | None]:
    """How a server answers that takes only small bodies."""
    return lambda found: Answer(503, message="too much") if len(found) > lines else None


def most(low: float, high: float) -> float:
    return high


class Bench:
    def __init__(
        self,
        spool: Spool,
        server: Server,
        *,
        batch: int = 100,
        jitter_s: float = 0,
        is_old: Callable[[int], bool] = lambda _: False,
        trim: Callable[[], object] = lambda: None,
    ) -> None:
        self.clock, self.stop = ManualClock(), Event()
        self.told: list[str | None] = []

        def note(facts: Mapping[str, str | None]) -> None:
            self.told.append(facts[Fact.LAST_ERROR])
            spool.note(facts)

        self.health = Health(self.clock, 60, note)
        self.looked_at: list[int] = []

        def look(oldest_ns: int) -> bool:
            self.looked_at.append(oldest_ns)
            return is_old(oldest_ns)

        pace = Pace(10, jitter_s, batch)
        server_health = self.health.server("main")
        self.delivery = Delivery(
            spool.queue(), server, self.clock, pace, most, server_health, look, trim
        )

    @property
    def tries(self) -> list[float]:
        """The waits before a try, without the rests between requests that went well."""
        return [wait for wait in self.clock.waits if wait > 0.1]

    def stop_after(self, waits: int) -> None:
        self.clock.on_wait = lambda number: self.stop.set() if number >= waits else None


def fill(spool: Spool, *blocks: list[str]) -> None:
    for number, block in enumerate(blocks):
        spool.append(block, number)
