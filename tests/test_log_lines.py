"""What lasts is a line in the log when it begins and one when it ends, however often it is met."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from threading import Event

import pytest

from pipeline.agent.recorder import Recorder
from pipeline.agent.worker import Worker, Workers
from pipeline.clock import Random, Tick
from pipeline.collectors import Collector, Guard, Omission
from pipeline.delivery import Delivery, Pace
from pipeline.endpoint.routes import routes
from pipeline.health import Health
from pipeline.influx import Answer, InfluxError
from pipeline.point import Point
from pipeline.retention.keeper import Keeper, KnownRule
from pipeline.retention.trusted_clock import TrustedClock
from pipeline.settings import CollectorOptions, Settings
from pipeline.spool import Spool, SpoolError
from tests.clocks import START_NS, ManualClock
from tests.spool.stores import sql

pytestmark = pytest.mark.slow

TIMES = 200
SECOND = 10**9
DAY_S = 86_400


@pytest.fixture(autouse=True)
def _all_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def health(clock: ManualClock) -> Health:
    return Health(clock, 60, lambda _: None)


class Server:
    """Fails many times, each time in other words."""

    def __init__(self, status: int | None, *, prepares: bool) -> None:
        self.status, self.prepares, self.left = status, prepares, TIMES

    def _fail(self) -> Answer:
        self.left -= 1
        return Answer(self.status, "no code", f"it fails, request {self.left}")

    def prepare(self) -> None:
        if self.left and self.prepares:
            raise InfluxError(self._fail())

    def write(self, _: bytes) -> Answer:
        return self._fail() if self.left else Answer(204)

    def renew(self) -> None:
        pass

    def close(self) -> None:
        pass


def delivering(
    spool: Spool,
    server: Server,
    clock: ManualClock,
    health: Health,
    random: Random = lambda low, _: low,
) -> Delivery:
    queue, its_health = spool.queue(), health.server("main")
    return Delivery(queue, server, clock, Pace(1, 0, 100), random, its_health, lambda _: False)


@pytest.mark.parametrize("prepares", [False, True])
@pytest.mark.parametrize("status", [None, 200, 302, 400, 401, 403, 404, 422, 429, 500, 503])
def test_a_server_that_does_not_take_the_readings(
    spool: Spool,
    clock: ManualClock,
    health: Health,
    caplog: pytest.LogCaptureFixture,
    status: int | None,
    *,
    prepares: bool,
) -> None:
    spool.append([f"m f=1i {START_NS}"], START_NS)
    server = Server(status, prepares=prepares)
    delivery = delivering(spool, server, clock, health)
    delivery.drain(Event())
    assert server.left == 0
    stopped, works = caplog.messages
    assert stopped.startswith("Delivery stopped, 1 point is kept until it works: it fails")
    assert works.startswith("Delivery works again after ")


@pytest.mark.parametrize("ahead_s", [-DAY_S, -60, 60, DAY_S, 365 * DAY_S])
def test_a_clock_that_differs_from_the_servers(
    spool: Spool,
    clock: ManualClock,
    health: Health,
    caplog: pytest.LogCaptureFixture,
    ahead_s: int,
) -> None:
    trusted = TrustedClock(clock, spool, health, 7 * DAY_S)
    trusted.now_ns()
    clock.wall_ns += ahead_s * SECOND
    for _ in range(TIMES):
        trusted.server_says(clock.wall_ns / SECOND - ahead_s)
        trusted.now_ns()
        clock.advance(1)
    differs = [text for text in caplog.messages if "InfluxDB's; set it" in text]
    later = [text for text in caplog.messages if "later than expected" in text]
    assert len(differs) == 1
    assert len(later) == (ahead_s >= DAY_S)
    assert len(caplog.messages) == len(differs) + len(later)


def test_a_clock_that_jumps_back_and_forth(
    spool: Spool, clock: ManualClock, health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    trusted = TrustedClock(clock, spool, health, 7 * DAY_S)
    for number in range(TIMES):
        jumped_s = (60, 0, -60, 0)[number % 4]
        trusted.look(Tick(clock.now_ns(), 0, jumped_s * SECOND))
        clock.advance(1)
    ways = [text.partition(" by ")[0] for text in caplog.messages]
    assert ways == ["The clock jumped forward", "The clock jumped back"]
    caplog.clear()
    clock.advance(7200)
    for jumped_s in (0, 60):
        trusted.look(Tick(clock.now_ns(), 0, jumped_s * SECOND))
    assert len(caplog.messages) == 1


def test_a_rule_that_is_left_alone_for_ever_new_reasons(
    spool: Spool, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    known = KnownRule(spool.queue(), clock)
    for number in range(TIMES):
        known.leave_alone(f"the token is refused, request {number}")
    assert len(caplog.messages) == 10


def test_a_rule_that_is_left_alone_every_other_time(
    spool: Spool, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    known = KnownRule(spool.queue(), clock)
    for number in range(TIMES):
        known.leave_alone("the token may not change it" if number % 2 else "")
        clock.advance(1)
    assert len(caplog.messages) == 1


class Failing(Collector):
    """Fails each time in other words."""

    name = "failing"

    def __init__(self) -> None:
        self.times = 0

    def collect(self) -> Iterable[Point | Omission]:
        self.times += 1
        raise OSError(f"it failed {self.times} times")


class Flapping(Failing):
    """Fails every other time."""

    def collect(self) -> Iterable[Point | Omission]:
        self.times += 1
        if self.times % 2:
            raise OSError(f"it failed {self.times} times")
        return ()


class Renaming(Failing):
    """Leaves something out that has another name each time."""

    def collect(self) -> Iterable[Point | Omission]:
        self.times += 1
        yield Omission(f"file {self.times}", "it is no text")


def recorder(
    spool: Spool, clock: ManualClock, health: Health, collector: Collector | None = None
) -> Recorder:
    guard = Guard(collector or Failing(), CollectorOptions(), clock)
    return Recorder([guard], spool, clock, {"host": "h1"}, health)


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
    ("collector", "told"),
    [
        (Failing, [f"{FAILS}1 times"]),
        (Flapping, [f"{FAILS}1 times", f"{WORKS}fails"]),
        (Renaming, ["Collector failing leaves out file 1: it is no text", *RENAMED]),
    ],
)
def test_a_collector_that_fails(
    spool: Spool,
    clock: ManualClock,
    health: Health,
    caplog: pytest.LogCaptureFixture,
    collector: type[Failing],
    told: list[str],
) -> None:
    one = recorder(spool, clock, health, collector())
    for number in range(TIMES):
        one.record(Tick(START_NS + number * SECOND, 0))
        clock.advance(1)
    assert caplog.messages == told


def test_a_collector_that_fails_for_good_in_the_end_is_told_within_the_hour(
    spool: Spool, clock: ManualClock, health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    collector = Flapping()
    one = recorder(spool, clock, health, collector)
    for number in range(10):
        collector.times = number % 2 if number < 6 else 0
        one.record(Tick(START_NS + number * SECOND, 0))
        clock.advance(1)
    assert len(caplog.messages) == 2
    assert health.troubles().keys() == {"collector failing"}
    clock.advance(3600)
    collector.times = 0
    one.record(Tick(START_NS + 20 * SECOND, 0))
    assert caplog.messages[2:] == [f"{FAILS}1 times"]


def test_a_store_that_takes_nothing(
    clock: ManualClock, health: Health, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with closing(Spool(tmp_path, 2**24)) as spool:
        one = recorder(spool, clock, health)
    caplog.clear()
    for number in range(TIMES):
        with pytest.raises(SpoolError):
            one.record(Tick(START_NS + number * SECOND, 0))
    lines = [text for text in caplog.messages if "held in memory" in text]
    assert len(lines) == 1
    assert len(caplog.messages) <= 2  # the collector's


def test_threads_that_cannot_be_started(
    clock: ManualClock,
    health: Health,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Worker) -> None:
        raise RuntimeError("can't start new thread")

    workers = Workers(clock, health)
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "start", refuse)
        workers.start("tick", lambda stop, _: None)
        for _ in range(TIMES):
            workers.look()
    monkeypatch.setattr(Worker, "start", lambda _: None)
    workers.look()
    assert [text.partition(":")[0] for text in caplog.messages] == [
        "A thread could not be started, retrying",
        "All threads run again",
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_each_time(
    clock: ManualClock, health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    def die(stop: Event, wake: Event) -> None:
        raise SystemExit

    worker = Worker("sweep", die, clock, health)
    for _ in range(TIMES):
        worker.start()
        worker.join(clock.monotonic() + 30)
    assert caplog.messages == ["The thread sweep ended by accident and is started again"]


REFUSED = Answer(422, "unprocessable entity", "field type conflict")
EXPIRED = Answer(422, "unprocessable entity", "points beyond retention policy dropped=1")
FAILED = Answer(500, "", "it fails")
TAKEN = Answer(204)


class Answers(Server):
    """Gives these answers in turn."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(None, prepares=False)
        self.answers = cycle(answers)

    def write(self, _: bytes) -> Answer:
        return next(self.answers)


def flushes(
    spool: Spool, clock: ManualClock, health: Health, answers: Answers, name: str, rest_s: float
) -> None:
    delivery = delivering(spool, answers, clock, health)
    for number in range(TIMES):
        spool.append([f"{name.format(number)} f=1i {clock.now_ns()}"], clock.now_ns())
        delivery.drain(Event())
        clock.advance(rest_s)


@pytest.mark.parametrize(
    ("answer", "name", "lines"), [(REFUSED, "m", 1), (REFUSED, "m{}", 10), (EXPIRED, "m", 0)]
)
def test_lines_that_are_refused_or_expired_in_each_flush(
    spool: Spool,
    clock: ManualClock,
    health: Health,
    caplog: pytest.LogCaptureFixture,
    answer: Answer,
    name: str,
    lines: int,
) -> None:
    flushes(spool, clock, health, Answers(answer), name, 1)
    assert sum(spool.contents().lost.values()) == TIMES
    refused = [text for text in caplog.messages if "InfluxDB refused 1 of 1 points" in text]
    assert (len(refused), len(caplog.messages)) == (lines, lines)


def test_lines_that_are_refused_every_other_time(
    spool: Spool, clock: ManualClock, health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    flushes(spool, clock, health, Answers(REFUSED, TAKEN), "m", 310)
    hours = clock.elapsed / 3600
    refused = [text for text in caplog.messages if "InfluxDB refused 1 of 1 points" in text]
    assert hours / 2 < len(refused) <= hours + 1
    assert len(caplog.messages) <= 2 * len(refused)


def test_a_server_that_fails_and_works_in_turns(
    spool: Spool, clock: ManualClock, health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    flushes(spool, clock, health, Answers(FAILED, TAKEN), "m", 10)
    hours = clock.elapsed / 3600
    told = [text.partition(",")[0].partition(" after")[0] for text in caplog.messages]
    assert hours / 2 < len(told) / 2 <= hours + 1
    assert told == ["Delivery stopped", "Delivery works again"] * (len(told) // 2)


def test_an_outage_that_lasts_is_told_within_the_hour_after_a_short_one(
    spool: Spool, clock: ManualClock, health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    spool.append([f"m f=1i {START_NS}"], START_NS)
    answers = Answers(FAILED, TAKEN, *[FAILED] * TIMES, TAKEN)
    delivery = delivering(spool, answers, clock, health, lambda _, high: high)
    delivery.drain(Event())
    spool.append([f"m f=2i {START_NS + 1}"], START_NS + 1)
    delivery.drain(Event())
    told = [text.partition(",")[0].partition(" after")[0] for text in caplog.messages]
    assert told == ["Delivery stopped", "Delivery works again"] * 2


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

    def shorten(self, _: object) -> None:
        pass


@pytest.mark.parametrize("every_other", [False, True])
def test_a_sweep_that_fails(
    spool: Spool,
    clock: ManualClock,
    health: Health,
    caplog: pytest.LogCaptureFixture,
    *,
    every_other: bool,
) -> None:
    settings = Settings(host="h1", cleanup_interval_minutes=1)
    target = Target(lambda number: every_other and number % 2 == 0)
    stop = Event()
    clock.on_wait = lambda waits: stop.set() if waits == TIMES else None
    trusted = TrustedClock(clock, spool, health, 7 * DAY_S)
    known = KnownRule(spool.queue(), clock)
    keeper = Keeper(
        settings,
        spool,
        spool.queue(),
        target,  # type: ignore[arg-type]  # as much of one as a sweep asks
        known,
        clock,
        trusted,
        health.server("main"),
    )
    keeper.run(stop, Event())
    assert target.looks == TIMES
    hours = clock.elapsed / 3600
    lines = [text for text in caplog.messages if "Old points could not be removed" in text]
    assert len(caplog.messages) == len(lines)
    assert (hours / 2 < len(lines) <= hours + 1) if every_other else len(lines) == 1


@pytest.mark.parametrize(
    ("pressures", "told"), [(["full"], 1), (["full", "bound"], 1), (["full", None], 2)]
)
def test_a_store_without_room(
    spool: Spool,
    clock: ManualClock,
    health: Health,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    pressures: list[str | None],
    told: int,
) -> None:
    turns = cycle(pressures)
    monkeypatch.setattr(Spool, "pressure", property(lambda _: next(turns)))
    one = Recorder([], spool, clock, {"host": "h1"}, health)
    for number in range(TIMES):
        one.record(Tick(START_NS + number * SECOND, 0))
        clock.advance(1)
    assert caplog.messages[0] == "The oldest readings make room for new ones: full"
    assert len(caplog.messages) == told


def test_a_store_at_its_bound(
    clock: ManualClock, health: Health, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    class Large(Failing):
        def collect(self) -> Iterable[Point | Omission]:
            for number in range(40):
                yield Point("m", {"f": secrets.token_hex(40)}, {"n": str(number)})

    with closing(Spool(tmp_path, 2**20)) as spool:
        one = recorder(spool, clock, health, Large())
        for number in range(TIMES):
            one.record(Tick(START_NS + number * SECOND, 0))
            clock.advance(1)
        assert spool.contents().lost["spool_full"] > 0
    (line,) = caplog.messages
    assert line.startswith("The oldest readings make room for new ones: ")


def damaged(spool: Spool, time_ns: int) -> None:
    spool.append([f"m f=1i {time_ns}"], time_ns)
    sql(spool.path.parent, "UPDATE tick SET lines = zeroblob(20) WHERE time_ns = ?", time_ns)


def test_readings_that_are_damaged_in_each_flush(
    clock: ManualClock, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with closing(Spool(tmp_path, 2**24, clock)) as spool:
        for number in range(TIMES):
            damaged(spool, START_NS + number)
            assert spool.queue().lease(100) is None
            clock.advance(1)
        assert spool.contents().lost["corrupt_store"] == TIMES
    assert caplog.messages == [f"{spool.path} was damaged, 1 points in it are lost"]


@dataclass
class Serving:
    """As much of an agent as the page asks."""

    settings: Settings
    health: Health

    def try_start(self) -> str:
        return ""


def test_a_damaged_reading_that_each_page_meets(
    spool: Spool, clock: ManualClock, health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    spool.append([f"m f=1i {START_NS - 1}"], START_NS - 1)
    damaged(spool, START_NS)
    settings = Settings(host="h1", data_dir=spool.path.parent)
    page = routes(Serving(settings, health), clock)["/"]
    for _ in range(TIMES):
        page.reply({})
    assert caplog.messages == [f"1 readings in {spool.path} are damaged and left out"]
