"""The batches of a queue, in turn: while the server has one, others are settled and leased."""

from collections.abc import Callable
from concurrent.futures import Future, wait
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
        self._unsettled: Callable[[], None] | None = None  # settles the last batch, once it passed
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
        if not self._unsettled:  # what follows a batch that did not pass has to wait for it
            self.finish()
        following, self._following = self._following, None
        batch = following.result() if following else None
        # What was given up meanwhile is counted as lost. What was taken with a wrong clock has got
        # its time, and so other lines.
        if batch is None or not self._queue.holds(batch):
            self.finish()
            batch = self._queue.lease(points, newest=newest)
        return batch

    def look_ahead(self, batch: Batch, points: int) -> None:
        """Begin to settle what passed before a batch, and to lease what follows it.

        Args:
            batch: The one that is sent next.
            points: The size of the one that follows it, if it passes.
        """
        unsettled, self._unsettled = self._unsettled, None

        def work() -> Batch | None:
            self._settle(unsettled)
            found = self._queue.lease(points, after=batch.ids[-1])
            # More may have come when its turn is there.
            return found and replace(found, more=True)

        self._following = in_background(work, "batches")

    def settle(self, batch: Batch, outcome: Outcome) -> None:
        """Settle a batch that passed: now, or while the server has the one that follows it.

        Raises:
            SpoolError: The store failed.
        """
        now_ns, refused, expired = self._clock.now_ns(), outcome.refused, outcome.expired
        self._unsettled = partial(self._queue.settle, batch, now_ns, refused, expired)
        if self._following is None:
            self.finish()

    def finish(self) -> None:
        """Settle now what passed, and forget what was leased ahead.

        Raises:
            SpoolError: The store failed.
        """
        following, self._following = self._following, None
        if following:
            wait([following])
        unsettled, self._unsettled = self._unsettled, None
        self._settle(unsettled)

    def _settle(self, unsettled: Callable[[], None] | None) -> None:
        if unsettled and not self.retired:
            unsettled()
