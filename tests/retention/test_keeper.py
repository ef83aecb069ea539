"""The age of one host's data on the real server: what does not work shows, and heals."""

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from pipeline.clock import Clock, SystemClock
from pipeline.health import Health, read_status
from pipeline.influx import Answer, HostPoints, InfluxError, Rule, Target, task_name
from pipeline.retention.keeper import Keeper, KnownRule
from pipeline.retention.sweep import Retention
from pipeline.retention.trusted_clock import TrustedClock
from pipeline.settings import Downsample, Settings
from pipeline.spool import Spool, SpoolError
from tests.chaos.proxy import PASS, Proxy
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.servers import Request, gateway, response, serving

HOUR_NS = 3600 * 10**9


class HurriedClock(SystemClock):
    """Does not wait for the next sweep, and ends the keeper after so many."""

    def __init__(self, sweeps: int = 1) -> None:
        self.waits: list[float] = []
        self.stop = Event()
        self._sweeps = sweeps

    def monotonic(self) -> float:
        return super().monotonic() + sum(self.waits)

    def wait(self, event: Event, seconds: float) -> bool:
        self.waits.append(seconds)
        if len(self.waits) == self._sweeps:
            self.stop.set()
        return event.is_set()


def keeper_of(
    settings: Settings, spool: Spool, clock: Clock, health: Health
) -> tuple[Keeper, KnownRule]:
    """The keeper of the main server, if there is one, and of the local copy."""
    known = KnownRule(spool.queue(), clock)
    target = Target(settings, lambda: settings, clock, known) if settings.delivers else None
    trusted_clock = TrustedClock(clock, spool, health, 3600)
    its_health = health.server("main")
    queue = spool.queue()
    keeper = Keeper(settings, spool, queue, target, known, clock, trusted_clock, its_health)
    return keeper, known


class Bench:
    """One keeper after another, as changes of the settings make them, on one spool."""

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self.bucket = bucket
        self.folder = folder
        self.spool = Spool(folder, 2**24)
        self.health = Health(SystemClock(), 60, lambda _: None)
        self.settings = Settings()

    def keep(self, sweeps: int = 1, **changes: Any) -> dict[str, str]:
        """Let a new keeper sweep; return what does not work then."""
        self.settings = settings_for(self.bucket, data_dir=self.folder, **changes)
        self.clock = HurriedClock(sweeps)
        self.keeper, _ = keeper_of(self.settings, self.spool, self.clock, self.health)
        self.keeper.run(self.clock.stop, Event())
        return self.health.troubles()

    @property
    def drift(self) -> str:
        """How the rule differs from the settings, in the status; "" when it does not."""
        return read_status(self.settings).main.bucket_drift or ""

    def put(self, *ages_h: float, host: str = "h1", bucket: str = "") -> None:
        now = time.time_ns()
        lines = [f"cpu,host={host} n=1i {now - round(age * HOUR_NS)}" for age in ages_h]
        name = bucket or self.bucket.name
        answer = api.write(self.bucket.server, name, "\n".join(lines).encode())
        assert answer[0] == 204, answer

    def count(self, host: str = "h1", bucket: str = "") -> int:
        query = (
            f'from(bucket: "{bucket or self.bucket.name}") |> range(start: 0)'
            f' |> filter(fn: (r) => r.host == "{host}")'
        )
        return len(api.query(self.bucket.server, query))


def test_why_a_rule_is_left_alone_is_logged_once(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    known = KnownRule(spool.queue(), clock)
    for why in ("a", "a", "b", "a", "", "a"):
        known.leave_alone(why)
        clock.advance(1800)
    assert caplog.messages == ["a", "b", "a"]


@pytest.fixture
def bench(bucket: Bucket, tmp_path: Path) -> Iterator[Bench]:
    one = Bench(bucket, tmp_path)
    yield one
    one.spool.close()


def test_a_delete_that_is_refused_shows_and_is_done_later(bench: Bench) -> None:
    bench.put(200, 1)
    trouble = bench.keep(influxdb_token=api.create_token(bench.bucket, ["read"]))
    assert "403" in trouble["sweep"] or "401" in trouble["sweep"]
    assert bench.clock.waits == [3600]  # it is not tried again at once
    assert bench.count() == 2
    assert bench.keep() == {}
    assert bench.count() == 1


def test_what_cannot_be_read_is_removed_and_told_until_it_is_gone(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.put(30, 1)
    bad = f"bad,host=h1,_value=x f=1i {time.time_ns() - 30 * HOUR_NS}"
    assert api.write(bench.bucket.server, bench.bucket.name, bad.encode())[0] == 204
    why = "InfluxDB cannot read old points of 'bad': they were deleted uncounted"
    assert bench.keep(retention_hours=24) == {"sweep": why}
    assert caplog.messages.count(why) == 1
    assert bench.count() == 1
    assert bench.keep(retention_hours=24) == {}


@pytest.mark.parametrize(
    "error", [SpoolError("out of order"), InfluxError(Answer(None, message="no answer"))]
)
def test_a_store_is_checked_each_interval_though_every_sweep_fails(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> None:
        clock.advance(60)
        if clock.monotonic() > 2 * 3600:
            stop.set()
        raise error

    clock, stop = ManualClock(), Event()
    checked: list[float] = []
    monkeypatch.setattr(Spool, "check", lambda _: checked.append(clock.monotonic()))
    monkeypatch.setattr(Retention, "sweep", fails)
    health = Health(clock, 60, lambda _: None)
    health.trouble("delivery").begins("no answer")
    keeper, _ = keeper_of(Settings(), spool, clock, health)
    while not stop.is_set():
        with suppress(SpoolError):  # its thread begins again after that
            keeper.run(stop, Event())
    assert checked == [0, 3600, 7200]


def test_a_delete_that_takes_minutes_is_given_up_tried_again_and_shows(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.put(200)
    bench.spool.append(["m f=1i"], time.time_ns() - 200 * HOUR_NS)
    assert bench.keep(influxdb_url="http://127.0.0.1:1") == {}  # delivery tells
    assert bench.clock.waits == [60]
    assert bench.spool.contents().backlog_points == 0  # the local age is kept all the same
    monkeypatch.setattr("pipeline.retention.keeper.PATIENCE_S", 1.0)
    delete = HostPoints.delete
    with closing(Proxy(bench.bucket.server.url)) as proxy:

        def hanging(*args: Any) -> None:
            proxy.fault = "hang"
            try:
                delete(*args)
            finally:
                proxy.fault = PASS

        monkeypatch.setattr(HostPoints, "delete", hanging)
        trouble = bench.keep(2, influxdb_url=proxy.url)
    assert trouble["sweep"].startswith(f"no answer from {proxy.url}: ")
    assert bench.clock.waits == [60, 3600]
    monkeypatch.undo()
    assert bench.count() == 1
    assert bench.keep() == {}
    assert bench.count() == 0


def test_how_the_rule_differs_shows_in_the_status(bench: Bench) -> None:
    api.set_age(bench.bucket, 24)
    bench.keep(bucket_retention="off")
    assert read_status(bench.settings).main.bucket_retention_hours == 24
    assert "keeps 24 h and not 168 h" in bench.drift
    bench.keep(bucket_retention="extend")
    assert bench.drift == ""
    assert bench.clock.waits == [60]  # another host may have set it at the same moment
    # Somebody shortens it: that shows with the next sweep, which changes nothing.
    bench.keeper.sweep()
    api.set_age(bench.bucket, 24)
    bench.keeper.sweep()
    assert "keeps 24 h" in bench.drift


def test_delivery_that_lengthened_the_rule_has_it_looked_at_soon(spool: Spool) -> None:
    clock, stop, wake = ManualClock(), Event(), Event()
    keeper, known = keeper_of(Settings(), spool, clock, Health(clock, 60, lambda _: None))
    woken: list[bool] = []

    def learn(_: int) -> None:
        for change in ("", "It was lengthened."):
            known.learn(Rule(86_400, 3600, change), "")
            woken.append(wake.is_set())
        stop.set()

    clock.on_wait = learn
    keeper.run(stop, wake)
    assert woken == [False, True]


def test_a_count_that_fails_holds_up_no_sweep_and_is_tried_again(bench: Bench) -> None:
    failing = True

    def count_fails(request: Request) -> bytes | None:
        by_host = b'columns: [\\"host\\"]' in request.body
        return response("429 Too Many Requests") if failing and by_host else None

    bench.put(200, 1)
    bench.spool.append(["m f=1i"], time.time_ns())
    with serving(gateway(bench.bucket.server.url, count_fails)) as url:
        assert bench.keep(3, influxdb_url=url, bucket_retention="enforce") == {}
        assert bench.count() == 1
        assert api.age_s(bench.bucket.server, bench.bucket.name) == 0
        assert "keeps for ever and not 168 h" in bench.drift
        failing = False
        bench.keeper.sweep()
    assert api.age_s(bench.bucket.server, bench.bucket.name) == 168 * 3600
    assert bench.drift == ""


@pytest.mark.parametrize(
    ("bucket_h", "own_h", "override_h", "expected_h"),
    [(0, 0, None, 0), (0, 168, None, 168), (24, 168, None, 24), (168, 48, 2, 2), (24, 0, 0, 24)],
)
def test_the_oldest_time_for_a_point_is_one_that_the_server_takes_and_no_sweep_removes(
    bench: Bench, bucket_h: int, own_h: int, override_h: int | None, expected_h: int
) -> None:
    if bucket_h:
        api.set_age(bench.bucket, bucket_h)
    overrides = {} if override_h is None else {"cpu": override_h}
    bench.keep(bucket_retention="off", retention_hours=own_h, retention_overrides=overrides)
    oldest_ns = bench.keeper.oldest_ns("cpu")
    age_h = (time.time_ns() - oldest_ns) / HOUR_NS
    assert oldest_ns == 0 if expected_h == 0 else 0.8 * expected_h < age_h < expected_h
    bench.put(age_h)
    bench.keeper.sweep()
    assert bench.count() == 1


def test_downsampling_comes_and_goes_with_the_settings(bench: Bench, missing: str) -> None:
    wanted = Downsample("5m", 1000, missing)
    assert bench.keep(downsample=wanted) == {}
    (task,) = api.tasks(bench.bucket)
    assert task["name"] == task_name(bench.settings)
    assert api.age_s(bench.bucket.server, missing) == 1000 * 3600
    # Its values have their own age, and other hosts' theirs.
    found = api.get_bucket(bench.bucket.server, missing)
    assert found is not None
    api.set_age(api.Bucket(bench.bucket.server, missing, found["id"]), 0)
    for host in ("h1", "h2"):
        bench.put(999, 1001, host=host, bucket=missing)
    assert bench.keep(downsample=wanted) == {}
    assert (bench.count(bucket=missing), bench.count("h2", missing)) == (1, 2)
    assert bench.keep() == {}
    assert api.tasks(bench.bucket) == []
    assert api.get_bucket(bench.bucket.server, missing) is not None


def test_a_token_that_may_not_do_it_is_told_and_the_rest_is_done(
    bench: Bench, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.put(200, 1)
    own = api.create_token(bench.bucket)
    wanted = Downsample("5m", 1000, missing)
    trouble = bench.keep(downsample=wanted, influxdb_token=own)
    why = trouble["downsampling"]
    assert why.startswith("downsampling is not as the settings say: ")
    assert "the token must be allowed to read and write tasks and both buckets" in why
    assert bench.count() == 1
    assert bench.keep(downsample=wanted) == {}
    assert len(api.tasks(bench.bucket)) == 1
    # With the lesser token the task cannot even be seen.
    name = task_name(bench.settings)
    assert bench.keep(influxdb_token=own) == {}
    assert f"Task {name!r}: gone, or not for this token to see: look after it" in caplog.messages
    assert bench.keep() == {}
    assert api.tasks(bench.bucket) == []
    assert bench.keep(influxdb_token=own) == {}  # without downsampling it suffices
