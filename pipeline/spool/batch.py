"""What goes to the server: a batch of readings, and the lines of it that are refused."""

from dataclasses import dataclass

from pipeline.spool.block import Packing


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings on their way: leased from the queue, to be settled or to stay.

    Attributes:
        ids: The ticks.
        points: How many lines they hold.
        body: The lines, as a gzip member.
        oldest_ns: The time of the oldest one, in nanoseconds since 1970-01-01 UTC.
        more: Whether others wait behind them.
    """

    ids: tuple[int, ...]
    points: int
    body: bytes
    oldest_ns: int
    more: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that the server refused, and its reason."""

    line: str
    reason: str


class Gathering:
    """A batch while readings are put into it.

    Attributes:
        ids: The ticks so far.
        points: How many lines they hold.
    """

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.points = 0
        self._oldest_ns = 2**63
        self._packing = Packing()

    def add(self, tick: int, time_ns: int, points: int, text: bytes) -> None:
        """Put a reading into it; of its text, only what it is packed to is kept."""
        self._packing.add(text)
        self.ids.append(tick)
        self.points += points
        self._oldest_ns = min(self._oldest_ns, time_ns)

    def batch(self, *, more: bool) -> Batch:
        """Return the batch; it is the end."""
        body = self._packing.packed()
        return Batch(tuple(self.ids), self.points, body, self._oldest_ns, more)
