"""The pace of requests: their size, the rest between them, and the wait after one that failed."""

from dataclasses import dataclass

from pipeline.clock import Random

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
# From the beginning of one request to that of the next: no host sends more than 200 a second.
SPACING_S = 0.005
# The first body is a sixteenth of the largest, and each one that passes is followed by one four
# times as large: what many hosts send at one moment tells each of them how busy the server is.
_FIRST_SHARE, _GROWTH = 16, 4


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how much is sent.

    Attributes:
        flush_interval_s: The least time between two flushes, in seconds.
        jitter_s: A random part of this is added, so that many hosts do not send at one moment.
        batch_max_points: How many lines a request carries at most.
    """

    flush_interval_s: float
    jitter_s: float
    batch_max_points: int


class Size:
    """How many lines the next request carries at most: a slow start, as TCP has it (RFC 5681).

    Attributes:
        points: That many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.points = self._first = -(-most // _FIRST_SHARE)

    @property
    def grown(self) -> int:
        """How many lines the request after it carries at most, if it passes."""
        return min(_GROWTH * self.points, self._most)

    def passed(self) -> None:
        """A request of this size got through."""
        self.points = self.grown

    def failed(self, *, probed: bool) -> None:
        """A request of this size failed.

        Args:
            probed: Whether a single reading passed just before. Then the size itself may be what
                a proxy or a weak server refuses, however small it is.
        """
        if probed:
            self._most = max(1, self.points // 2)
        elif self.points > self._first:
            self._most = max(self._first, self.points // 2)
        self.points = min(self._first, self._most)


def retry_s(random: Random, failures: int, asked_s: float) -> float:
    """Return the wait before the next try, in seconds: exponential with full jitter, capped.

    Full jitter as in
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

    Args:
        random: The source of jitter.
        failures: Those of the whole outage so far, which a probe that passes does not end.
        asked_s: The server's Retry-After. The jitter comes on top: hosts that were told the same
            must not come back at the same moment.
    """
    # The exponent is bounded first: an outage of days makes thousands of attempts.
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures, 30))
    return asked_s + random(0.0, longest)


def rest_s(random: Random, took_s: float) -> float:
    """Return how long to leave a server alone that took `took_s` to answer, in seconds.

    A host has one request under way at most, so N hosts with a backlog make a closed system, for
    which the interactive response time law holds (Denning and Buzen, "The Operational Analysis of
    Queueing Network Models", 1978): N = X (R + Z), with X requests a second, an answer time R and a
    rest Z. A full server has X = C, and without a rest all N requests lie with it. With Z = R²/1 s
    C R of them do, about √(N C): 100 of 500, where it answers 20 a second. Within a second it is
    less, Z = R³/1 s²: one host alone, which is answered in 0.1 s, rests 0.001 s on average.

    Random, so that hosts that were in step fall out of it; and never so short that requests begin
    closer than `SPACING_S`, which is a bound where answers are quick, as to the halves of a batch.
    """
    mean_s = took_s**2 * min(took_s, 1.0)
    return max(min(random(0.0, 2.0 * mean_s), LONGEST_WAIT_S), SPACING_S - took_s)
