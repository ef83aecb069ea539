"""Delivery: leases readings from a queue, writes them, and settles them by the verdict.

A reading's time was fixed when it was taken, so to send it twice changes nothing in InfluxDB:
at least once here is exactly once there.
"""

import contextlib
from collections.abc import Callable
from threading import Event
from typing import Protocol

import tenacity

from pipeline.clock import Clock, Random
from pipeline.delivery.batches import Batches
from pipeline.delivery.outage import Outage
from pipeline.delivery.pacing import Pace, Size, rest_s, retry_s
from pipeline.delivery.refusals import Refusals
from pipeline.health import ServerHealth
from pipeline.influx import Answer, InfluxError, Verdict, verdict
from pipeline.spool import Batch, Queue

# A stop sends what is left, if the server answers in time. A thread is given 2 s to end, in which
# the last batch has to be settled, too.
LAST_FLUSH_S = 1.5
# InfluxDB has no rule that is shorter, so that it refuses no younger reading for its age.
_SHORTEST_RULE_NS = 3600 * 10**9


class Server(Protocol):
    """Where readings go."""

    def prepare(self) -> None:
        """Make ready what writes need: a bucket, and its rule long enough.

        Raises:
            InfluxError: It could not be made ready.
        """
        ...

    def write(self, body: bytes) -> Answer:
        """Send a gzip member of lines; whatever fails is an answer too."""
        ...

    def renew(self) -> None:
        """Read the secrets again: the token may have been rotated."""
        ...

    def close(self) -> None:
        """Let the connection go; the next write opens another one."""
        ...


class StoppedError(Exception):
    """The agent was asked to stop while it waited."""


class Delivery:
    """Delivers what waits in a queue until it is stopped.

    Args:
        queue: Where the readings wait.
        server: Where they go.
        clock: Paces the flushes and waits between tries.
        pace: How often and how much.
        random: The source of jitter.
        health: Shows how it goes with that server.
        is_old: Returns whether a reading of that time is too old to be sent.
        trim: Takes off the queue, and counts, all that is too old.
    """

    def __init__(
        self,
        queue: Queue,
        server: Server,
        clock: Clock,
        pace: Pace,
        random: Random,
        health: ServerHealth,
        is_old: Callable[[int], bool],
        trim: Callable[[], object],
    ) -> None:
        self._queue = queue
        self._batches = Batches(queue, clock)
        self._server = server
        self._clock = clock
        self._pace = pace
        self._random = random
        self._health = health
        self._is_old = is_old
        self._trim = trim
        self._size = Size(pace.batch_max_points)
        self._refusals = Refusals(clock, health.label)
        self._outage = Outage(clock, health.trouble("delivery"), self._backlog)
        self._prepared = self._tried_to_prepare = False
        self._rested_at = 0.0

    def run(self, stop: Event, wake: Event) -> None:
        """Flush every interval until `stop`, then once more what is left.

        Args:
            stop: Ends every wait at once.
            wake: Set with `stop`; and with each reading, when readings are further apart than
                flushes, so that one is sent as soon as it is there.
        """
        try:
            with contextlib.suppress(StoppedError):
                # Before the first one too: a power cut ends for many hosts at one moment.
                while not self._clock.wait(stop, self._random(0.0, self._pace.jitter_s)):
                    self.drain(stop)
                    self._clock.wait(wake, self._pace.flush_interval_s)
                    wake.clear()
            if not self._batches.retired:  # what waits may be for another server
                self._last_flush()
        finally:
            self._server.close()
            self._batches.finish()

    def retire(self) -> None:
        """Leave all to another delivery, however long a request is still under way here."""
        self._batches.retired = True

    def drain(self, stop: Event) -> None:
        """Deliver until nothing waits, for as long as that takes.

        Raises:
            StoppedError: `stop` was set before all was delivered.
        """
        # A server that was too weak for large bodies may have become stronger.
        self._size = Size(self._pace.batch_max_points)

        def pause(seconds: float) -> None:
            if self._clock.wait(stop, seconds):
                raise StoppedError

        def wait_s(state: tenacity.RetryCallState) -> float:
            asked_s = _failure(state).answer.retry_after_s
            return retry_s(self._random, self._outage.failures, asked_s)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(InfluxError),
            wait=wait_s,
            sleep=pause,
            before_sleep=lambda state: self._failed(_failure(state)),
        )
        while not stop.is_set() and retrying(self._deliver_next, pause):
            pass

    def _last_flush(self) -> None:
        deadline = self._clock.monotonic() + LAST_FLUSH_S

        def hurry(_: float = 0.0) -> None:
            if self._clock.monotonic() >= deadline:
                raise StoppedError

        try:
            while not self._outage.under_way and self._deliver_next(hurry):
                hurry()
        except StoppedError:
            pass
        except InfluxError as error:
            self._failed(error)

    def _deliver_next(self, pause: Callable[[float], None]) -> bool:
        """Deliver one batch; return whether there may be another.

        `pause` waits so many seconds before a request.

        Raises:
            InfluxError: The server did not take it.
            StoppedError: It is time to end.
        """
        # After an outage the newest reading comes first: it is what people look at, and a small
        # question to a server that may still be weak. The rest follows from the oldest on.
        probe = self._probing
        batch = self._lease(probe)
        if batch is None:
            return False
        if batch.more and not self._outage.under_way:
            self._batches.look_ahead(batch, self._size.grown)
        begun = self._clock.monotonic()
        outcome = self._refusals.deliver(batch, lambda body: self._send(body, pause))
        if self._batches.retired:  # the queue may be that of another server by now
            return False
        self._batches.settle(batch, outcome)
        if outcome.asked:
            self._health.wrote(self._clock.monotonic() - begun)
            self._passed(probe=probe)
        return batch.more

    def _lease(self, newest: bool) -> Batch | None:
        batch = self._batches.lease(self._size.points, newest=newest)
        if batch is not None:
            self._prepare(batch.oldest_ns)
        # For each batch: readings grow old during an outage, and `prepare` brings the bucket's age.
        if batch is not None and self._is_old(batch.oldest_ns):
            self._batches.finish()  # what was delivered is not counted as expired
            self._trim()
            batch = self._batches.lease(self._size.points, newest=newest)
        return batch

    def _prepare(self, oldest_ns: int) -> None:
        """Prepare the server, once; only readings that need it wait where that fails.

        Raises:
            InfluxError: It failed, and its rule may be too short for a reading of that time.
        """
        old = oldest_ns < self._clock.now_ns() - _SHORTEST_RULE_NS
        if self._prepared or (self._tried_to_prepare and not old):
            return
        self._tried_to_prepare = True
        try:
            self._server.prepare()
            self._prepared = True
        except InfluxError:
            if old:
                raise

    def _send(self, body: bytes, pause: Callable[[float], None]) -> Answer:
        """Send lines; return the answer in which the server judges them.

        Raises:
            InfluxError: It did not.
        """
        rest = self._rested_at - self._clock.monotonic()
        if rest > 0:
            pause(rest)
        begun = self._clock.monotonic()
        answer = self._server.write(body)
        answered = self._clock.monotonic()
        outcome = verdict(answer)
        judged = outcome in (Verdict.DELIVERED, Verdict.HALVE)
        # After a failure comes the backoff, and nothing more: one that took long was a hang.
        self._rested_at = answered + rest_s(self._random, answered - begun if judged else 0.0)
        if judged:
            return answer
        if outcome is Verdict.UNAUTHORIZED:
            self._server.renew()
        if outcome in (Verdict.UNAUTHORIZED, Verdict.NO_BUCKET):
            self._prepared = self._tried_to_prepare = False
        raise InfluxError(answer)

    def _failed(self, error: InfluxError) -> None:
        self._batches.finish()
        if not self._probing:
            self._size.failed(probed=self._outage.probed)
        self._health.write_failed()
        if not self._batches.retired:
            self._outage.failed(error.answer)

    def _passed(self, *, probe: bool) -> None:
        if not probe:
            self._size.passed()
        if not self._batches.retired:
            self._outage.passed(probe=probe)

    @property
    def _probing(self) -> bool:
        return self._outage.under_way and not self._outage.probed

    def _backlog(self) -> int:
        return self._queue.contents().backlog_points


def _failure(state: tenacity.RetryCallState) -> InfluxError:
    """Return why a try failed; no other error is tried again."""
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, InfluxError)  # noqa: S101  # for the type checker
    return error
