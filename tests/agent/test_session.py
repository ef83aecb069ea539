"""What a session keeps and what it exchanges when the settings change, and its threads."""

import dataclasses
import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest

from pipeline import collectors
from pipeline.agent.session import AgentError, Session
from pipeline.agent.worker import Workers
from pipeline.health import Health, read_status
from pipeline.settings import NAMES, CollectorOptions, Downsample, Settings
from pipeline.spool import Contents, SpoolReader
from tests.agents import SELDOM_MS, AgentProcess, eventually, ticks
from tests.clocks import ShiftedClock
from tests.servers import Behaviour, Request, last_response, read_request, serving

HOUR_MS = 3_600_000
MINUTE_NS = 60 * 10**9


class Bench:
    """A session, and its settings, which change."""

    def __init__(self, data_dir: Path) -> None:
        self.settings = Settings(
            data_dir=data_dir, host="h1", http_port=0, collection_interval_ms=SELDOM_MS
        )
        self.clock = ShiftedClock()
        self.stopped = False
        self.session = Session(self.settings, lambda: self.settings, self.clock)

    def change(self, **changes: Any) -> None:
        self.settings = dataclasses.replace(self.settings, **changes)
        self.session.change(self.settings)

    def restart(self, **changes: Any) -> None:
        self.session.stop()
        self.settings = dataclasses.replace(self.settings, **changes)
        self.session = Session(self.settings, lambda: self.settings, self.clock)
        self.session.start()

    def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            self.session.stop()

    def kept(self) -> str:
        with SpoolReader(self.settings.data_dir) as reader:
            return "".join(reader.history(0))

    def contents(self, server: str = "main") -> Contents:
        with SpoolReader(self.settings.data_dir) as reader:
            return reader.contents(server)

    def waits(self, server: str = "main") -> int:
        """How many points wait for a server."""
        return self.contents(server).backlog_points


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path)
    yield one
    one.stop()


@pytest.mark.slow
def test_an_interval_that_changes_is_told_as_no_gap(bench: Bench, tmp_path: Path) -> None:
    bench.session.start()
    for interval_ms in (10, SELDOM_MS, 20, 10):
        before = ticks(tmp_path)
        bench.change(collection_interval_ms=interval_ms)
        if interval_ms < SELDOM_MS:
            eventually(lambda b=before: ticks(tmp_path) >= b + 3, "readings")  # type: ignore[misc]  # mypy cannot infer the default
    bench.change(collection_interval_ms=SELDOM_MS)
    # A late tick is one, and of its own cause; what an agent's absence costs is hours' here.
    with SpoolReader(tmp_path) as reader:
        untold = [gap.cause for gap in reader.gaps()]
    assert "agent_down" not in untold
    assert "cause=agent_down" not in bench.kept()


def test_with_no_collector_of_the_host_the_agents_own_metrics_go_on(bench: Bench) -> None:
    off = {name: CollectorOptions(enabled=False) for name in collectors.names()}
    bench.change(collectors=off | {collectors.AGENT: CollectorOptions(enabled=True)})
    bench.session.record()
    assert {line.partition(",")[0] for line in bench.kept().splitlines()} == {"metrics_agent"}


def test_a_folder_that_another_agent_has_gets_no_new_settings(bench: Bench, tmp_path: Path) -> None:
    lock, before = tmp_path / "agent.lock", bench.session.settings
    lock.with_name("new").touch()
    lock.with_name("new").rename(lock)
    bench.change(retention_hours=1)
    assert bench.session.settings is before


@pytest.mark.slow
def test_whoever_does_not_answer_is_not_asked_again_by_collectors_that_are_made_anew(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")  # and put it back
    asked: list[str] = []
    answer = Event()

    def hangs(path: str) -> os.statvfs_result:
        asked.append(path)
        answer.wait(60)
        return os.statvfs(path)

    host = bench.session.host
    object.__setattr__(host, "statvfs", hangs)
    object.__setattr__(host, "proc", "/proc/.")  # as of a container: the own root cannot hang
    try:
        for others in (("disk",), ("disk", "swap"), ("disk", "mem")):
            bench.change(collectors={name: CollectorOptions(enabled=False) for name in others})
            bench.session.record()
        assert len(asked) == 1
        assert bench.session.host is host
        assert "system_metrics" in bench.kept()
        bench.change(host_root=tmp_path)
        assert bench.session.host is not host
    finally:
        answer.set()


def test_an_age_that_becomes_shorter_is_guarded_against_a_clock_that_is_ahead(bench: Bench) -> None:
    bench.clock.shift_ns = -MINUTE_NS * 10
    bench.session.record()
    bench.clock.shift_ns = 0
    bench.session.sweep()
    bench.change(retention_overrides={"cpu": 1})
    # What the hour's slack of a longer age would let go by takes most of an hour from this one.
    for minutes in (55, 90):
        bench.clock.shift_ns = MINUTE_NS * minutes
        assert bench.session.sweep().points == 0
    assert "\ncpu," in bench.kept()


def threads(name: str) -> int:
    return [thread.name for thread in threading.enumerate()].count(name)


def answering(note: Callable[[Request], object], **answers: bytes) -> Behaviour:
    """Take each write; there is nothing else, but for the answers to `buckets` and the like."""

    def answer(client: socket.socket, _: Event) -> None:
        if (request := read_request(client)) is not None:
            note(request)
            known = {"write": last_response("204 No Content"), **answers}
            name = request.path.partition("?")[0].removeprefix("/api/v2/")
            client.sendall(known.get(name, last_response("404 Not Found")))

    return answer


def is_write(request: Request | None) -> bool:
    return request is not None and request.path.startswith("/api/v2/write")


def keeping(lines: list[str]) -> Behaviour:
    """Keep the lines of each write."""

    def note(request: Request) -> None:
        if is_write(request):
            lines.extend(gzip.decompress(request.body).decode().splitlines())

    return answering(note)


def counting(asked: list[str], name: str) -> Behaviour:
    """Note whose each write was."""
    return answering(lambda request: asked.append(name) if is_write(request) else None)


def another(value: Any) -> Any:
    """Another value of a setting, of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, Mapping):
        return {"cpu": 1}
    if isinstance(value, Downsample):
        return Downsample("5m", bucket="means")
    return f"{value}1" if isinstance(value, str) else Path("/1")


@pytest.mark.slow  # each change is noted in the store
def test_a_setting_takes_effect_at_its_server_unless_it_is_none_of_the_servers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(Workers, "start", lambda _, name, *rest: started.append(name))
    bench.change(influxdb_url="http://127.0.0.1:1", influxdb_token="t")
    replaced = set()
    for name in set(NAMES) - {"mirrors", "collectors", "data_dir"}:
        started.clear()
        bench.change(**{name: another(getattr(bench.settings, name))})
        replaced |= {name} if "delivery" in started else set()
    of_none = {"tags", "host_root", "collectors", "mirrors", "data_dir", "spool_max_mb"}
    of_none |= {"collection_interval_ms", "http_port", "log_level", "log_format"}
    assert replaced == set(NAMES) - of_none


@pytest.mark.slow  # it waits for the old delivery as long as a change does
def test_a_delivery_that_still_waits_for_the_former_server_changes_no_trouble(bench: Bench) -> None:
    asked, over = Event(), Event()

    def hang(request: Request) -> None:
        if is_write(request):
            asked.set()
            over.wait(60)

    with serving(answering(hang)) as url:
        bench.session.record()
        bench.session.start()
        bench.change(influxdb_url=url, influxdb_token="t", flush_jitter_ms=0)
        assert asked.wait(30)
        bench.change(influxdb_url="http://127.0.0.1:1")
        assert threads("delivery") == 2
        eventually(lambda: "delivery" in bench.session.health.troubles(), "the new one's trouble")
        over.set()
    eventually(lambda: threads("delivery") == 1, "the end of the former one")
    assert "http://127.0.0.1:1" in bench.session.health.troubles()["delivery"]


@pytest.mark.slow  # a former server's delivery ends first
def test_what_waits_when_the_server_changes_goes_to_the_new_one_alone(
    bench: Bench, tmp_path: Path
) -> None:
    old_lines: list[str] = []
    new_lines: list[str] = []
    with serving(keeping(old_lines)) as old, serving(keeping(new_lines)) as new:
        bench.session.start()
        eventually(lambda: ticks(tmp_path) == 1, "the first reading")
        later = {"flush_jitter_ms": 0, "flush_interval_ms": HOUR_MS}
        bench.change(influxdb_url=old, influxdb_token="t", **later)
        eventually(lambda: bench.waits() == 0, "the first delivery")
        before = len(old_lines)
        bench.session.record()
        bench.change(influxdb_url="")
        waiting = bench.waits()
        assert waiting > 0  # what nobody is to have any more waits
        bench.change(influxdb_url=old, influxdb_timeout_s=3)
        eventually(lambda: bench.waits() == 0, "the delivery of what waited")
        assert len(old_lines) == before + waiting
        bench.session.record()
        waiting = bench.waits()
        bench.change(influxdb_url=new)
        eventually(lambda: bench.waits() == 0, "the delivery to the new one")
        assert len(new_lines) == waiting
        # Without a change, a stop sends what is left.
        bench.session.record()
        left = bench.waits()
        bench.stop()
        assert len(new_lines) == waiting + left


def bucket(age_s: int) -> bytes:
    rules = [{"type": "expire", "everySeconds": age_s}]
    found = {"buckets": [{"id": "1", "name": "", "retentionRules": rules}]}
    return last_response("200 OK", json.dumps(found).encode())


@pytest.mark.slow  # the new keeper gives the former one its time to end
@pytest.mark.parametrize(
    "late", [last_response("500 Internal Server Error"), bucket(3600)], ids=["failed", "done"]
)
def test_a_sweep_of_former_settings_that_ends_late_reports_nothing(
    bench: Bench, late: bytes
) -> None:
    asked, go_on = Event(), Event()

    def former(client: socket.socket, _: Event) -> None:
        if is_write(read_request(client)):
            client.sendall(last_response("204 No Content"))
        else:
            asked.set()
            go_on.wait(60)
            client.sendall(late)

    def swept(url: str) -> bool:
        with SpoolReader(bench.settings.data_dir) as reader:
            return any(url in fact for name, fact in reader.facts().items() if "swept" in name)

    latter = answering(lambda _: None, buckets=bucket(0), query=last_response("200 OK"))
    with serving(former) as old, serving(latter) as new:
        bench.session.start()
        fixed = {"bucket_retention": "off", "influxdb_token": "t", "flush_jitter_ms": 0}
        bench.change(influxdb_url=old, **fixed)
        assert asked.wait(30)
        bench.change(influxdb_url=new)
        eventually(lambda: swept(new), "the sweep of the new keeper")
        go_on.set()
        eventually(lambda: threads("sweep") == 1, "the end of the former sweep")
        assert bench.session.health.troubles() == {}
        assert read_status(bench.settings).main.bucket_drift is None


@pytest.mark.slow  # a delivery and a sweep
def test_a_token_that_is_refused_is_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []
    refusal = b'{"code": "unauthorized", "message": "unauthorized access"}'
    unauthorized = last_response("401 Unauthorized", refusal)
    wanted = {"buckets": unauthorized, "write": unauthorized, "query": unauthorized}
    refuse = answering(lambda request: asked.append(request.path.partition("?")[0]), **wanted)
    with serving(refuse) as url:
        bench.session.start()
        bench.change(influxdb_url=url, influxdb_token="t", flush_jitter_ms=0)
        paths = {f"/api/v2/{name}" for name in wanted}
        eventually(lambda: paths <= set(asked), "that rule, delivery and sweep have had their try")
        eventually(lambda: "Delivery stopped" in caplog.text, "that delivery has its answer")
        bench.stop()
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("Delivery stopped, ")


@pytest.fixture
def shortage(monkeypatch: pytest.MonkeyPatch) -> Event:
    """While it is set, the system starts no thread of an agent."""
    start, short = threading.Thread.start, Event()

    def refuse(thread: threading.Thread) -> None:
        if short.is_set() and thread.name in ("tick", "sweep", "delivery"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    return short


def test_a_delivery_goes_on_until_the_one_that_replaces_it_can_be_started(
    bench: Bench, shortage: Event
) -> None:
    asked: list[str] = []
    health = bench.session.health
    quick = {"influxdb_token": "t", "flush_jitter_ms": 0, "flush_interval_ms": 10}
    with serving(counting(asked, "old")) as old, serving(counting(asked, "new")) as new:
        bench.session.start()
        bench.change(influxdb_url=old, **quick)
        eventually(lambda: asked, "the delivery of the first reading")
        shortage.set()
        for timeout_s in (4, 5):
            bench.change(influxdb_url=new, influxdb_timeout_s=timeout_s)
        before = len(asked)

        def goes_on() -> bool:
            bench.session.record()
            return len(asked) > before

        eventually(goes_on, "that the old one goes on")
        assert "new" not in asked
        assert "can't start new thread" in health.troubles()["threads"]
        shortage.clear()
        bench.session.start_missing()

        def changed_hands() -> bool:
            bench.session.record()  # the old one may still send what comes while it ends
            return asked[-1] == "new"

        eventually(changed_hands, "the delivery by the new one")
        assert "threads" not in health.troubles()


def test_a_session_that_can_start_no_thread_says_so(bench: Bench, shortage: Event) -> None:
    shortage.set()
    with pytest.raises(AgentError, match="can't start new thread; raise TasksMax= or ulimit -u"):
        bench.session.start()


# The limit binds no root. The right to read is for an interpreter in root's own folder.
AS_A_USER = ("setpriv", "--reuid", "54321")
WITH_ACCESS = ("--inh-caps", "+dac_override", "--ambient-caps", "+dac_override")


def limit_threads(pid: int, most: int) -> None:
    command = [*AS_A_USER, "prlimit", "--pid", str(pid), f"--nproc={most}:4096"]
    subprocess.run(command, check=True)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can run an agent as a user who runs nothing else",
)
@pytest.mark.slow  # an agent, and its looks at the files
def test_a_limit_of_threads_ends_nothing_while_the_settings_change(tmp_path: Path) -> None:
    toml = tmp_path / "settings.toml"

    def write(**settings: object) -> None:
        aside = tmp_path / "new"
        aside.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
        aside.rename(toml)

    base: dict[str, object] = {"http_port": 0, "data_dir": str(tmp_path / "data")}
    write(**base, collection_interval_ms=SELDOM_MS)
    env = {name: value for name, value in os.environ.items() if not name.startswith("METRICS_")}
    agent = AgentProcess(env, tmp_path, before=(*AS_A_USER, *WITH_ACCESS))
    try:
        agent.until(lambda s: s["ticks"] == 1, "the first reading")
        limit_threads(agent.process.pid, 1)
        write(**base, collection_interval_ms=50, retention_hours=24)
        agent.until(lambda s: s["ticks"] > 3, "readings at the new interval")
        agent.until(lambda s: "can't start" in s["troubles"].get("threads", ""), "that it is told")
        limit_threads(agent.process.pid, 4096)
        agent.until(lambda s: s["troubles"] == {}, "that all threads run again")
        assert agent.stop() == 0
    finally:
        agent.kill()
    for line in ("A thread could not be started, retrying: ", "All threads run again"):
        assert agent.log.count(line) == 1


def test_a_thread_that_could_not_be_started_for_long_runs_when_it_can(shortage: Event) -> None:
    clock, ran = ShiftedClock(), Event()
    workers = Workers(clock, Health(clock, 60, lambda _: None))
    shortage.set()
    for _ in range(sys.getrecursionlimit()):  # as each reading asks for the salvage
        workers.start("sweep", lambda _, __: ran.set())
    shortage.clear()
    workers.start_missing()
    assert ran.wait(60)


def test_a_way_that_others_can_read_is_told_once_at_the_start(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    way = {"influxdb_url": "http://influx.example", "influxdb_proxy": "http://127.0.0.1:9"}
    names = {"influxdb_org": "o", "influxdb_bucket": "b", "influxdb_token": "t"}
    bench.session.start()
    for hours in (24, 48):
        bench.change(retention_hours=hours, **way, **names)
    told = [text for text in caplog.messages if "not encrypted" in text]
    assert told == [
        "What is sent to http://influx.example is not encrypted, whoever is on the way can read "
        "the token and change the readings: let the server speak TLS, and write https://"
    ]
