"""The batches of a queue, in turn: while the server has one, others are settled and leased."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

from pipeline.background import in_background
from pipeline.clock import Clock
from pipeline.delivery.refusals import Outcome
from pipeline.spool import Batch, Queue


class Batches:
    """Leases batches, and settles those that passed.

    What fails in the background is raised when the next batch is asked for. All that is not settled
    is still queued: to send it again changes nothing in InfluxDB.

    Args:
        queue: The readings that wait.
        clock: Tells when a batch passed.

    Attributes:
        retired: Whether the queue may be that of another server by now: then nothing is settled.
    """

    def __init__(self, queue: Queue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._passed: Callable[[], None] | None = None  # settles the last batch, once it passed
        self._following: Future[Batch | None] | None = None
        self.retired = False

    def lease(self, points: int, *, newest: bool) -> Batch | None:
        """Return the next batch, if anything waits.

        Args:
            points: Its size, where it is not leased yet.
            newest: Only the newest reading, in place of the oldest ones.

        Raises:
            SpoolError: The store failed.
        """
        following, self._following = self._following, None
        batch = following.result() if following else None
        # It follows a batch that passed. What was given up meanwhile is counted as lost; what got
        # another time has other lines.
        if not self._passed or batch is None or not self._queue.holds(batch):
            self._settle_last()
            batch = self._queue.lease(points, newest=newest)
        return batch

    def look_ahead(self, batch: Batch, points: int) -> None:
        """Begin to settle what passed before a batch, and to lease what follows it.

        Args:
            batch: The one that is sent next.
            points: The size of the one that follows it, if it passes.
        """
        passed, self._passed = self._passed, None

        def work() -> Batch | None:
            self._settle(passed)
            found = self._queue.lease(points, after=batch.ids[-1])
            # More may have come when its turn is there.
            return found and replace(found, more=True)

        self._following = in_background(work, "lease")

    def settle(self, batch: Batch, outcome: Outcome) -> None:
        """Settle a batch that passed: now, or while the server has the one that follows it.

        Raises:
            SpoolError: The store failed.
        """
        now_ns, refused, expired = self._clock.now_ns(), outcome.refused, outcome.expired
        self._passed = partial(self._queue.settle, batch, now_ns, refused, expired)
        if self._following is None:
            self._settle_last()

    def _settle_last(self) -> None:
        self._settle(self._passed)
        self._passed = None

    def _settle(self, passed: Callable[[], None] | None) -> None:
        if passed and not self.retired:
            passed()
