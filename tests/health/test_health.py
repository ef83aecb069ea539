import json
from collections.abc import Mapping
from threading import Event, Thread

import pytest

from pipeline.health.health import Health, ReadingStats
from pipeline.spool import Fact
from tests.agents import eventually
from tests.clocks import ManualClock


def test_the_newest_trouble_is_remembered_and_when_it_is_over_the_one_before() -> None:
    noted: list[Mapping[str, str | None]] = []
    one = Health(ManualClock(), 60, noted.append)
    delivery, sweep = one.trouble("delivery"), one.trouble("sweep")
    delivery.begins("no answer")
    sweep.begins("no right")
    assert list(one.troubles().items()) == [("delivery", "no answer"), ("sweep", "no right")]
    delivery.begins("401")
    assert list(one.troubles()) == ["sweep", "delivery"]
    delivery.ends()
    sweep.ends()
    errors = [facts[Fact.LAST_ERROR] for facts in noted]
    assert errors == ["no answer", "no right", "401", "no right", None]
    assert json.loads(noted[2][Fact.TROUBLES] or "") == {"sweep": "no right", "delivery": "401"}
    assert (noted[-1][Fact.TROUBLES], one.troubles()) == (None, {})


def test_troubles_that_are_cleared_begin_anew(
    health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        health.trouble("sweep").begins("no right", "Old points stay")
        health.server("main").clear("delivery", "sweep")
        assert health.troubles() == {}
    assert caplog.messages == ["Old points stay"] * 2


def test_each_server_has_figures_and_troubles_of_its_own(
    health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    one = health
    mirror, main = one.server("b"), one.server("main")
    mirror.wrote(2.5)
    main.write_failed()
    figures = [(server.name, server.last_write_s, server.retries) for server in one.servers]
    assert figures == [("main", None, 1), ("b", 2.5, 0)]
    for server in one.servers:
        server.trouble("delivery").begins(f"no answer of {server.name}", "Delivery stopped")
    assert one.troubles() == {"delivery": "no answer of main", "delivery:b": "no answer of b"}
    assert one.trouble("delivery:b") is mirror.trouble("delivery")
    main.trouble("delivery").ends()
    one.forget("b")
    assert (one.troubles(), [server.name for server in one.servers]) == ({}, ["main"])
    assert one.server("b").last_write_s is None
    assert caplog.messages == ["Delivery stopped", "Mirror b: Delivery stopped"]


@pytest.mark.parametrize(("interval_s", "in_time_s", "late_s"), [(60, 180, 181), (0.01, 5, 6)])
def test_readings_that_stop_are_a_failure_after_three_intervals_and_some_seconds(
    interval_s: float, in_time_s: float, late_s: int
) -> None:
    clock = ManualClock()
    one = Health(clock, 3600, lambda _: None)
    clock.advance(7200)
    one.expect(interval_s)  # another interval begins its own wait
    clock.advance(in_time_s)
    assert one.failure() is None
    clock.advance(1)
    assert one.failure() == f"no reading for {late_s} s"
    one.reading_committed(ReadingStats(0.01, 3, {}))
    assert one.failure() is None
    assert one.last_reading == ReadingStats(0.01, 3, {})


def test_readings_that_are_not_durable_are_a_failure_and_a_server_that_is_down_is_none(
    health: Health,
) -> None:
    health.trouble("delivery").begins("no answer")
    assert health.failure() is None
    health.trouble("spool").begins("disk full")
    assert health.failure() == "disk full"


def test_what_is_noted_last_is_what_is_true_last() -> None:
    noted: list[str | None] = []
    noting, go_on = Event(), Event()

    def note(facts: Mapping[str, str | None]) -> None:
        if not noting.is_set():
            noting.set()
            assert go_on.wait(30)
        noted.append(facts["last_error"])

    health = Health(ManualClock(), 60, note)
    slow = Thread(target=health.trouble("spool").begins, args=("first",))
    slow.start()
    assert noting.wait(30)
    fast = Thread(target=health.trouble("delivery").begins, args=("second",))
    fast.start()
    eventually(lambda: "delivery" in health.troubles(), "the second trouble")
    go_on.set()
    slow.join(30)
    fast.join(30)
    assert noted[-1] == next(reversed(health.troubles().values())) == "second"
