"""The summary of an agent's state for people: what is wrong comes first."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pipeline.health import human
from pipeline.health.health import overdue_s
from pipeline.health.status import ServerStatus, Status
from pipeline.settings import hours_text

_WELL = "The agent is well."


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One line of a summary.

    Attributes:
        name: Its subject.
        text: The state of that.
        bad: Whether somebody has to act on it.
    """

    name: str
    text: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """The state of an agent at a glance.

    Attributes:
        well: Whether nobody has to act now.
        headline: One sentence.
        wrong: A row for each thing that does not work.
        first: What to look at first.
        servers: With mirrors, the rows of each server, which are not among the others then.
        more: The rest.
    """

    well: bool
    headline: str
    wrong: tuple[SummaryRow, ...]
    first: tuple[SummaryRow, ...]
    servers: tuple[tuple[SummaryRow, ...], ...]
    more: tuple[SummaryRow, ...]


def summarize(state: Status, now_ns: int) -> Summary:
    """Summarize the state of an agent."""
    late, wrong = _late(state, now_ns), tuple(_wrong(state))
    if not state.running:
        headline = "The agent is not running."
    elif state.last_reading is None:
        headline = "The agent runs, and has no reading yet."
    elif late:
        age = human.duration(_age_s(state.last_reading, now_ns))
        headline = f"The agent runs, but its last reading is {age} old."
    elif wrong:
        number = human.count(len(wrong), "thing is", "things are")
        headline = f"Readings are taken, but {number} wrong:"
    else:
        headline = _WELL
    well = headline == _WELL
    return Summary(
        well,
        headline,
        wrong,
        tuple(_first(state, now_ns)),
        tuple(tuple(_server(name, one, now_ns)) for name, one in state.servers.items()),
        tuple(_more(state)),
    )


def _wrong(state: Status) -> Iterator[SummaryRow]:
    for subject, why in state.troubles.items():
        yield SummaryRow(subject, why, bad=True)
    # The store of an older version has no more than this.
    if state.last_error and state.last_error not in state.troubles.values():
        yield SummaryRow("last error", state.last_error, bad=True)


def _first(state: Status, now_ns: int) -> Iterator[SummaryRow]:
    running = f"yes (process {state.pid})" if state.running else "no"
    yield SummaryRow("running", running, not state.running)
    reading = _ago(state.last_reading, now_ns) if state.last_reading else "none yet"
    yield SummaryRow("last reading", reading, _late(state, now_ns))
    if not state.servers:
        if state.main.url:
            yield _waiting(state.main, now_ns)
        yield _lost(state.main)


def _server(name: str, state: ServerStatus, now_ns: int) -> Iterator[SummaryRow]:
    yield SummaryRow(name, state.url or "not known")
    yield _waiting(state, now_ns)
    yield _lost(state)
    yield _rule(state)
    yield from _taken(state)


def _waiting(state: ServerStatus, now_ns: int) -> SummaryRow:
    size = human.quantity(state.backlog_bytes, "bytes")
    waiting = f"{human.count(state.backlog_points, 'point')}, {size}"
    if state.backlog_oldest:
        waiting += f", the oldest {_ago(state.backlog_oldest, now_ns)}"
    return SummaryRow("waiting", waiting)


def _lost(state: ServerStatus) -> SummaryRow:
    causes = ", ".join(f"{cause} {points}" for cause, points in state.lost.items())
    lost = f"{human.count(sum(state.lost.values()), 'point')}: {causes}" if causes else "nothing"
    return SummaryRow("lost", lost, bool(causes))


def _rule(state: ServerStatus) -> SummaryRow:
    bucket = state.bucket_retention_hours
    rule = "not known" if bucket is None else hours_text(bucket)
    if state.bucket_drift:
        rule += f"; {state.bucket_drift}"
    return SummaryRow("bucket keeps", rule, bool(state.bucket_drift))


def _taken(state: ServerStatus) -> Iterator[SummaryRow]:
    yield SummaryRow("delivered", human.count(state.delivered_points, "point"))
    yield SummaryRow("rejected", human.count(state.rejected_points, "point"))


def _more(state: Status) -> Iterator[SummaryRow]:
    yield SummaryRow("interval", f"{state.collection_interval_ms} ms")
    yield SummaryRow("kept", hours_text(state.retention_hours))
    yield SummaryRow("readings", f"{state.ticks} ({human.count(state.main.points, 'point')})")
    if state.main.url and not state.servers:
        yield SummaryRow("InfluxDB", state.main.url)
        yield _rule(state.main)
        yield from _taken(state.main)
    if state.last_salvage:
        yield SummaryRow("last salvage", state.last_salvage)
    yield SummaryRow("store", state.data_dir)


def _late(state: Status, now_ns: int) -> bool:
    if not state.running or state.last_reading is None:
        return False
    return _age_s(state.last_reading, now_ns) > overdue_s(state.collection_interval_ms / 1000)


def _ago(time: str, now_ns: int) -> str:
    return f"{human.duration(_age_s(time, now_ns))} ago, at {time[:19]}Z"


def _age_s(time: str, now_ns: int) -> float:
    return now_ns / 1e9 - datetime.fromisoformat(time).timestamp()
