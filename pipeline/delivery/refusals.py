"""The lines that a server refuses: found by halves, and known when they come again."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.clock import Clock, LogLimit
from pipeline.influx import Answer, Verdict, is_expired, verdict
from pipeline.point import RawLine, measurement_of, read_fields, scan, split_lines
from pipeline.spool import Batch, Refusal, joined, pack, unpack

_log = logging.getLogger(__name__)

HOLD_S = 300.0
"""How long a series is refused without being sent, in seconds, until it is tried again."""
# InfluxDB holds a field to one type within a shard group, and the shortest of these is an hour.
_HOUR_NS = 3600 * 10**9
_FORGOTTEN_S = 3600.0
_MOST = 4096  # a few megabytes

Send = Callable[[bytes], Answer]
"""Sends a gzip member of lines; raises what is no judgement of them."""
Fields = frozenset[tuple[str, str]]  # names and types


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch.

    Attributes:
        refused: The lines that the server refuses.
        expired: How many it refused as older than its bucket's age.
        asked: Whether it was asked: not where all lines are known to be refused.
    """

    refused: Sequence[Refusal] = ()
    expired: int = 0
    asked: bool = True


@dataclass(frozen=True, slots=True)
class _Known:
    """A refusal of some fields of a series.

    Attributes:
        answer: The server's answer.
        time_ns: The time of the line.
        lasts: Whether another line was refused before it, for the same reason.
        until_s: When such a line is sent again, by the monotonic clock.
    """

    answer: Answer
    time_ns: int
    lasts: bool
    until_s: float


class Refusals:
    """Delivers batches, and finds the lines in them that the server refuses.

    A conflict of types lasts, and a search costs k log n requests for k lines of n: with each batch
    that would take longer than the next readings take to come. So what was refused twice in a row
    for one reason, such as a field of a series, is refused without being sent: for `HOLD_S`, and
    within the hour of the refused line, since a conflict ends with its shard group.

    Args:
        clock: Measures how long.
        label: What a line of the log begins with.
    """

    def __init__(self, clock: Clock, label: str = "") -> None:
        self._clock = clock
        self._label = label
        self._known: dict[str, dict[Fields, _Known]] = {}  # by series
        self._tidied_s = self._refused_s = clock.monotonic()
        self._limit = LogLimit(clock)  # by measurement

    def deliver(self, batch: Batch, send: Send) -> Outcome:
        """Deliver all lines of a batch but those that the server refuses.

        Raises:
            InfluxError: As `send` does; some lines may be delivered, and nothing has to be undone.
            StoppedError: In the same way.
        """
        self._tidy()
        asked, answer = False, None

        def ask(body: bytes) -> Answer:
            nonlocal asked
            asked = True
            return send(body)

        if not self._known:
            answer = ask(batch.body)
            if verdict(answer) is Verdict.DELIVERED:
                return Outcome()
        found = [*self._refused(split_lines(unpack(batch.body)), ask, answer)]
        refused = [Refusal(line, why.message) for line, why in found if not is_expired(why)]
        self._tell(refused, batch.points)
        return Outcome(refused, len(found) - len(refused), asked=asked)

    def _refused(
        self, lines: list[str], ask: Send, answer: Answer | None = None
    ) -> Iterator[tuple[str, Answer]]:
        """Deliver lines, and yield those that the server refuses, each with its answer.

        Each half is sent by itself. Lines that are in InfluxDB already are sent again: that changes
        nothing. `answer` is the one to all of them, where they were sent.
        """
        if answer is None:
            lines, known = self._parted(lines)
            yield from known
            if not lines:
                return
            answer = ask(pack(joined(lines)))
        if verdict(answer) is Verdict.DELIVERED:
            self._forget(lines)
        elif len(lines) == 1:
            self._learn(_cut(lines[0]), answer)
            yield lines[0], answer
        else:
            middle = len(lines) // 2
            yield from self._refused(lines[:middle], ask)
            yield from self._refused(lines[middle:], ask)

    def _parted(self, lines: list[str]) -> tuple[list[str], list[tuple[str, Answer]]]:
        """Part lines into those to send, and those that are known to be refused."""
        if not self._known:
            return lines, []
        left, refused = [], []
        for line in lines:
            if (answer := self._expected(_cut(line))) is None:
                left.append(line)
            else:
                refused.append((line, answer))
        return left, refused

    def _expected(self, line: RawLine) -> Answer | None:
        """Return how the server would refuse a line; None where that is not known."""
        if not (known := self._known.get(line.series)):
            return None
        fields = _fields(line)
        now, hour = self._clock.monotonic(), line.timestamp_ns // _HOUR_NS
        for some, one in known.items():
            holds = one.lasts and now < one.until_s and one.time_ns // _HOUR_NS == hour
            if holds and some <= fields:
                return one.answer
        return None

    def _learn(self, line: RawLine, answer: Answer) -> None:
        if is_expired(answer):
            return
        self._refused_s = now = self._clock.monotonic()
        fields = _fields(line)
        # Those that the reason names, as that of a conflict does: the others may come and go.
        named = frozenset(each for each in fields if f'"{each[0]}"' in answer.message) or fields
        before = self._known.get(line.series, {}).get(named)
        if before is None and sum(map(len, self._known.values())) >= _MOST:
            return
        lasts = (
            before is not None
            and before.answer.message == answer.message
            # The same line shows nothing: an outage may have cut the search short.
            and (before.lasts or before.time_ns != line.timestamp_ns)
            # A body that is too large is no word of InfluxDB's, and of this line alone.
            and bool(answer.code)
        )
        known = self._known.setdefault(line.series, {})
        known[named] = _Known(answer, line.timestamp_ns, lasts, now + HOLD_S)

    def _forget(self, lines: list[str]) -> None:
        """Forget what is known of lines that the server has taken."""
        for line in map(_cut, lines if self._known else ()):
            if known := self._known.pop(line.series, None):
                fields = _fields(line)
                others = {some: one for some, one in known.items() if not some <= fields}
                self._keep(line.series, others)

    def _keep(self, series: str, known: dict[Fields, _Known]) -> None:
        if known:
            self._known[series] = known

    def _tidy(self) -> None:
        """Forget what did not come again for long; the log says when nothing is left."""
        now = self._clock.monotonic()
        if now < self._tidied_s + HOLD_S:
            return
        self._tidied_s = now
        before, self._known = self._known, {}
        for series, known in before.items():
            young = {some: one for some, one in known.items() if now < one.until_s + _FORGOTTEN_S}
            self._keep(series, young)
        is_over = not self._known and now > self._refused_s + HOLD_S
        if is_over and self._limit.end():
            _log.info("%sInfluxDB refuses no points any more", self._label)

    def _tell(self, refused: Sequence[Refusal], points: int) -> None:
        """Log the first refusal of each measurement, in one line for a batch."""
        new = [each for each in refused if self._limit.begins(measurement_of(each.line))]
        if not new:
            return
        _log.warning(
            "%sInfluxDB refused %d of %d points, kept as rejected; the first: %s (%s)",
            self._label, len(refused), points, new[0].line, new[0].reason,
        )  # fmt: skip


def _cut(line: str) -> RawLine:
    """Cut a line into its parts; one that cannot be cut is a series of its own."""
    try:
        return next(scan(line))
    except ValueError:
        return RawLine(line, "", 0)


def _fields(line: RawLine) -> Fields:
    """Return the names and types of a line's fields."""
    try:
        fields = read_fields(line.fields)
    except ValueError:
        return frozenset()
    return frozenset((name, type(value).__name__) for name, value in fields.items())
