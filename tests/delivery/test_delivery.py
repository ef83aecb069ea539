import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from math import ceil, log2
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Semaphore
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.delivery.delivery import LAST_FLUSH_S, StoppedError
from pipeline.delivery.pacing import LONGEST_WAIT_S
from pipeline.endpoint import routes
from pipeline.health import Health, read_status
from pipeline.influx import Answer
from pipeline.settings import Age, Settings
from pipeline.spool import Batch, DirectoryLock, Queue, Spool, SpoolError
from tests.clocks import START_NS, ManualClock
from tests.delivery.bench import BAD, DOWN, OK, Bench, Server, at_most, fill

Shown = tuple[str | None, object, bool]


@dataclass
class Agent:
    """What the endpoint knows of an agent."""

    settings: Settings
    health: Health

    def try_start(self) -> str:
        return ""


def test_all_that_waits_is_delivered_the_oldest_first(spool: Spool) -> None:
    fill(spool, ["a"], ["b"], ["c"])
    server = Server()
    bench = Bench(spool, server, batch=2)
    bench.delivery.drain(bench.stop)
    assert server.requests == [["a"], ["b", "c"]]
    assert spool.contents().delivered_points == 3
    assert spool.contents().backlog_points == 0
    assert server.prepared == [None]  # once, before the first write
    assert bench.looked_at == [0, 1]  # each batch's oldest reading


@pytest.mark.parametrize(
    "answer",
    [
        Answer(None, message="connection refused"),
        Answer(200, message="a page"),
        Answer(401, "unauthorized"),
        Answer(404, "not found"),
        Answer(503, "unavailable", retry_after_s=30),
    ],
    ids=lambda answer: str(answer.status),
)
def test_what_the_server_does_not_take_is_kept_and_sent_again(spool: Spool, answer: Answer) -> None:
    fill(spool, ["a"], ["b"])
    server = Server([answer, answer, OK])
    bench = Bench(spool, server)
    bench.delivery.drain(bench.stop)
    asked = answer.retry_after_s
    assert bench.tries == [asked + 1, asked + 2]
    assert server.requests == [["a", "b"], ["b"], ["b"], ["a"]]
    assert server.stored == {"a", "b"}
    assert (spool.contents().delivered_points, spool.contents().lost) == (2, {})
    assert bench.told == [answer.message, None]
    assert bench.health.server("main").retries == len(bench.tries)
    # A token may have been rotated, and may make ready what the old one could not.
    unauthorized, no_bucket = answer.status == 401, answer.status == 404
    assert server.renewed == (2 if unauthorized else 0)
    assert len(server.prepared) == (3 if unauthorized or no_bucket else 1)


@pytest.mark.parametrize(
    ("answer", "lost", "delivered"),
    [
        (OK, {}, 3),
        (Answer(413, message="too large"), {}, 3),
        (Answer(400, "invalid", "unable to parse"), {"rejected": 1}, 2),
        (Answer(422, "unprocessable entity", "field type conflict"), {"rejected": 1}, 2),
        (
            Answer(422, "unprocessable entity", "1 points outside retention policy of 1h"),
            {"expired": 1},
            2,
        ),
    ],
    ids=["204", "413", "400", "422", "422-expired"],
)
def test_what_the_server_judges_is_settled_without_a_wait(
    spool: Spool, answer: Answer, lost: dict[str, int], delivered: int
) -> None:
    fill(spool, ["a", "bad", "b"])
    server = Server([answer])
    server.refusal = answer
    if answer.status in (204, 413):
        server.refuses = "nothing"
    bench = Bench(spool, server)
    bench.delivery.drain(bench.stop)
    assert bench.tries == []
    contents = spool.contents()
    assert (contents.backlog_points, contents.lost) == (0, lost)
    assert (contents.delivered_points, contents.rejected_points) == (
        delivered,
        lost.get("rejected", 0),
    )
    assert bench.told == []


@pytest.mark.slow
def test_it_waits_exponentially_with_full_jitter_capped_for_as_long_as_it_takes(
    spool: Spool,
) -> None:
    fill(spool, ["a"])
    bench = Bench(spool, Server([DOWN] * 3_000))
    bench.delivery.drain(bench.stop)
    assert bench.clock.waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, *[LONGEST_WAIT_S] * 2_991]


def test_what_the_server_asks_to_wait_comes_before_the_jitter(spool: Spool) -> None:
    fill(spool, ["a"])
    bench = Bench(spool, Server([Answer(429, retry_after_s=400), DOWN, Answer(503)]))
    bench.delivery.drain(bench.stop)
    assert bench.clock.waits == [400 + 1, 2, 4]


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
    assert server.requests == [["a"], ["d"], ["d"], ["a"], ["b", "c"]]
    assert spool.contents().delivered_points == 4


def test_a_server_that_takes_only_small_bodies_gets_them_and_is_not_hammered(spool: Spool) -> None:
    fill(spool, *[[f"line{n}"] for n in range(64)])
    server = Server()
    server.before = at_most(4)
    bench = Bench(spool, server, batch=64)
    bench.delivery.drain(bench.stop)
    assert len(server.stored) == 64
    # It begins with 4 lines, and 16 fail, then 8.
    assert bench.tries == [1, 1]
    assert bench.told == ["too much", None] * 2
    assert [len(lines) for lines in server.requests[:7]] == [4, 16, 1, 4, 8, 1, 4]
    assert {len(lines) for lines in server.requests[7:-1]} == {4}


def test_a_server_that_takes_a_single_reading_only_gets_that(spool: Spool) -> None:
    fill(spool, *[[f"line{n}"] for n in range(64)])
    server = Server()
    server.before = at_most(1)
    bench = Bench(spool, server, batch=64)
    bench.delivery.drain(bench.stop)
    # 4 lines fail, and 4 and 2 after a probe that passed.
    assert bench.tries == [1, 2, 4]
    assert bench.told[-1] is None
    assert server.stored == {f"line{n}" for n in range(64)}


def test_the_bodies_of_a_backlog_grow_to_the_bound(spool: Spool) -> None:
    fill(spool, *[[f"line{n}"] for n in range(200)])
    server = Server()
    bench = Bench(spool, server, batch=64)
    bench.delivery.drain(bench.stop)
    assert [len(lines) for lines in server.requests] == [4, 16, 64, 64, 52]


def test_what_is_too_old_is_trimmed_after_the_bucket_told_its_age(spool: Spool) -> None:
    fill(spool, ["old"], ["new"])
    server = Server()
    prepared_when_looked_at: list[int] = []

    def is_old(oldest_ns: int) -> bool:
        prepared_when_looked_at.append(len(server.prepared))
        return oldest_ns < 1

    bench = Bench(spool, server, is_old=is_old, trim=lambda: spool.queue().give_up(1))
    bench.delivery.drain(bench.stop)
    assert prepared_when_looked_at == [1]
    assert server.requests == [["new"]]


def test_what_was_delivered_is_not_counted_as_expired_when_the_next_is_too_old(
    spool: Spool,
) -> None:
    fill(spool, ["line0"], ["line1"], ["line2"])
    server = Server()
    bench = Bench(
        spool,
        server,
        batch=1,
        is_old=lambda oldest_ns: oldest_ns == 1,
        trim=lambda: spool.queue().give_up(2),
    )
    bench.delivery.drain(bench.stop)
    assert server.requests == [["line0"], ["line2"]]
    contents = spool.contents()
    assert (contents.delivered_points, contents.lost) == (2, {"expired": 1})


def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    fill(spool, ["a"], ["b"])
    bench = Bench(spool, Server([DOWN] * 5))
    bench.delivery.drain(bench.stop)
    assert [record.getMessage() for record in caplog.records] == [
        "Delivery stopped, 2 points are kept until it works: no answer",
        "Delivery works again after 31 s, 0 points to catch up",
    ]


@pytest.mark.parametrize(
    ("answers", "batch", "expected"),
    [
        ([DOWN, DOWN], 2, "Delivery works again after 3 s, 2 points to catch up"),
        ([OK, DOWN], 1, "Delivery stopped, 3 points are kept until it works: no answer"),
    ],
)
def test_what_the_log_counts_of_a_backlog_is_what_is_not_delivered(
    spool: Spool, caplog: pytest.LogCaptureFixture, answers: list[Answer], batch: int, expected: str
) -> None:
    fill(spool, ["a"], ["b"], ["c"], ["d"])
    bench = Bench(spool, Server(answers), batch=batch)
    bench.delivery.drain(bench.stop)
    assert expected in caplog.messages


def test_an_outage_shows_until_the_backlog_moves(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, influxdb_url="http://x")

    def look() -> Shown:
        """What `status`, `/health` and the page say."""
        error = read_status(settings).last_error
        troubles = json.loads(served["/health"].reply({}).body)["troubles"]
        return error, troubles, "The agent is well." not in str(served["/"].reply({}).body)

    shown: list[Shown] = []
    lock = DirectoryLock(tmp_path, ManualClock())
    with Spool(tmp_path, 2**24) as spool:
        fill(spool, ["a"], ["b"], ["c"])
        server = Server([DOWN, OK, DOWN])
        server.before = lambda _: shown.append(look())
        bench = Bench(spool, server)
        bench.clock.wall_ns = 10**9  # as of the readings, which are new then
        served = routes(Agent(settings, bench.health), bench.clock)
        bench.delivery.drain(bench.stop)
        well: Shown = (None, {}, False)
        outage: Shown = ("no answer", {"delivery": "no answer"}, True)
        # Before the third and the last request, the newest reading had got through.
        assert shown == [well, *[outage] * 4]
        assert look() == well
    lock.release()


@pytest.mark.parametrize("answer", [DOWN, OK])
def test_a_request_that_outlives_its_delivery_settles_nothing_and_changes_no_trouble(
    spool: Spool, answer: Answer
) -> None:
    def overtake(_: list[str]) -> None:
        bench.delivery.retire()
        bench.health.trouble("delivery").begins("what the next one says")

    fill(spool, ["a"])
    server = Server([answer])
    server.before = overtake
    bench = Bench(spool, server)
    bench.stop_after(waits=2)
    bench.delivery.run(bench.stop, Event())
    assert bench.health.troubles() == {"delivery": "what the next one says"}
    # What waits may be for another server by now.
    assert (spool.contents().backlog_points, spool.contents().delivered_points) == (1, 0)


def test_reasons_that_take_turns_are_logged_once_each(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    fill(spool, ["a"])
    bench = Bench(spool, Server([DOWN, Answer(503, message="busy")] * 10))
    bench.delivery.drain(bench.stop)
    assert [message.rpartition(": ")[2] for message in caplog.messages[:-1]] == [
        "no answer",
        "busy",
    ]
    assert caplog.messages[-1].startswith("Delivery works again")


def test_a_server_that_is_absent_at_the_start_is_prepared_when_it_is_there(spool: Spool) -> None:
    fill(spool, ["a"])
    server = Server()
    server.unready = [DOWN, DOWN]
    bench = Bench(spool, server)
    bench.delivery.drain(bench.stop)
    assert server.prepared == [DOWN, DOWN, None]
    assert server.requests == [["a"]]


def test_readings_that_no_rule_refuses_wait_for_no_server_to_be_prepared(spool: Spool) -> None:
    server = Server()
    server.unready = [DOWN] * 9
    bench = Bench(spool, server)
    for minute, line in enumerate(("a", "b")):
        spool.append([line], START_NS - (59 - minute) * 60 * 10**9)
        bench.delivery.drain(bench.stop)
    assert server.requests == [["a"], ["b"]]
    assert server.prepared == [DOWN]
    assert bench.tries == []
    # A write that is refused may need it, and so may a reading that is older than any bucket.
    server.answers = [Answer(404, "not found")]
    spool.append(["c"], START_NS)
    bench.delivery.drain(bench.stop)
    assert server.prepared == [DOWN] * 2
    spool.append(["d"], START_NS - 61 * 60 * 10**9)
    bench.delivery.drain(bench.stop)
    assert server.prepared == [DOWN] * 9 + [None]
    assert server.requests[-1] == ["d"]


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


@pytest.mark.slow  # a store for each example
@given(st.sets(st.integers(0, 299), max_size=12), st.integers(1, 300))
def test_k_refused_lines_of_n_cost_k_log_n_requests(bad: set[int], number: int) -> None:
    bad = {each for each in bad if each < number}
    lines = [f"{'bad' if each in bad else 'line'}{each}" for each in range(number)]
    with TemporaryDirectory() as folder, Spool(Path(folder), 2**24) as spool:
        fill(spool, lines)
        server = Server()
        Bench(spool, server, batch=number).delivery.drain(Event())
        contents = spool.contents()
    assert len(server.requests) <= 1 + 2 * len(bad) * ceil(log2(max(number, 2)))
    assert server.stored == {line for line in lines if "bad" not in line}
    assert (contents.rejected_points, contents.backlog_points) == (len(bad), 0)


def test_a_stop_ends_the_search_for_refused_lines_and_nothing_is_settled(spool: Spool) -> None:
    fill(spool, [f"bad{n}" for n in range(64)])
    server = Server()
    bench = Bench(spool, server)
    bench.stop_after(waits=3)
    with pytest.raises(StoppedError):
        bench.delivery.drain(bench.stop)
    assert len(server.requests) == 3
    contents = spool.contents()
    assert (contents.backlog_points, contents.rejected_points, contents.lost) == (64, 0, {})


@pytest.mark.parametrize(("text", "batch"), [("line", 1), ("bad", 64)])
def test_the_last_flush_has_an_end_also_in_the_search_for_refused_lines(
    spool: Spool, text: str, batch: int
) -> None:
    fill(spool, *[[f"{text}{n}"] for n in range(64)])
    server = Server()
    server.before = lambda _: bench.clock.advance(LAST_FLUSH_S / 4)
    bench = Bench(spool, server, batch=batch)
    bench.stop.set()
    bench.delivery.run(bench.stop, Event())
    assert 4 <= len(server.requests) <= 5
    assert spool.contents().backlog_points == 64 - len(server.stored)


def test_a_batch_that_a_stop_kept_from_the_server_is_the_first_of_the_last_flush(
    spool: Spool,
) -> None:
    fill(spool, ["line0"], ["line1"], ["line2"])
    server = Server()
    server.before = lambda _: bench.clock.advance(LAST_FLUSH_S / 5)
    bench = Bench(spool, server, batch=1)
    bench.stop_after(waits=2)  # of the jitter, and of the rest before the second batch
    bench.delivery.run(bench.stop, Event())
    assert server.requests == [["line0"], ["line1"], ["line2"]]
    assert spool.contents().delivered_points == 3


def test_between_the_batches_of_a_backlog_it_rests_by_the_servers_answer_time(spool: Spool) -> None:
    fill(spool, *[[f"line{n}"] for n in range(5)])
    took = iter([0.001, 0.05, 0.5, 4.0, 0.001])

    server = Server()
    server.before = lambda _: bench.clock.advance(next(took))
    bench = Bench(spool, server, batch=1)
    bench.delivery.drain(bench.stop)
    # The least spacing of requests; then twice the cube of a short time, or the square of a long.
    assert bench.clock.waits == pytest.approx([0.004, 0.00025, 0.25, 32])


def test_a_batch_is_not_held_that_lost_lines_by_their_age(spool: Spool) -> None:
    queue = spool.queue()
    spool.append(["cpu f=1i 1", "mem f=1i 1"], 1)
    batch = queue.lease(2)
    assert batch
    spool.aging.remove(0, 2, Age(1, "cpu"), count=True)
    assert not queue.holds(batch)
    again = queue.lease(2)
    assert again
    assert queue.holds(again)


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Semaphore:
    """Counts the batches that were leased ahead."""
    counted, lease = Semaphore(0), Queue.lease

    def leased(queue: Queue, points: int, **which: Any) -> Batch | None:
        batch = lease(queue, points, **which)
        if which.get("after") is not None:
            counted.release()
        return batch

    monkeypatch.setattr(Queue, "lease", leased)
    return counted


def test_the_next_batch_is_leased_while_the_server_has_one(spool: Spool, ahead: Semaphore) -> None:
    def answer(lines: list[str]) -> Answer:
        if lines == ["line0"]:
            assert ahead.acquire(timeout=60)
            spool.append(["line2"], 2)  # after the one that was leased
        return OK

    fill(spool, ["line0"], ["line1"])
    server = Server()
    server.before = answer
    Bench(spool, server, batch=1).delivery.drain(Event())
    assert server.requests == [["line0"], ["line1"], ["line2"]]


def test_what_was_leased_ahead_of_a_batch_that_fails_is_leased_again_in_its_turn(
    spool: Spool, ahead: Semaphore
) -> None:
    def answer(_: list[str]) -> Answer:
        if len(server.requests) > 1:
            return OK
        assert ahead.acquire(timeout=60)
        return DOWN

    fill(spool, ["line0"], ["line1"], ["line2"])
    server = Server()
    server.before = answer
    Bench(spool, server, batch=1).delivery.drain(Event())
    assert server.requests == [["line0"], ["line2"], ["line0"], ["line1"]]
    assert spool.contents().delivered_points == 3


@pytest.mark.parametrize(
    ("change", "sent", "lost"),
    [
        (lambda spool: spool.queue().give_up(2), ["m f=1i 9", "m f=1i 8"], {"expired": 1}),
        (
            lambda spool: spool.restamp(range(spool.next_id), 2, 5),
            ["m f=1i 9", "m f=1i 6", "m f=1i 8"],
            {},
        ),
    ],
    ids=["given up", "another time"],
)
def test_what_changes_after_it_was_leased_ahead_is_leased_again(
    spool: Spool,
    ahead: Semaphore,
    change: Callable[[Spool], object],
    sent: list[str],
    lost: dict[str, int],
) -> None:
    for time_ns in (9, 1, 8):
        spool.append([f"m f=1i {time_ns}"], time_ns)

    def answer(lines: list[str]) -> Answer:
        if lines == ["m f=1i 9"]:
            assert ahead.acquire(timeout=60)
            change(spool)
        return OK

    server = Server()
    server.before = answer
    Bench(spool, server, batch=1).delivery.drain(Event())
    assert server.requests == [[line] for line in sent]
    assert spool.contents().lost == lost
    assert spool.contents().delivered_points == len(sent)


def test_a_store_that_fails_meanwhile_fails_when_the_batch_is_asked_for(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(spool, ["line0"], ["line1"])
    lease = Queue.lease

    def leased(queue: Queue, points: int, **which: Any) -> Batch | None:
        if which.get("after") is not None:
            raise SpoolError("it cannot be read")
        return lease(queue, points, **which)

    monkeypatch.setattr(Queue, "lease", leased)
    server = Server()
    bench = Bench(spool, server, batch=1)
    with pytest.raises(SpoolError):
        bench.delivery.drain(Event())
    assert server.requests == [["line0"]]
    monkeypatch.setattr(Queue, "lease", lease)
    bench.delivery.drain(Event())
    assert server.requests == [["line0"], ["line1"]]
    assert spool.contents().delivered_points == 2


def test_a_batch_is_settled_while_the_server_has_the_next(spool: Spool, ahead: Semaphore) -> None:
    delivered = []

    def answer(_: list[str]) -> Answer:
        assert ahead.acquire(timeout=60)
        delivered.append(spool.contents().delivered_points)
        return OK

    fill(spool, ["line0"], ["line1"], ["line2"])
    server = Server()
    server.before = answer
    Bench(spool, server, batch=1).delivery.drain(Event())
    assert delivered == [0, 1, 2]


def test_what_fails_beside_a_batch_that_fails_too_does_not_end_the_tries(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(spool, ["line0"], ["line1"])
    lease, failed = Queue.lease, Event()

    def leased(queue: Queue, points: int, **which: Any) -> Batch | None:
        if which.get("after") is not None and not failed.is_set():
            failed.set()
            raise SpoolError("it cannot be read")
        return lease(queue, points, **which)

    def answer(_: list[str]) -> Answer:
        assert failed.wait(60)
        return OK if len(server.requests) > 1 else DOWN

    monkeypatch.setattr(Queue, "lease", leased)
    server = Server()
    server.before = answer
    Bench(spool, server, batch=1).delivery.drain(Event())
    assert spool.contents().delivered_points == 2


@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_could_not_be_settled_is_sent_again_and_counted_once(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fill(spool, ["line0", "bad0"], ["line1", "bad1"], ["line2", "bad2"])
    settle, calls = Queue.settle, count(1)

    def settled(queue: Queue, *args: Any) -> None:
        if next(calls) == number:
            raise SpoolError("it cannot be written")
        settle(queue, *args)

    monkeypatch.setattr(Queue, "settle", settled)
    bench = Bench(spool, Server(), batch=2)
    with pytest.raises(SpoolError):
        bench.delivery.drain(Event())
    bench.delivery.drain(Event())
    contents = spool.contents()
    assert (contents.backlog_points, contents.delivered_points) == (0, 3)
    assert (contents.lost, contents.rejected_points) == ({"rejected": 3}, 3)


def test_a_delivery_ends_when_what_it_began_to_settle_is_settled(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After that the queue may be filled again, for another server."""
    fill(spool, ["line0"], ["line1"], ["line2"])
    settle, begun, closed = Queue.settle, Event(), Event()

    def slow(queue: Queue, *args: Any) -> None:
        begun.set()
        assert closed.wait(60)
        settle(queue, *args)

    def answer(lines: list[str]) -> Answer:
        if lines == ["line1"]:
            assert begun.wait(60)
            bench.delivery.retire()
            bench.stop.set()
        return OK

    monkeypatch.setattr(Queue, "settle", slow)
    server = Server()
    server.before = answer
    monkeypatch.setattr(server, "close", closed.set)
    bench = Bench(spool, server, batch=1)
    bench.delivery.run(bench.stop, Event())
    assert spool.contents().delivered_points == 1


def test_what_passed_is_settled_when_the_server_cannot_be_made_ready_for_what_follows(
    spool: Spool,
) -> None:
    server = Server()
    server.unready = [DOWN] * 3
    bench = Bench(spool, server, batch=1)
    now_ns = bench.clock.now_ns()
    for age_s, line in ((60, "young"), (7200, "old, by a clock that was set back")):
        spool.append([line], now_ns - age_s * 10**9)
    bench.stop_after(waits=1)
    with pytest.raises(StoppedError):
        bench.delivery.drain(bench.stop)
    assert server.stored == {"young"}
    assert spool.contents().delivered_points == 1


@pytest.mark.parametrize("is_old", [False, True])
def test_a_delivery_that_is_replaced_after_a_batch_passed_does_not_settle_it(
    spool: Spool, *, is_old: bool
) -> None:
    def retire(oldest_ns: int) -> bool:
        if oldest_ns == 1:
            bench.delivery.retire()
        return oldest_ns == 1 and is_old

    fill(spool, ["line0"], ["line1"], ["line2"])
    server = Server()
    bench = Bench(spool, server, batch=1, is_old=retire)
    bench.delivery.drain(Event())
    assert server.requests[0] == ["line0"]
    assert spool.contents().delivered_points == 0


@pytest.mark.parametrize("answer", [DOWN, Answer(504, message="gateway timeout")])
def test_a_request_that_hangs_is_followed_by_the_backoff_alone(
    spool: Spool, answer: Answer
) -> None:
    fill(spool, *[[f"line{n}"] for n in range(5)])
    timeout_s = 5.0

    def hang_at_first(_: list[str]) -> Answer | None:
        if len(server.requests) > 1:
            return None
        bench.clock.advance(timeout_s)
        return answer

    server = Server()
    server.before = hang_at_first
    bench = Bench(spool, server)
    bench.delivery.drain(bench.stop)
    assert bench.tries == [1]
    assert spool.contents().backlog_points == 0
    assert bench.clock.elapsed < 2 * timeout_s


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


def test_an_outage_while_refused_lines_are_sought_loses_nothing(spool: Spool) -> None:
    fill(spool, ["bad", "a", "b", "c"])
    server = Server([OK, OK, DOWN])
    bench = Bench(spool, server)
    bench.delivery.drain(bench.stop)
    assert server.stored == {"a", "b", "c"}
    assert spool.contents().lost == {"rejected": 1}


def test_it_flushes_every_interval_with_jitter_and_a_stop_sends_what_is_left(spool: Spool) -> None:
    server = Server()
    bench = Bench(spool, server, jitter_s=3)

    def on_wait(number: int) -> None:
        spool.append([f"line{number}"], number)
        if number == 4:
            bench.stop.set()

    bench.clock.on_wait = on_wait
    bench.delivery.run(bench.stop, Event())
    # Each flush is one wait for the jitter and one for the interval.
    assert bench.clock.waits == [3, 10, 3, 10]
    assert server.requests == [["line1"], ["line2", "line3"], ["line4"]]
    assert spool.contents().backlog_points == 0


def test_a_reading_that_wakes_it_is_sent_at_once(spool: Spool) -> None:
    server = Server()
    bench = Bench(spool, server)
    wake = Event()
    seen: list[int] = []

    def on_wait(number: int) -> None:
        seen.append(len(server.requests))
        if number == 2:
            spool.append(["a"], 1)
            wake.set()
        if number == 4:
            bench.stop.set()
            wake.set()

    bench.clock.on_wait = on_wait
    bench.delivery.run(bench.stop, wake)
    assert bench.clock.waits[1] == 10  # ended early: the clock did not move for it
    assert bench.clock.elapsed < 10
    assert server.stored == {"a"}


def test_a_stop_makes_no_last_attempt_during_an_outage(spool: Spool) -> None:
    fill(spool, ["a"])
    server = Server([DOWN] * 10)
    bench = Bench(spool, server)
    bench.stop_after(waits=1)
    bench.delivery.run(bench.stop, Event())
    assert len(server.requests) == 1
    assert server.closed == 1
