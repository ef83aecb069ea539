"""What a spool holds: its figures, and the lines that were refused."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contents:
    """What the spool holds and has seen since it was made; a point is a line.

    Attributes:
        ticks: Readings committed.
        points: Points committed.
        delivered_points: Points that the server took.
        backlog_points: Points waiting for delivery.
        backlog_bytes: Their size on disk.
        backlog_oldest_ns: The oldest one's time, or None with no backlog.
        rejected_points: Refused lines that are kept.
        lost: Cause to points never delivered.
        first_ns: The oldest reading held, or None.
        last_ns: The newest reading held, or None.
    """

    ticks: int
    points: int
    delivered_points: int
    backlog_points: int
    backlog_bytes: int
    backlog_oldest_ns: int | None
    rejected_points: int
    lost: Mapping[str, int]
    first_ns: int | None
    last_ns: int | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that the server refused.

    Attributes:
        id: Its name for `rejected retry` and `rejected drop`.
        time_ns: When it was refused, in nanoseconds since 1970-01-01 UTC.
        reason: The server's reason.
        line: The line.
    """

    id: int
    time_ns: int
    reason: str
    line: str
