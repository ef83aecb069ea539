"""Several servers: every reading to each, whatever the others do."""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from pipeline.agent import Session
from pipeline.influx import InfluxError
from pipeline.settings import Mirror, Settings
from pipeline.spool import Contents, Fact, SpoolReader
from tests.agent.test_session import Bench, bench, counting, is_write, keeping
from tests.agents import eventually
from tests.chaos.proxy import PASS, REFUSE, Proxy
from tests.configured import settings_for
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.servers import (
    Behaviour,
    last_response,
    never_answer,
    read_request,
    serving,
)
from tests.spool.stores import account, sql
from tests.test_end_to_end import assert_same, spooled, stored

__all__ = ["bench"]

HOUR_NS = 3600 * 10**9
QUICK = {"flush_interval_ms": 20, "flush_jitter_ms": 0, "influxdb_token": "t"}


@pytest.fixture
def second(bucket: Bucket) -> Iterator[Bucket]:
    """Another bucket, which is as good as another server."""
    name = f"{bucket.name}-b"
    yield api.create_bucket(bucket.server, name)
    api.delete_bucket(bucket.server, name)


def mirror(bucket: Bucket) -> Mirror:
    server = bucket.server
    return Mirror(server.url, server.org, bucket.name, server.token)


def main(bucket: Bucket) -> dict[str, Any]:
    given = settings_for(bucket)
    names = ("url", "org", "bucket", "token")
    return QUICK | {f"influxdb_{name}": getattr(given, f"influxdb_{name}") for name in names}


def delivered(one: Bench, *servers: str) -> None:
    """Wait until nothing waits for these servers, to which every reading was queued."""

    def has_all(server: str) -> bool:
        found = one.contents(server)
        return found.points == one.contents().points > 0 == found.backlog_points

    eventually(lambda: all(map(has_all, servers)), "that all is delivered")


def assert_account(one: Bench, server: str) -> Contents:
    account(one.contents(server))
    return one.contents(server)


def test_a_mirror_that_is_added_gets_all_that_is_held_and_one_that_is_removed_is_told(
    bench: Bench,
    bucket: Bucket,
    second: Bucket,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    bench.session.start()
    bench.change(**main(bucket))
    for _ in range(3):
        bench.session.record()
    delivered(bench, "main")
    bench.change(mirrors={"b": mirror(second)})
    bench.session.record()
    delivered(bench, "main", "b")
    assert_same(bucket, tmp_path)
    assert_same(second, tmp_path)
    down = Mirror("http://127.0.0.1:1", "o", "b", "t")
    bench.change(mirrors={"b": mirror(second), "c": down})
    eventually(lambda: "delivery:c" in bench.session.health.troubles(), "that c is down")
    held = bench.waits("c")
    assert held == bench.contents().points
    bench.change(mirrors={"b": mirror(second)})
    eventually(lambda: bench.waits("c") == 0, "that the queue of c is given up")
    assert bench.session.health.troubles() == {}
    assert [one.name for one in bench.session.health.servers] == ["main", "b"]
    told = f"Mirror c is no longer in the settings: {held:,} points that waited for it are given up"
    eventually(lambda: told in caplog.messages, "that this is told")
    assert assert_account(bench, "c").lost["mirror_removed"] == held
    # Only the servers whose own settings changed started anew.
    starts = [text for text in caplog.messages if "Delivering to" in text]
    url = bucket.server.url
    assert starts == [
        f"Delivering to {url}, bucket {bucket.name!r}",
        f"Mirror b: Delivering to {url}, bucket {second.name!r}",
        "Mirror c: Delivering to http://127.0.0.1:1, bucket 'b'",
    ]


@pytest.mark.slow
def test_a_queue_that_cannot_be_given_up_is_reported_until_it_is_wanted_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.agent.worker._RESTART_S", 0.05)
    down = {"b": Mirror("http://127.0.0.1:1", "o", "b", "t")}
    bench.change(**QUICK, influxdb_url="http://127.0.0.1:1", mirrors=down)
    bench.session.start()
    eventually(lambda: bench.waits("b"), "a reading that waits")
    refusal = "BEFORE DELETE ON server BEGIN SELECT RAISE(FAIL, 'not now'); END"
    sql(tmp_path, f"CREATE TRIGGER refusal {refusal}")
    bench.change(mirrors={})
    eventually(lambda: "queues" in bench.session.health.troubles(), "that it is reported")
    bench.change(mirrors=down)
    eventually(lambda: "queues" not in bench.session.health.troubles(), "the end of the report")


@pytest.mark.parametrize("restarted", [False, True])
def test_a_server_that_takes_the_place_of_another_gets_all_that_is_held(
    bench: Bench,
    bucket: Bucket,
    second: Bucket,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    restarted: bool,
) -> None:
    caplog.set_level("INFO")
    proxy = Proxy(bucket.server.url)
    proxy.fault = REFUSE
    first = main(bucket) | {"influxdb_url": proxy.url}
    former = Mirror(proxy.url, bucket.server.org, bucket.name, bucket.server.token)
    try:
        bench.session.start()
        bench.change(**first, mirrors={"b": mirror(second)})
        for _ in range(3):
            bench.session.record()
        delivered(bench, "b")
        if restarted:
            bench.restart(**main(second), mirrors={"b": former})
        else:
            bench.change(**main(second), mirrors={"b": former})
        proxy.fault = PASS
        bench.session.record()
        eventually(lambda: not bench.waits() and not bench.waits("b"), "that nothing waits")
        assert_same(bucket, tmp_path)
        assert_same(second, tmp_path)
        for server in ("main", "b"):
            assert_account(bench, server)
        for bucket_, former_name in ((second, "mirror b"), (bucket, "the main server")):
            where = f"bucket {bucket_.name!r}, where {former_name} was: all readings"
            assert any(where in text for text in caplog.messages)
    finally:
        bench.stop()
        proxy.close()


@pytest.mark.slow
@pytest.mark.parametrize("hanging", ["main", "b"])
def test_a_server_that_hangs_holds_up_no_other(bench: Bench, hanging: str) -> None:
    lines: list[str] = []
    asked = Event()

    def hang(client: socket.socket, over: Event) -> None:
        asked.set()
        never_answer(client, over)

    working = ({"main", "b"} - {hanging}).pop()
    with serving(hang) as dead, serving(keeping(lines)) as alive:
        url = {hanging: dead, working: alive}
        bench.session.start()
        bench.change(
            influxdb_url=url["main"], **QUICK, mirrors={"b": Mirror(url["b"], "o", "b", "t")}
        )
        assert asked.wait(30)
        for _ in range(2):
            bench.session.record()
            delivered(bench, working)
        assert len(lines) == bench.contents(working).points
        assert bench.contents(hanging).delivered_points == 0


def test_what_one_server_refuses_the_other_has(
    bench: Bench, bucket: Bucket, second: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench.session.record()
    (line,) = (line for line in bench.kept().splitlines() if line.startswith("swap,"))
    text = f'swap,host=h1 total="text" {line.split()[-1]}'
    assert api.write(second.server, second.name, text.encode())[0] == 204
    bench.session.start()
    bench.change(**main(bucket), mirrors={"b": mirror(second)})
    delivered(bench, "main", "b")
    assert_same(bucket, tmp_path)
    with SpoolReader(tmp_path) as reader:
        refused = reader.rejected(1_000)
    assert {one.server for one in refused} == {"b"}
    assert {one.line.partition(",")[0] for one in refused} == {"swap"}
    assert bench.contents().lost.get("rejected", 0) == 0
    assert assert_account(bench, "b").lost["rejected"] == len(refused)
    lacks = spooled(tmp_path).keys() - stored(second).keys()
    assert len({(*key[:2], key[3]) for key in lacks}) == len(refused)
    told = [text for text in caplog.messages if "InfluxDB refused" in text]
    assert len(told) == 1
    assert told[0].startswith(f"Mirror b: InfluxDB refused {len(refused)} of ")


def test_each_server_has_the_age_of_its_own_rule(
    bench: Bench, bucket: Bucket, second: Bucket, tmp_path: Path
) -> None:
    api.set_age(second, hours=1)
    bench.clock.shift_ns = -2 * HOUR_NS
    bench.session.record()
    old = bench.contents().points
    bench.clock.shift_ns = 0
    bench.session.start()
    bench.change(**main(bucket), bucket_retention="off", mirrors={"b": mirror(second)})
    bench.session.record()
    delivered(bench, "main", "b")
    assert_same(bucket, tmp_path)
    assert assert_account(bench, "b").lost["expired"] == old
    assert bench.contents().lost.get("expired", 0) == 0
    assert len(stored(second)) < len(spooled(tmp_path))
    with SpoolReader(tmp_path) as reader:
        ages = [reader.facts(name)[Fact.BUCKET_AGE_S] for name in ("main", "b")]
    assert ages == ["0", "3600"]


@pytest.mark.slow
def test_the_token_of_a_mirror_is_read_again_when_it_is_refused(bench: Bench) -> None:
    tokens: list[str] = []

    def guard(client: socket.socket, _: Event) -> None:
        request = read_request(client)
        if request is None or not request.path.startswith("/api/v2/write"):
            client.sendall(last_response("404 Not Found"))
            return
        tokens.append(request.headers["Authorization"])
        right = tokens[-1] == "Token new"
        client.sendall(last_response("204 No Content" if right else "401 Unauthorized"))

    asked: list[str] = []
    with serving(guard) as url, serving(counting(asked, "main")) as other:
        bench.session.start()
        bench.change(influxdb_url=other, **QUICK, mirrors={"b": Mirror(url, "o", "b", "old")})
        eventually(lambda: "delivery:b" in bench.session.health.troubles(), "a refusal")
        new = {"b": Mirror(url, "o", "b", "new")}
        bench.settings = replace(bench.settings, mirrors=new)  # as the files have it by now
        delivered(bench, "main", "b")
        assert (tokens[0], tokens[-1]) == ("Token old", "Token new")


def sweep(settings: Settings) -> int:
    session = Session(settings, lambda: settings)
    try:
        return session.sweep().points
    finally:
        session.stop()


@pytest.mark.slow
def test_a_sweep_waits_for_no_server_before_it_asks_another(tmp_path: Path) -> None:
    asked = {"main": Event(), "b": Event()}
    met: list[bool] = []

    def meeting(mine: str, other: str) -> Behaviour:
        def behave(client: socket.socket, _: Event) -> None:
            wrote = is_write(read_request(client))
            asked[mine].set()
            met.append(asked[other].wait(30))
            client.sendall(last_response("204 No Content" if wrote else "404 Not Found"))

        return behave

    with serving(meeting("main", "b")) as url, serving(meeting("b", "main")) as other:
        mirrors = {"b": Mirror(other, "o", "b", "t", timeout_s=60)}
        given = Settings(data_dir=tmp_path, influxdb_url=url, influxdb_timeout_s=60)
        sweep(replace(given, mirrors=mirrors))
    assert met
    assert all(met)


def test_a_sweep_removes_what_is_old_at_each_server_though_one_fails(
    bucket: Bucket, second: Bucket, tmp_path: Path
) -> None:
    before = time.time_ns() - 170 * HOUR_NS  # a sweep looks a day behind the one before
    settings = settings_for(bucket, data_dir=tmp_path)

    def write(place: Bucket, points: int) -> None:
        lines = "\n".join(f"m,host=h1 f=1i {before + n}" for n in range(points))
        assert api.write(place.server, place.name, lines.encode())[0] == 204

    write(bucket, 2)
    write(second, 3)
    assert (
        sweep(replace(settings, mirrors={"b": mirror(second)})) == 3
    )  # a point that several had counts once
    assert [*api.rows(bucket), *api.rows(second)] == []
    write(bucket, 1)
    write(second, 1)
    down = Mirror("http://127.0.0.1:1", "o", "b", "t")
    with pytest.raises(InfluxError, match=r"http://127\.0\.0\.1:1"):
        sweep(replace(settings, mirrors={"a": down, "b": mirror(second)}))
    assert [*api.rows(bucket), *api.rows(second)] == []
