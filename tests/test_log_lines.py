"""What lasts is a line in the log when it begins and one when it ends, however often it is met."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, cycle, repeat
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread, current_thread

import pytest

from pipeline.agent.recorder import Recorder
from pipeline.agent.worker import Workers
from pipeline.clock import Random, Tick
from pipeline.collectors import Collector, Guard, Omission
from pipeline.delivery import Delivery, Pace
from pipeline.endpoint.routes import routes
from pipeline.health import Health
from pipeline.influx import Answer, InfluxError
from pipeline.retention.keeper import Keeper, KnownRule
from pipeline.retention.trusted_clock import TrustedClock
from pipeline.settings import CollectorOptions, Settings
from pipeline.spool import Spool
from tests.clocks import START_NS, ManualClock
from tests.spool.stores import sql

pytestmark = pytest.mark.slow

TIMES = 100
SECOND = 10**9
DAY_S = 86_400


@dataclass
class Bench:
    """A store, a clock, and what the log says."""

    spool: Spool
    clock: ManualClock
    health: Health
    log: pytest.LogCaptureFixture

    @property
    def told(self) -> list[str]:
        return self.log.messages

    @property
    def begun(self) -> list[str]:
        """The beginning of each line."""
        return [text.partition(",")[0].partition(" after")[0] for text in self.told]

    @property
    def trusted(self) -> TrustedClock:
        return TrustedClock(self.clock, self.spool, self.health, 7 * DAY_S)

    def once_an_hour(self, number: int) -> bool:
        hours = self.clock.elapsed / 3600
        assert hours > 4  # else once for ever would pass for it
        return hours / 2 < number <= hours + 1

    def each_second(self, what: Callable[[Tick], object]) -> None:
        for _ in range(TIMES):
            what(Tick(self.clock.now_ns(), 0))
            self.clock.advance(1)


@pytest.fixture
def bench(
    clock: ManualClock, health: Health, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> Iterator[Bench]:
    caplog.set_level("INFO")
    with Spool(tmp_path, 2**24, clock) as spool:
        yield Bench(spool, clock, health, caplog)


class Server:
    """Gives these answers in turn, to what it is asked or to what it is asked before."""

    def __init__(self, answers: Iterable[Answer], *, prepares: bool = False) -> None:
        self.answers, self.prepares = iter(answers), prepares

    def prepare(self) -> None:
        if self.prepares and (answer := next(self.answers)).status != 204:
            raise InfluxError(answer)

    def write(self, _: bytes) -> Answer:
        return next(self.answers)

    def renew(self) -> None: ...

    def close(self) -> None: ...


def delivering(bench: Bench, server: Server, random: Random = lambda low, _: low) -> Delivery:
    queue, health, pace = bench.spool.queue(), bench.health.server("main"), Pace(1, 0, 100)
    return Delivery(queue, server, bench.clock, pace, random, health, lambda _: False, lambda: None)


REFUSED = Answer(422, "unprocessable entity", "field type conflict")
EXPIRED = Answer(422, "unprocessable entity", "points beyond retention policy dropped=1")
FAILED = Answer(500, "", "it fails")
TAKEN = Answer(204)


@pytest.mark.parametrize("prepares", [False, True])
@pytest.mark.parametrize("status", [None, 200, 302, 400, 401, 403, 404, 422, 429, 500, 503])
def test_a_server_that_does_not_take_the_readings(
    bench: Bench, status: int | None, *, prepares: bool
) -> None:
    bench.spool.append([f"m f=1i {START_NS}"], START_NS)
    failures = iter([Answer(status, "no code", f"it fails, request {n}") for n in range(TIMES)])
    server = Server(chain(failures, repeat(TAKEN)), prepares=prepares)
    delivering(bench, server).drain(Event())
    assert [*failures] == []
    stopped, works = bench.told
    assert stopped.startswith("Delivery stopped, 1 point is kept until it works: it fails")
    assert works.startswith("Delivery works again after ")


@pytest.mark.parametrize("ahead_s", [-DAY_S, -60, 60, DAY_S, 365 * DAY_S])
def test_a_clock_that_differs_from_the_servers(bench: Bench, ahead_s: int) -> None:
    trusted = bench.trusted
    trusted.now_ns()
    bench.clock.wall_ns += ahead_s * SECOND

    def look(tick: Tick) -> None:
        trusted.server_says(tick.timestamp_ns / SECOND - ahead_s)
        trusted.now_ns()

    bench.each_second(look)
    differs = [text for text in bench.told if "InfluxDB's; set it" in text]
    later = [text for text in bench.told if "later than expected" in text]
    assert len(differs) == 1
    assert len(later) == (ahead_s >= DAY_S)
    assert len(bench.told) == len(differs) + len(later)


def test_a_clock_that_jumps_back_and_forth(bench: Bench) -> None:
    trusted, jumps_s = bench.trusted, cycle((60, 0, -60, 0))
    bench.each_second(lambda tick: trusted.look(Tick(tick.timestamp_ns, 0, next(jumps_s) * SECOND)))
    ways = [text.partition(" by ")[0] for text in bench.told]
    assert ways == ["The clock jumped forward", "The clock jumped back"]
    bench.log.clear()
    bench.clock.advance(7200)
    for jumped_s in (0, 60):
        trusted.look(Tick(bench.clock.now_ns(), 0, jumped_s * SECOND))
    assert len(bench.told) == 1


@pytest.mark.parametrize(
    ("why", "lines"),
    [
        (lambda number: f"the token is refused, request {number}", 10),
        (lambda number: "the token may not change it" if number % 2 else "", 1),
    ],
    ids=["new reasons", "every other time"],
)
def test_a_rule_that_is_left_alone(bench: Bench, why: Callable[[int], str], lines: int) -> None:
    known, numbers = KnownRule(bench.spool.queue(), bench.clock), iter(range(TIMES))
    bench.each_second(lambda _: known.leave_alone(why(next(numbers))))
    assert len(bench.told) == lines


class Counting(Collector):
    """Does what a test says of its nth reading."""

    name = "failing"

    def __init__(self, read: Callable[[int], Iterable[Omission]]) -> None:
        self.times, self.read = 0, read

    def collect(self) -> Iterable[Omission]:
        self.times += 1
        return self.read(self.times)


def fail(number: int) -> Iterable[Omission]:
    raise OSError(f"it failed {number} times")


def flap(number: int) -> Iterable[Omission]:
    return fail(number) if number % 2 else ()


def rename(number: int) -> Iterable[Omission]:
    return [Omission(f"file {number}", "it is no text")]


def recorder(bench: Bench, *collectors: Collector) -> Recorder:
    guards = [Guard(collector, CollectorOptions(), bench.clock) for collector in collectors]
    return Recorder(guards, bench.spool, bench.clock, {"host": "h1"}, bench.health, int)


FAILS = "Collector failing fails: OSError: it failed "
WORKS = "Collector failing works again, it no longer "
RENAMED = [
    line
    for number in range(1, 11)
    for line in (
        f"Collector failing leaves out file {number + 1}: it is no text",
        f"{WORKS}leaves out file {number}",
    )
    if "file 11:" not in line  # the log has had its ten of the hour
]


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (fail, [f"{FAILS}1 times"]),
        (flap, [f"{FAILS}1 times", f"{WORKS}fails"]),
        (rename, ["Collector failing leaves out file 1: it is no text", *RENAMED]),
    ],
)
def test_a_collector_that_fails(
    bench: Bench, read: Callable[[int], Iterable[Omission]], told: list[str]
) -> None:
    bench.each_second(recorder(bench, Counting(read)).record)
    assert bench.told == told


def test_a_collector_that_fails_for_good_in_the_end_is_told_within_the_hour(bench: Bench) -> None:
    collector = Counting(flap)
    one = recorder(bench, collector)
    for number in range(10):
        collector.times = number % 2 if number < 6 else 0
        one.record(Tick(START_NS + number * SECOND, 0))
        bench.clock.advance(1)
    assert len(bench.told) == 2
    assert bench.health.troubles().keys() == {"collector failing"}
    bench.clock.advance(3600)
    collector.times = 0
    one.record(Tick(START_NS + 20 * SECOND, 0))
    assert bench.told[2:] == [f"{FAILS}1 times"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_each_time(bench: Bench) -> None:
    threads: SimpleQueue[Thread] = SimpleQueue()

    def die(stop: Event, wake: Event) -> None:
        threads.put(current_thread())
        raise SystemExit

    workers = Workers(bench.clock, bench.health)
    workers.start("sweep", die)
    for _ in range(TIMES):
        threads.get(timeout=60).join(60)
        workers.start_missing()
    threads.get(timeout=60).join(60)  # else the last one would end within another test
    assert bench.told == ["The thread sweep ended by accident and is started again"]


def flushes(bench: Bench, answers: Iterable[Answer], rest_s: float, name: str = "m") -> None:
    delivery = delivering(bench, Server(cycle(answers)))
    for number in range(TIMES):
        now_ns = bench.clock.now_ns()
        bench.spool.append([f"{name.format(number)} f=1i {now_ns}"], now_ns)
        delivery.drain(Event())
        bench.clock.advance(rest_s)


REFUSAL = "InfluxDB refused 1 of 1 points"


@pytest.mark.parametrize(
    ("answer", "name", "lines"), [(REFUSED, "m", 1), (REFUSED, "m{}", 10), (EXPIRED, "m", 0)]
)
def test_lines_that_are_refused_or_expired_in_each_flush(
    bench: Bench, answer: Answer, name: str, lines: int
) -> None:
    flushes(bench, [answer], 1, name)
    assert sum(bench.spool.contents().lost.values()) == TIMES
    refused = [text for text in bench.told if REFUSAL in text]
    assert (len(refused), len(bench.told)) == (lines, lines)


def test_lines_that_are_refused_every_other_time(bench: Bench) -> None:
    flushes(bench, [REFUSED, TAKEN], 310)
    refused = [text for text in bench.told if REFUSAL in text]
    assert bench.once_an_hour(len(refused))
    assert len(bench.told) <= 2 * len(refused)


def test_a_server_that_fails_and_works_in_turns(bench: Bench) -> None:
    flushes(bench, [FAILED, TAKEN], 310)
    outages = len(bench.told) // 2
    assert bench.once_an_hour(outages)
    assert bench.begun == ["Delivery stopped", "Delivery works again"] * outages


def test_an_outage_that_lasts_is_told_within_the_hour_after_a_short_one(bench: Bench) -> None:
    server = Server([FAILED, TAKEN, *[FAILED] * TIMES, TAKEN])
    delivery = delivering(bench, server, lambda _, high: high)
    for number in range(2):
        bench.spool.append([f"m f=1i {START_NS + number}"], START_NS + number)
        delivery.drain(Event())
    assert bench.begun == ["Delivery stopped", "Delivery works again"] * 2


class Target:
    """A bucket in which no sweep works, or not every one."""

    prepared, needs_recheck, write_only = True, False, True

    def __init__(self, works: Callable[[int], bool]) -> None:
        self.works, self.looks = works, 0

    @contextmanager
    def connection(self, _: float) -> Iterator[None]:
        yield

    def look(self, _: object) -> None:
        self.looks += 1
        if not self.works(self.looks):
            raise InfluxError(Answer(500, "", f"it fails, request {self.looks}"))

    def shorten(self, _: object) -> None: ...


@pytest.mark.parametrize("every_other", [False, True])
def test_a_sweep_that_fails(bench: Bench, *, every_other: bool) -> None:
    target = Target(lambda number: every_other and number % 2 == 0)
    stop, queue = Event(), bench.spool.queue()
    bench.clock.on_wait = lambda waits: stop.set() if waits == TIMES else None
    keeper = Keeper(
        Settings(host="h1", cleanup_interval_minutes=5),
        bench.spool,
        queue,
        target,  # type: ignore[arg-type]  # as much of one as a sweep asks
        KnownRule(queue, bench.clock),
        bench.clock,
        bench.trusted,
        bench.health.server("main"),
    )
    keeper.run(stop, Event())
    assert target.looks == TIMES
    lines = [text for text in bench.told if "Old points could not be removed" in text]
    assert len(bench.told) == len(lines)
    assert bench.once_an_hour(len(lines)) if every_other else len(lines) == 1


@pytest.mark.parametrize(
    ("pressures", "lines"), [(["full"], 1), (["full", "bound"], 1), (["full", None], 2)]
)
def test_a_store_without_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, pressures: list[str | None], lines: int
) -> None:
    turns = cycle(pressures)
    monkeypatch.setattr(Spool, "pressure", property(lambda _: next(turns)))
    bench.each_second(recorder(bench).record)
    assert bench.told[0] == "The oldest readings make room for new ones: full"
    assert len(bench.told) == lines


def damaged(spool: Spool, time_ns: int) -> None:
    spool.append([f"m f=1i {time_ns}"], time_ns)
    sql(spool.path.parent, "UPDATE tick SET lines = zeroblob(20) WHERE time_ns = ?", time_ns)


def test_readings_that_are_damaged_in_each_flush(bench: Bench) -> None:
    def flush(tick: Tick) -> None:
        damaged(bench.spool, tick.timestamp_ns)
        assert bench.spool.queue().lease(100) is None

    bench.each_second(flush)
    assert bench.spool.contents().lost["corrupt_store"] == TIMES
    assert bench.told == [f"{bench.spool.path} was damaged, 1 points in it are lost"]


@dataclass
class Serving:
    """As much of an agent as the page asks."""

    settings: Settings
    health: Health

    def try_start(self) -> str:
        return ""


def test_a_damaged_reading_that_each_page_meets(bench: Bench) -> None:
    bench.spool.append([f"m f=1i {START_NS - 1}"], START_NS - 1)
    damaged(bench.spool, START_NS)
    settings = Settings(host="h1", data_dir=bench.spool.path.parent)
    page = routes(Serving(settings, bench.health), bench.clock)["/"]
    for _ in range(TIMES):
        page.reply({})
    assert bench.told == [f"1 readings in {bench.spool.path} are damaged and left out"]
