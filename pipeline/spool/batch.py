"""What goes to the server: a batch of readings, and the lines of it that are refused."""

from dataclasses import dataclass


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
