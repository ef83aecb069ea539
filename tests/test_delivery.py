import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from pipeline.delivery import LAST_FLUSH_S, LONGEST_WAIT_S, Delivery, Pace, StoppedError
from pipeline.influx.connection import InfluxError
from pipeline.influx.verdicts import Answer
from pipeline.spool import Spool
from tests.clocks import ManualClock

OK = Answer(204)
DOWN = Answer(None, message="no answer")
BAD = Answer(400, "invalid", "unable to parse")


class Server:
    """Answers by script; refuses the lines that contain `bad`, as InfluxDB refuses a batch."""

    def __init__(self, answers: list[Answer] | None = None) -> None:
        self.answers = answers or []
        self.requests: list[list[str]] = []
        self.stored: set[str] = set()
        self.prepared: list[Answer | None] = []
        self.renewed = 0
        self.unready: list[Answer] = []
        self.refusal = BAD

    def prepare(self) -> None:
        self.prepared.append(self.unready[0] if self.unready else None)
        if self.unready:
            raise InfluxError(self.unready.pop(0))

    def write(self, body: bytes) -> Answer:
        lines = gzip.decompress(body).decode().splitlines()
        self.requests.append(lines)
        if self.answers and (answer := self.answers.pop(0)) != OK:
            return answer
        good = {line for line in lines if "bad" not in line}
        if len(good) < len(lines):
            if self.refusal.status == 422:
                self.stored |= good
            return self.refusal
        self.stored |= good
        return OK

    def renew(self) -> None:
        self.renewed += 1


class Report:
    def __init__(self) -> None:
        self.events: list[str | None] = []
        self.failures = 0

    def broke(self, message: str) -> None:
        self.events.append(message)

    def healed(self) -> None:
        self.events.append(None)

    def failed(self) -> None:
        self.failures += 1

    def wrote(self, seconds: float) -> None:
        pass


def most(low: float, high: float) -> float:
    return high


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path, 2**24) as opened:
        yield opened


class Bench:
    def __init__(self, spool: Spool, server: Server, *, batch: int = 100) -> None:
        self.clock, self.report, self.stop = ManualClock(), Report(), Event()
        self.trimmed = 0
        self.delivery = Delivery(
            spool, server, self.clock, Pace(10, 0, batch), most, self.report, self.trim
        )

    def trim(self) -> None:
        self.trimmed += 1

    def stop_after(self, waits: int) -> None:
        self.clock.on_wait = lambda number: self.stop.set() if number >= waits else None


def fill(spool: Spool, *blocks: list[str]) -> None:
    for number, block in enumerate(blocks):
        spool.append(block, number)


def test_all_that_waits_is_delivered_the_oldest_first(spool: Spool) -> None:
    fill(spool, ["a"], ["b"], ["c"])
    server = Server()
    bench = Bench(spool, server, batch=2)
    bench.delivery.drain(bench.stop)
    assert server.requests == [["a", "b"], ["c"]]
    assert spool.contents().delivered_points == 3
    assert spool.contents().backlog_points == 0
    assert server.prepared == [None]  # once, before the first write
    assert bench.trimmed == 3  # before each lease


@pytest.mark.parametrize(
    "answer",
    [
        DOWN,
        Answer(200, message="a page"),
        Answer(401, "unauthorized"),
        Answer(404, "not found"),
        Answer(429),
        Answer(503),
        Answer(418),
    ],
)
def test_what_the_server_does_not_take_is_kept_and_sent_again(spool: Spool, answer: Answer) -> None:
    fill(spool, ["a"])
    server = Server([answer, answer, OK])
    bench = Bench(spool, server)
    bench.delivery.drain(bench.stop)
    assert server.stored == {"a"}
    assert spool.contents().delivered_points == 1
    assert bench.report.events == [answer.message, None]
    assert bench.report.failures == len(bench.clock.waits)


def test_it_waits_exponentially_with_full_jitter_capped_for_as_long_as_it_takes(
    spool: Spool,
) -> None:
    fill(spool, ["a"])
    bench = Bench(spool, Server([DOWN] * 12))
    bench.delivery.drain(bench.stop)
    assert bench.clock.waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert max(bench.clock.waits) == LONGEST_WAIT_S


def test_an_outage_of_thousands_of_attempts_overflows_nothing(spool: Spool) -> None:
    fill(spool, ["a"])
    bench = Bench(spool, Server([DOWN] * 3_000))
    bench.delivery.drain(bench.stop)
    assert len(bench.clock.waits) == 3_000


def test_it_never_waits_less_than_the_server_asks(spool: Spool) -> None:
    fill(spool, ["a"])
    bench = Bench(spool, Server([Answer(429, retry_after_s=400), DOWN, Answer(503)]))
    bench.delivery.drain(bench.stop)
    assert bench.clock.waits == [400, 2, 4]


def test_a_stop_ends_the_wait_and_no_further_attempt_is_made(spool: Spool) -> None:
    fill(spool, ["a"])
    server = Server([DOWN] * 10)
    bench = Bench(spool, server)
    bench.stop_after(waits=2)
    with pytest.raises(StoppedError):
        bench.delivery.drain(bench.stop)
    assert len(server.requests) == 2
    assert spool.contents().backlog_points == 1


def test_after_an_outage_the_newest_comes_first_then_the_backlog_from_its_oldest_end(
    spool: Spool,
) -> None:
    fill(spool, ["a"], ["b"], ["c"], ["d"])
    server = Server([DOWN, DOWN])
    bench = Bench(spool, server, batch=2)
    bench.delivery.drain(bench.stop)
    assert server.requests == [["a", "b"], ["d"], ["d"], ["a", "b"], ["c"]]
    assert spool.contents().delivered_points == 4


def test_a_server_that_takes_only_small_bodies_gets_them_and_is_not_hammered(
    spool: Spool,
) -> None:
    class Small(Server):
        def write(self, body: bytes) -> Answer:
            if len(gzip.decompress(body).splitlines()) > 4:
                self.requests.append(["too much"])
                return Answer(503, message="too much")
            return super().write(body)

    fill(spool, *[[f"line{n}"] for n in range(64)])
    server = Small()
    bench = Bench(spool, server, batch=64)
    bench.delivery.drain(bench.stop)
    assert len(server.stored) == 64
    # 64 fails, and again after small ones passed; then 32, 16 and 8. 4 passes to the end.
    assert bench.clock.waits == [1, 2, 4, 8, 16]
    assert bench.report.events[-1] is None
    assert bench.report.events.count(None) == 1
    assert server.requests.count(["too much"]) == 5


def test_what_is_too_old_is_trimmed_after_the_bucket_told_its_age(spool: Spool) -> None:
    fill(spool, ["old"], ["new"])
    server = Server()
    bench = Bench(spool, server)
    server_told = server.prepared
    trim_order: list[int] = []
    bench.delivery._trim = lambda: trim_order.append(len(server_told))
    bench.delivery.drain(bench.stop)
    assert trim_order[0] == 1


def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    fill(spool, ["a"], ["b"])
    bench = Bench(spool, Server([DOWN] * 5))
    with caplog.at_level("INFO"):
        bench.delivery.drain(bench.stop)
    assert [record.getMessage() for record in caplog.records] == [
        "Delivery stopped, 2 points are kept until it works: no answer",
        "Delivery works again after 31 s, 0 points to catch up",
    ]


def test_a_new_reason_within_an_outage_is_told(spool: Spool) -> None:
    fill(spool, ["a"])
    wrong = Answer(401, "unauthorized", "wrong token")
    bench = Bench(spool, Server([DOWN, DOWN, wrong, wrong]))
    bench.delivery.drain(bench.stop)
    assert bench.report.events == ["no answer", "wrong token", None]


def test_the_secrets_are_read_again_before_each_try_with_a_refused_token(spool: Spool) -> None:
    fill(spool, ["a"])
    server = Server([Answer(401, "unauthorized"), Answer(403, "forbidden"), DOWN])
    bench = Bench(spool, server)
    bench.delivery.drain(bench.stop)
    assert server.renewed == 2
    # What the old token could not make ready, the new one may.
    assert len(server.prepared) == 3


def test_a_missing_bucket_is_prepared_again(spool: Spool) -> None:
    fill(spool, ["a"])
    server = Server([Answer(404, "not found")])
    bench = Bench(spool, server)
    bench.delivery.drain(bench.stop)
    assert server.prepared == [None, None]


def test_a_server_that_is_absent_at_the_start_is_prepared_when_it_is_there(spool: Spool) -> None:
    fill(spool, ["a"])
    server = Server()
    server.unready = [DOWN, DOWN]
    bench = Bench(spool, server)
    bench.delivery.drain(bench.stop)
    assert server.prepared == [DOWN, DOWN, None]
    assert server.requests == [["a"]]


@pytest.mark.parametrize("refusal", [BAD, Answer(422, "unprocessable entity", "type conflict")])
def test_refused_lines_are_found_and_kept_and_hold_back_no_other(
    spool: Spool, refusal: Answer
) -> None:
    lines = [f"line{n}" for n in range(64)]
    lines[5], lines[40] = "bad5", "bad40"
    fill(spool, lines[:30], lines[30:], ["after"])
    server = Server()
    server.refusal = refusal
    bench = Bench(spool, server, batch=64)
    bench.delivery.drain(bench.stop)
    assert server.stored == {*lines, "after"} - {"bad5", "bad40"}
    contents = spool.contents()
    assert (contents.delivered_points, contents.rejected_points) == (63, 2)
    assert contents.lost == {"rejected": 2}
    assert contents.backlog_points == 0
    assert len(server.requests) <= 2 + 2 * 2 * 6  # k log n


def test_a_single_refused_line_is_not_sent_again(spool: Spool) -> None:
    fill(spool, ["bad"])
    server = Server()
    Bench(spool, server).delivery.drain(Event())
    assert server.requests == [["bad"]]
    assert spool.contents().lost == {"rejected": 1}


def test_a_body_that_is_too_large_is_halved_and_loses_nothing(spool: Spool) -> None:
    fill(spool, ["a", "b"], ["c", "d"])
    server = Server([Answer(413), Answer(413), OK, OK, OK])
    Bench(spool, server).delivery.drain(Event())
    assert server.requests == [["a", "b", "c", "d"], ["a", "b"], ["a"], ["b"], ["c", "d"]]
    assert spool.contents().delivered_points == 4


def test_points_that_the_bucket_calls_too_old_are_counted_as_expired(spool: Spool) -> None:
    fill(spool, ["bad", "good"])
    server = Server()
    server.refusal = Answer(
        422, "unprocessable entity", "dropped 1 points outside retention policy of duration 1h"
    )
    Bench(spool, server).delivery.drain(Event())
    contents = spool.contents()
    assert contents.lost == {"expired": 1}
    assert (contents.delivered_points, contents.rejected_points) == (1, 0)


def test_an_outage_while_refused_lines_are_sought_loses_nothing(spool: Spool) -> None:
    fill(spool, ["bad", "a", "b", "c"])
    server = Server([OK, OK, DOWN])
    bench = Bench(spool, server)
    bench.delivery.drain(bench.stop)
    assert server.stored == {"a", "b", "c"}
    assert spool.contents().lost == {"rejected": 1}


def test_it_flushes_every_interval_and_a_stop_sends_what_is_left(spool: Spool) -> None:
    server = Server()
    bench = Bench(spool, server)

    def on_wait(number: int) -> None:
        spool.append([f"line{number}"], number)
        if number == 3:
            bench.stop.set()

    bench.clock.on_wait = on_wait
    bench.delivery.run(bench.stop, Event())
    # Each flush is one wait for the interval and one for the jitter.
    assert bench.clock.waits[0] == 10
    assert server.stored == {"line1", "line2", "line3"}
    assert spool.contents().backlog_points == 0


def test_a_reading_that_wakes_it_is_sent_at_once(spool: Spool) -> None:
    server = Server()
    bench = Bench(spool, server)
    wake = Event()
    seen: list[int] = []

    def on_wait(number: int) -> None:
        seen.append(len(server.requests))
        if number == 1:
            spool.append(["a"], 1)
            wake.set()
        if number == 3:
            bench.stop.set()
            wake.set()

    bench.clock.on_wait = on_wait
    bench.delivery.run(bench.stop, wake)
    assert bench.clock.waits[0] == 10  # ended early: the clock did not move for it
    assert bench.clock.elapsed < 10
    assert server.stored == {"a"}


def test_a_stop_makes_no_last_attempt_during_an_outage(spool: Spool) -> None:
    fill(spool, ["a"])
    server = Server([DOWN] * 10)
    bench = Bench(spool, server)
    bench.stop_after(waits=1)
    bench.delivery.run(bench.stop, Event())
    assert len(server.requests) == 1


def test_the_last_flush_has_an_end(spool: Spool) -> None:
    fill(spool, *[[f"line{n}"] for n in range(10)])

    class Slow(Server):
        tell: Callable[[], None]

        def write(self, body: bytes) -> Answer:
            self.tell()
            return super().write(body)

    server = Slow()
    bench = Bench(spool, server, batch=1)
    server.tell = lambda: bench.clock.advance(LAST_FLUSH_S / 3)
    bench.stop.set()
    bench.delivery.run(bench.stop, Event())
    assert 3 <= len(server.requests) <= 4
