import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from pipeline.agent.agent import Agent
from pipeline.agent.recorder import Recorder
from pipeline.agent.session import AgentError
from pipeline.clock import Clock, SystemClock, Tick
from pipeline.health import read_status
from pipeline.retention import Keeper, Retention, Swept, TrustedClock
from pipeline.settings import CollectorOptions, Files, Loaded, Settings
from pipeline.spool import DirectoryLock, Spool, holder
from tests.agents import SELDOM_MS, eventually, ticks, times
from tests.clocks import ShiftedClock
from tests.influxd.http import call
from tests.influxd.process import free_port
from tests.machine import fill_up, tiny_disk
from tests.spool.stores import MB, leased, reading, scribble

HOUR_NS = 3600 * 10**9
ONE_COLLECTOR = {
    name: CollectorOptions(enabled=False)
    for name in ("system_metrics", "cpu", "swap", "disk", "net", "system")
}


class HurriedClock(SystemClock):
    """Tries a lock, looks at files, goes on after a failure and sweeps without the usual rest."""

    def wait(self, event: Event, seconds: float) -> bool:
        rests = {0.02: 0.0, 2.0: 0.01, 5.0: 0.01, 10.0: 0.01, 3600.0: 0.1}
        return super().wait(event, rests.get(seconds, seconds))


def settings(data_dir: Path, **changes: Any) -> Settings:
    given = {"host": "h1", "http_port": 0, "collection_interval_ms": SELDOM_MS}
    return Settings(data_dir=data_dir, collectors=ONE_COLLECTOR, **{**given, **changes})


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


Make = Callable[..., Agent]


@pytest.fixture
def make(data_dir: Path) -> Iterator[Make]:
    """Makes agents, which are closed at the end."""
    made: list[Agent] = []

    def one(clock: Clock | None = None, folder: Path = data_dir, **changes: Any) -> Agent:
        chosen = settings(folder, **changes)
        made.append(Agent(chosen, None, clock))
        return made[-1]

    yield one
    for agent in made:
        agent.close()
    names = {"tick", "sweep", "http"}
    eventually(lambda: not names & {t.name for t in threading.enumerate()}, "their threads end")


@pytest.fixture
def start(make: Make) -> Make:
    """Starts agents."""

    def one(*args: Any, **changes: Any) -> Agent:
        agent = make(*args, **changes)
        agent.start()
        return agent

    return one


def further(data_dir: Path, readings: int = 3) -> None:
    """Wait for so many readings from now on."""
    before = ticks(data_dir)
    eventually(lambda: ticks(data_dir) >= before + readings, "readings")


def until_error(agent: Agent, error: str | None) -> None:
    """Wait until the status has this error, or none."""
    eventually(lambda: read_status(agent.settings).last_error == error, f"the error {error}")


def reported(agent: Agent) -> object:
    """What the endpoint says."""
    return call("GET", f"http://127.0.0.1:{agent.settings.http_port}/health").json()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_a_reading_that_is_being_taken_at_the_stop_is_kept(
    make: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = Event(), Event()
    record = Recorder.record

    def slow(self: Recorder, tick: Tick) -> dict[str, str]:
        begun.set()
        go_on.wait(30)
        return record(self, tick)

    monkeypatch.setattr(Recorder, "record", slow)
    agent = make()
    agent.start()
    assert begun.wait(30)
    stopping = threading.Thread(target=agent.stop)
    stopping.start()
    go_on.set()
    stopping.join(30)
    assert ticks(data_dir) == 1


def test_two_agents_on_one_data_directory_are_refused(make: Make, data_dir: Path) -> None:
    first, second = make(), make(HurriedClock())
    first.start()
    for use in (second.start, second.save, second.cleanup):
        with pytest.raises(AgentError, match=f"in use by process {os.getpid()}; stop that agent"):
            use()
    assert not second.running
    first.stop()
    second.start()
    assert second.running


def test_the_endpoint_outlives_a_stop_and_starts_collection_again(
    make: Make, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    agent = make(http_port=port)
    agent.start()
    eventually(lambda: ticks(data_dir) == 1, "the first reading")
    url = f"http://127.0.0.1:{port}"
    assert call("GET", f"{url}/health").status == 200
    assert b"The agent is well." in call("GET", f"{url}/").body
    assert f"Charts of this host are at {url}/" in caplog.messages
    agent.stop()
    assert call("GET", f"{url}/health").status == 503
    assert b"The agent is not running." in call("GET", f"{url}/?hours=24").body
    assert call("GET", f"{url}/status").json()["running"] is False
    started = {"success": True, "metricsCollectionRunning": True}
    for _ in range(2):
        assert call("GET", f"{url}/api/internal/init").json() == started
    assert agent.running
    assert warnings(caplog) == []
    eventually(lambda: ticks(data_dir) == 2, "a reading")
    assert call("GET", f"{url}/status").json()["running"] is True
    agent.close()
    with pytest.raises(OSError, match="refused"):
        call("GET", f"{url}/health")
    with pytest.raises(AgentError, match="closed"):
        agent.start()
    assert not agent.running


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Agent]:
    """An agent that follows its files, with an endpoint."""
    (tmp_path / "settings.toml").write_text(
        f'data_dir = "{tmp_path}/data"\nhttp_port = {free_port()}\n'
        f"collection_interval_ms = {SELDOM_MS}\n"
    )
    files = Files(tmp_path, {}, ("cpu",))
    with closing(Agent(files.load().settings, files, HurriedClock())) as agent:
        yield agent


@pytest.mark.slow
def test_an_endpoint_comes_when_its_port_is_free_and_both_are_told_once(
    followed: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    port = followed.settings.http_port
    url = f"http://127.0.0.1:{port}/health"
    with socket.create_server(("127.0.0.1", port)):
        followed.start()
        assert followed.health is not None
        assert "endpoint" in followed.health.troubles()
    came = f"The endpoint answers at port {port}"
    eventually(lambda: came in caplog.messages, "the endpoint")  # the last that it does
    assert followed.health.troubles() == {}
    assert call("GET", url).status == 200
    assert [text for text in caplog.messages if str(port) in text] == [
        f"The endpoint is off, port {port} cannot be used (Address already in use); "
        "set another http_port, or 0",
        came,
    ]


def test_an_endpoint_comes_when_there_is_a_thread_for_it(
    followed: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, refused = threading.Thread.start, 0

    def refuse(self: threading.Thread) -> None:
        nonlocal refused
        if self.name == "http" and refused < 3:
            refused += 1
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    followed.start()
    eventually(lambda: followed.health and not followed.health.troubles(), "the endpoint")
    url = f"http://127.0.0.1:{followed.settings.http_port}/health"
    assert (refused, call("GET", url).status) == (3, 200)


def test_a_file_system_that_hangs_keeps_nobody_who_asks_for_the_settings(
    followed: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[str] = []
    inside, go_on = Event(), Event()

    def hang(self: Files) -> Loaded:
        readers.append(threading.current_thread().name)
        inside.set()
        go_on.wait(30)
        return self.load()

    monkeypatch.setattr(Files, "reload", hang)
    followed.start()
    followed.reload()
    assert inside.wait(30)
    followed.reload()
    followed.stop()
    assert not followed.running
    go_on.set()
    eventually(lambda: "settings" not in {t.name for t in threading.enumerate()}, "its end")
    assert readers == ["settings"]


@pytest.mark.slow
def test_a_bad_edit_is_told_while_the_last_good_settings_go_on_being_used(
    followed: Agent, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    toml, aside = tmp_path / "settings.toml", tmp_path / "new"
    good = toml.read_text()
    followed.start()
    aside.write_text(good + 'tags = {site = "l')
    aside.rename(toml)
    eventually(lambda: "settings" in read_status(followed.settings).troubles, "the trouble")
    found = read_status(followed.settings)
    assert "not valid TOML" in found.troubles["settings"]
    assert found.last_error == found.troubles["settings"]
    assert reported(followed) == {"status": "pass", "troubles": found.troubles}
    assert followed.save() == {}
    aside.write_text(good.replace(str(SELDOM_MS), "30"))
    aside.rename(toml)
    until_error(followed, None)
    eventually(lambda: followed.settings.collection_interval_ms == 30, "the good edit")
    assert caplog.text.count("The settings stay as they are") == 1
    assert caplog.text.count("The settings can be used again") == 1


def test_a_clock_that_starts_in_1970_and_is_set_loses_doubles_and_misdates_no_reading(
    start: Make, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun_ns = time.time_ns()
    clock = ShiftedClock()
    clock.shift_ns = -begun_ns
    agent = start(clock, collection_interval_ms=10)
    further(data_dir, 5)
    until_error(agent, "this machine's clock is not set: it says 1970")
    clock.shift_ns = 0
    until_error(agent, None)
    further(data_dir)
    agent.stop()
    found = times(data_dir)
    assert len(found) == ticks(data_dir)
    assert found == sorted(set(found))
    assert begun_ns - 10**9 < found[0] <= found[-1] <= time.time_ns() + 10**9
    assert read_status(agent.settings).main.lost.keys() <= {"tick_missed"}
    (jumped,) = warnings(caplog)
    assert jumped.startswith("The clock jumped forward by ")


@pytest.mark.parametrize("shift_h", [-1, 1])
def test_a_clock_that_jumps_an_hour_stops_nothing_loses_nothing_and_is_told(
    start: Make, data_dir: Path, caplog: pytest.LogCaptureFixture, shift_h: int
) -> None:
    clock = ShiftedClock()
    agent = start(clock, collection_interval_ms=10, retention_hours=1)
    for shift_ns in (0, shift_h * HOUR_NS, 0):
        clock.shift_ns = shift_ns
        further(data_dir)
    agent.stop()
    found = times(data_dir)
    assert len(set(found)) == len(found) == ticks(data_dir)
    # Whether a sweep meets the clock in between, and finds it later than expected, is chance.
    there, back = [text for text in warnings(caplog) if "jumped" in text]
    assert ("forward" in there, "forward" in back) == (shift_h > 0, shift_h < 0)


def test_a_start_and_a_save_need_not_wait_for_one_that_takes_long(
    make: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, end = Event(), Event()
    sweep = Retention.sweep

    def slow(self: Retention, places: Any, stopped: Any) -> Swept:
        begun.set()
        assert end.wait(30)
        return sweep(self, places, stopped)

    monkeypatch.setattr(Retention, "sweep", slow)
    agent = make()
    with ThreadPoolExecutor() as pool:
        cleanup = pool.submit(agent.cleanup)
        assert begun.wait(30)
        saves = [pool.submit(agent.save) for _ in range(3)]
        assert [save.result(30) for save in saves] == [{}] * 3
        agent.start()
        assert agent.running
        end.set()
        assert cleanup.result(30) == 0
    eventually(lambda: ticks(data_dir) == 4, "three saved readings and the first one")
    assert agent.running
    agent.stop()
    assert holder(data_dir) is None


class NeverPausing(SystemClock):
    """Fails when anybody waits the ten seconds before a job that failed goes on."""

    def wait(self, event: Event, seconds: float) -> bool:
        assert seconds != 10.0
        return super().wait(event, seconds)


@pytest.mark.parametrize("work", [(Recorder, "record"), (TrustedClock, "look")])
def test_a_surprise_in_a_tick_is_told_once_and_the_next_one_comes_in_time(
    start: Make,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    work: tuple[type, str],
) -> None:
    failures = iter([RuntimeError("out of order")] * 3)
    whole = getattr(*work)

    def flaky(self: object, tick: Tick) -> object:
        for failure in failures:
            raise failure
        return whole(self, tick)

    monkeypatch.setattr(*work, flaky)
    agent = start(NeverPausing(), collection_interval_ms=10)
    further(data_dir, 4)
    until_error(agent, None)
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert errors == ["A reading failed: out of order"]
    assert agent.health is not None
    assert agent.health.troubles() == {}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("work", "thread", "followed"),
    [((Keeper, "run"), "sweep", False), ((Recorder, "record"), "tick", True)],
)
def test_a_thread_that_dies_is_started_again_by_the_ticks_or_by_what_follows_the_settings(
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    work: tuple[type, str],
    thread: str,
    *,
    followed: bool,
) -> None:
    calls, whole = itertools.count(), getattr(*work)
    started, again = Event(), Event()

    def dies_once(*args: object) -> object:
        if next(calls) == 0:
            assert started.wait(60)  # a start would start it again, too
            raise SystemExit
        again.set()
        return whole(*args)

    monkeypatch.setattr(*work, dies_once)
    files = Files(tmp_path, {}, ONE_COLLECTOR.keys()) if followed else None
    chosen = settings(data_dir, collection_interval_ms=10)
    with closing(Agent(chosen, files, HurriedClock())) as agent:
        agent.start()
        started.set()
        assert again.wait(60)
        further(data_dir)
    assert caplog.messages.count(f"The thread {thread} ended by accident and is started again") == 1


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tiny_disk(tmp_path / "disk", 4096) as folder:
        yield folder


@pytest.mark.slow
def test_a_full_disk_stops_nothing_and_is_told_while_it_lasts(
    start: Make, disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    agent = start(folder=disk, collection_interval_ms=10, http_port=free_port())
    full = f"the disk of {disk} is full, make room on it"
    further(disk)
    assert reported(agent) == {"status": "pass", "troubles": {}}
    fill_up(disk)
    until_error(agent, full)
    further(disk, 20)
    assert reported(agent) == {"status": "pass", "troubles": {"room": full}}
    (disk / "ballast").unlink()
    until_error(agent, None)
    agent.stop()
    account = read_status(agent.settings).main
    assert times(disk) == sorted(set(times(disk)))
    assert account.points == account.backlog_points + account.lost.get("spool_full", 0)
    assert [m for m in caplog.messages if "room" in m] == [
        f"The oldest readings make room for new ones: {full}",
        "The spool has room again",
    ]


@pytest.mark.parametrize("store", [False, True])
def test_a_full_disk_at_the_start_is_waited_for(
    make: Make, disk: Path, store: bool, caplog: pytest.LogCaptureFixture
) -> None:
    agent = make(HurriedClock(), disk, collection_interval_ms=10)
    if store:
        agent.save()
        (disk / "spool.db.reserve").unlink()
    fill_up(disk)
    agent.start()
    eventually(lambda: agent.health and agent.health.failure(), "that it is told")
    assert f"the disk of {disk} is full" in str(read_status(agent.settings).last_error)
    (disk / "ballast").unlink()
    further(disk)
    eventually(lambda: agent.health and not agent.health.failure(), "that it recovers")
    agent.stop()
    assert set(read_status(agent.settings).main.lost) <= {"tick_missed"}
    (held,) = [message for message in caplog.messages if "held in memory" in message]
    assert "spool.db cannot be opened: " in held
    assert "The spool takes readings again" in caplog.messages


def broken(data_dir: Path) -> None:
    """Make a store of 200 readings, of which 20 were delivered, without its header."""
    data_dir.mkdir()
    now_ns = time.time_ns()
    with Spool(data_dir, 100 * MB) as spool:
        for number in range(200):
            spool.append(reading(number), now_ns - number)
        spool.queue().settle(leased(spool, 60), now_ns)
    scribble(data_dir / "spool.db", 0, 100)


class HoldingClock(HurriedClock):
    """Holds a salvage after its first step until it may go on."""

    def __init__(self) -> None:
        self.go_on = Event()
        self.held = Event()

    def wait(self, event: Event, seconds: float) -> bool:
        if threading.current_thread().name == "salvage":
            self.held.set()
            while not self.go_on.is_set() and not event.wait(0.01):
                pass
            return event.is_set()
        return super().wait(event, seconds)


@pytest.mark.slow
def test_readings_go_on_beside_a_salvage_and_a_stop_ends_it_for_the_next_start(
    start: Make, data_dir: Path
) -> None:
    broken(data_dir)
    clock = HoldingClock()
    agent = start(clock, collection_interval_ms=10)
    assert clock.held.wait(30)
    further(data_dir)  # beside the salvage
    assert "of it is read" in str(read_status(agent.settings).last_salvage)
    assert agent.health is not None
    assert agent.health.troubles() == {}
    agent.stop()
    assert not any(thread.name == "salvage" for thread in threading.enumerate())
    before = ticks(data_dir)
    agent = start(clock, collection_interval_ms=10)
    clock.go_on.set()
    eventually(lambda: "saved" in str(read_status(agent.settings).last_salvage), "its end")
    agent.stop()
    after = read_status(agent.settings)
    account = after.main
    assert (account.delivered_points, account.lost.get("corrupt_store")) == (60, None)
    assert after.ticks >= before + 200
    assert account.points == account.delivered_points + account.backlog_points
    assert len(times(data_dir)) == after.ticks


def test_a_folder_that_is_removed_is_made_anew_and_its_loss_told(
    start: Make, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    agent = start(HurriedClock(), collection_interval_ms=10)
    further(data_dir)
    data_dir.rename(data_dir.with_name("away"))
    eventually(lambda: (data_dir / "spool.db").exists() and ticks(data_dir) >= 3, "readings again")
    assert agent.running
    assert holder(data_dir) == os.getpid()
    after = read_status(agent.settings)
    assert after.main.lost["corrupt_store"] >= 3
    assert "was removed while it was in use" in str(after.last_salvage)
    assert f"{data_dir}/agent.lock was removed and is made anew" in caplog.messages
    agent.stop()
    assert agent.health is None


@pytest.mark.slow
def test_an_agent_whose_lock_is_another_ones_ends_and_touches_the_store_no_more(
    make: Make, start: Make, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = start(HurriedClock(), collection_interval_ms=10), make(HurriedClock())
    further(data_dir)
    elsewhere = data_dir.with_name("elsewhere")
    elsewhere.mkdir()
    other = DirectoryLock(elsewhere, SystemClock())
    # In one step: between two, the first agent would make it anew.
    (elsewhere / "agent.lock").replace(data_dir / "agent.lock")
    why = (
        f"{data_dir}/agent.lock was replaced while this agent held it, and another one may use "
        f"{data_dir}; this one ends"
    )
    line = f"Metrics collection ends: {why}"
    eventually(lambda: line in caplog.messages and not first.running, "its end")
    other.release()
    assert first.lost == why
    assert caplog.messages.count(line) == 1
    before = ticks(data_dir)
    second.start()
    eventually(lambda: ticks(data_dir) == before + 1, "a reading of the other one")
    with pytest.raises(AgentError, match="is in use by process"):
        first.start()
    first.stop()
    assert ticks(data_dir) == before + 1
    second.stop()
    first.start()
    further(data_dir)
    assert first.running
