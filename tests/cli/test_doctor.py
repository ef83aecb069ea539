"""`doctor`: each precondition broken on purpose, and all of them met."""

import json
import os
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.cli.doctor import local as doctor
from pipeline.cli.doctor.server import Finding
from pipeline.clock import SystemClock
from pipeline.collectors import names
from pipeline.settings import Settings, load
from pipeline.spool import Spool
from tests.agents import mirror, running
from tests.cli.commands import Cli, Done, Inside
from tests.clocks import ManualClock
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.influxd.process import free_port
from tests.machine import another_user

NAMES: dict[str, Any] = {"influxdb_org": "o", "influxdb_bucket": "b", "influxdb_token": "t"}
WRONG = "wr0ng"
ONE_COLLECTOR = {f"collectors__{name}__enabled": name == "file" for name in names()}
SMALL = {"spool_max_mb": 1}  # for which every disk has room


def findings(done: Done) -> dict[str, dict[str, Any]]:
    assert done.err == ""
    found = {one["check"]: one for one in json.loads(done.out)}
    assert done.status == (0 if all(one["ok"] for one in found.values()) else 1)
    return found


def examined(cli: Cli, clock: ManualClock | None = None, **settings: object) -> dict[str, Finding]:
    """Examine in this process, with these settings and no collectors that take time."""
    env = cli.env(**{**ONE_COLLECTOR, **SMALL, **settings})
    found = doctor.examine(
        lambda: load(cli.config_dir, env, collectors=names()),
        cli.config_dir,
        clock or SystemClock(),
        {},
    )
    return {one.check: one for one in found}


def broken(cli: Cli, check: str, **settings: Any) -> Finding:
    """The one check that fails."""
    found = examined(cli, **settings)
    assert failed(found) == [check]
    return found[check]


def failed(found: dict[str, Finding]) -> list[str]:
    for one in found.values():
        assert one.message
        assert one.ok or one.fix
    return [name for name, one in found.items() if not one.ok]


def put(bucket: Bucket, host: str, time_ns: int) -> None:
    line = f"system_metrics,host={host} cpu_usage=1 {time_ns}"
    assert api.write(bucket.server, bucket.name, line.encode())[0] == 204


@pytest.mark.slow  # the least time for an answer that can be set is a second
def test_a_server_that_says_nothing_is_waited_for_once(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = examined(cli, influxdb_url=url, influxdb_timeout_s=1, **NAMES)
        silent.settimeout(0)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert found["server"].message.startswith(f"no answer from {url}: ")
    assert found["write"].message == "could not be checked"


# ---- all is well ---------------------------------------------------------------------------------


def test_beside_a_running_agent_all_is_well(bucket: Bucket, cli: Cli) -> None:
    port = free_port()
    settings = {"bucket": bucket, "collection_interval_ms": 100, "http_port": port, **SMALL}
    with running(cli.env(**settings), cli.folder) as agent:
        agent.until(lambda s: s["delivered_points"] > 50, "a delivery")
        found = findings(cli("doctor", "--json", **settings))
        text = cli("doctor", **settings)
        assert agent.stop() == 0
    assert [name for name, one in found.items() if not one["ok"]] == []
    assert {"settings", "secrets", "data_dir", "store", "room", "port"} <= set(found)
    assert {"server", "clock", "token", "bucket", "write", "query", "delete"} <= set(found)
    assert {"points", "host"} <= set(found)
    assert {"collector cpu", "collector disk"} <= set(found)
    assert found["collector mem"]["message"] == "1 point"
    assert found["collector file"]["message"] == "nothing to read on this host"
    assert found["port"]["message"] == f"{port} is this agent's"
    assert found["data_dir"]["message"].endswith(f"in use by process {agent.process.pid}")
    assert found["host"]["message"] == "nobody else writes as 'h1'"
    assert (text.status, text.err) == (0, "")
    assert len(text.out.splitlines()) == len(found)
    assert all(line.startswith("ok  ") for line in text.out.splitlines())


def test_it_leaves_no_trace(bucket: Bucket, cli: Cli) -> None:
    before = api.get_bucket(bucket.server, bucket.name)
    assert failed(examined(cli, bucket=bucket)) == []
    assert api.rows(bucket) == []
    assert api.get_bucket(bucket.server, bucket.name) == before
    assert not cli.data_dir.exists()


def test_without_a_server_there_is_none_to_check(cli: Cli) -> None:
    (cli.config_dir / "settings.toml").write_text("retention_hours = 5\n")
    (cli.config_dir / "settings.toml").chmod(0o644)  # it holds no secret
    found = examined(cli)
    assert failed(found) == []
    assert found["server"].message == "no influxdb_url: readings stay on this machine"
    assert "token" not in found


# ---- this machine --------------------------------------------------------------------------------


def test_settings_that_cannot_be_used_are_all_there_is_to_tell(cli: Cli, inside: Inside) -> None:
    done = inside(cli, "doctor", retention_hours="a week", nosuch=1)
    assert done.status == 1
    lines = done.out.splitlines()
    assert [line.split()[:2] for line in lines[::2]] == [["FAILED", "settings"]] * 2
    assert "retention_hours = 'a week' must be" in done.out
    assert all(line.strip().startswith("-> correct it") for line in lines[1::2])


@pytest.mark.parametrize("name", [".secrets.toml", "settings.toml", "settings.local.toml"])
def test_secrets_that_others_may_read_are_told(cli: Cli, name: str) -> None:
    path = cli.config_dir / name
    path.write_text('influxdb_token = "s3cret"\n')
    path.chmod(0o640)
    found = broken(cli, "secrets")
    assert found.message == f"{path} holds secrets and is open to others (mode 640)"
    assert found.fix == f"chmod 600 {path}"
    path.chmod(0o600)
    assert failed(examined(cli)) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_settings_that_others_can_change_are_told(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cli.config_dir / "settings.toml"
    path.touch()
    os.chown(path, 12345, 0)
    broken(cli, "settings")  # root refuses them
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    found = broken(cli, "permissions")
    assert found.message == f"{path} belongs to 12345"
    assert found.fix == f"chown daemon {path}"


def test_a_data_directory_that_this_user_may_not_use_is_told() -> None:
    with tempfile.TemporaryDirectory() as name:  # under pytest's folders nobody else may look
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "data").mkdir(mode=0o555)
        (folder / "closed").mkdir(mode=0)  # to its owner too, who may run this test
        env = {"METRICS_DATA_DIR": f"{folder}/closed/data"}
        found = doctor.examine(lambda: load(folder, env), folder, SystemClock(), {})
        with another_user():  # who may not look into Python's folder either, as the rest does
            unwritable = [doctor.data_dir(folder / below) for below in ("data", "data/below/it")]
            closed = next(one for one in found if one.check == "data_dir")
    told = f"{folder}/data is not a folder that this user may write to"
    assert [one.message for one in unwritable] == [told, told]
    assert closed.message == f"{folder}/closed/data: Permission denied"
    assert all(one.fix for one in (*unwritable, closed))


def test_a_file_in_the_place_of_the_data_directory_is_told(cli: Cli) -> None:
    cli.data_dir.write_text("a file")
    broken(cli, "data_dir")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_that_a_run_by_root_left_is_told(cli: Cli) -> None:
    cli.data_dir.mkdir()
    with Spool(cli.data_dir, 2**24):
        pass
    os.chown(cli.data_dir, 65534, 65534)
    fix = broken(cli, "data_dir").fix
    assert fix.startswith(f"chown -h --reference={cli.data_dir} {cli.data_dir}/")


@pytest.mark.slow  # it starts processes
def test_data_that_others_can_change_is_told(cli: Cli) -> None:
    cli.data_dir.mkdir()
    cli.data_dir.chmod(0o777)
    (cli.data_dir / "spool.db.reserve").symlink_to("/etc/passwd")
    for told in ("can be written by others", "spool.db.reserve is a link, and none is followed"):
        found = broken(cli, "data_dir")
        assert found.message.endswith(told)
        subprocess.run(["sh", "-c", found.fix], check=True)
    assert failed(examined(cli)) == []


def test_a_damaged_store_is_told(cli: Cli) -> None:
    cli.data_dir.mkdir()
    (cli.data_dir / "spool.db").write_bytes(b"no database" * 1000)
    found = broken(cli, "store")
    assert "is damaged (file is not a database)" in found.message
    assert found.fix == "the agent will salvage what is left"


def test_too_little_room_for_the_bound_is_told(cli: Cli) -> None:
    found = examined(cli, spool_max_mb=1_000_000)
    expected = [] if psutil.disk_usage(str(cli.folder)).free > 10**12 else ["room"]
    assert failed(found) == expected
    assert " MB free at " in found["room"].message


@pytest.mark.slow
def test_a_port_that_another_program_has_is_told(cli: Cli) -> None:
    number = free_port()
    assert failed(examined(cli, http_port=number)) == []
    with running(cli.env(http_port=number, data_dir=cli.folder / "other"), cli.folder) as agent:
        agent.until(lambda s: s["ticks"], "the first reading")
        found = broken(cli, "port", http_port=number)
        assert agent.stop() == 0
    assert found.message == f"port {number} cannot be used: Address already in use"


def test_a_collector_that_fails_and_one_that_leaves_out_are_told(cli: Cli) -> None:
    folder = cli.folder / "own"
    found = broken(cli, "collector file", collectors__file__directory=folder)
    assert "No such file" in found.message
    assert "enabled = false in [collectors.file]" in found.fix
    folder.mkdir()
    (folder / "a.lp").write_text("rubbish\n")
    found = broken(cli, "collector file", collectors__file__directory=folder)
    assert found.message == "leaves out 1 point"


# ---- the server ----------------------------------------------------------------------------------


def test_each_mirror_is_checked_by_its_name(bucket: Bucket, cli: Cli) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    mirrors = mirror(bucket, "b", bucket="nowhere", token=WRONG) | mirror(bucket, "c", url=url)
    found = examined(cli, bucket=bucket, **mirrors)
    names = [name.removesuffix(" b") for name in found if name.endswith(" b")]
    assert names == list(found)[list(found).index("encryption") :][: len(names)]
    kinds = ["bucket", "write", "query", "delete", "points", "host"]
    assert failed(found) == [
        *(f"{kind} b" for kind in ("token", *kinds)),
        *(f"{kind} c" for kind in ("server", "clock", "token", *kinds)),
    ]
    fixes = {name: found[name].fix for name in ("token b", "bucket b", "server c", "host c")}
    assert fixes == {
        "token b": "put a valid mirrors.b.token in environment variable METRICS_MIRRORS__B__TOKEN",
        "bucket b": "fix token b first",
        "server c": "start it, open the way to it, or correct mirrors.c.url",
        "host c": "fix server c first",
    }
    missing = examined(cli, bucket=bucket, **mirror(bucket, bucket="nowhere"))["bucket b"]
    assert missing.fix.endswith("or correct bucket or org of mirror b")


def test_a_risk_is_a_warning_what_failed_is_told_once_and_the_rest_as_not_checked(
    cli: Cli, inside: Inside
) -> None:
    way = {"influxdb_url": "http://influx.example", "influxdb_proxy": "http://127.0.0.1:9"}
    done = inside(cli, "doctor", **way, **NAMES, **ONE_COLLECTOR, **SMALL)
    assert done.status == 1
    (risk,) = [line for line in done.out.splitlines() if " encryption " in line]
    assert risk.startswith("warning ")
    states = [line.split("  ")[0] for line in done.out.splitlines()]
    last = states[states.index("FAILED") :]
    assert last == ["FAILED", "", *["not checked"] * (len(last) - 2)]
    assert len(last) > 8
    assert done.out.count("no answer from") == 1


@pytest.mark.parametrize(
    ("url", "proxy", "verify", "message"),
    [
        ("http://127.0.0.1:8086", "", True, None),
        ("http://[::1]:8086", "", True, None),
        ("http://localhost:8086", "", True, None),
        ("http://influx.localhost:8086", "http://127.0.0.9:3128", True, None),
        ("https://localhost:8086", "", False, None),
        ("https://influx.example", "", True, None),
        ("https://influx.example", "http://proxy.example:3128", True, None),
        ("https://influx.example", "", False, "the certificate of {} is not checked, "),
        ("http://influx.example", "", True, "what is sent to {} is not encrypted, "),
        ("http://influx.example", "http://localhost:3128", True, "what is sent to {} is not "),
        ("http://localhost:8086", "http://proxy.example:3128", True, "what is sent to {} is not "),
        ("http://127.0.0.1.example", "", False, "what is sent to {} is not encrypted, "),
    ],
)
def test_a_way_to_another_host_that_others_can_read_is_told(
    url: str, proxy: str, message: str | None, *, verify: bool
) -> None:
    settings = Settings(influxdb_url=url, influxdb_proxy=proxy, influxdb_verify_tls=verify)
    found = doctor.encryption(settings)
    assert found.ok
    assert bool(found.fix) is (message is not None)
    expected = "nobody on the way" if message is None else message.format(url)
    assert found.message.startswith(expected)


@pytest.mark.parametrize("ahead_s", [60, -60])
def test_a_clock_that_differs_from_the_servers_is_told(
    bucket: Bucket, cli: Cli, ahead_s: int
) -> None:
    clock = ManualClock(SystemClock().now_ns() + ahead_s * 10**9)
    found = examined(cli, clock, bucket=bucket)
    assert failed(found) == ["clock"]
    assert ("ahead of" if ahead_s > 0 else "behind") in found["clock"].message


def test_a_wrong_token_is_never_shown_and_its_place_is_the_one_that_wins(
    bucket: Bucket, cli: Cli
) -> None:
    found = examined(cli, bucket=bucket, influxdb_token=WRONG)
    assert failed(found)[0] == "token"
    assert "401" in found["token"].message
    assert WRONG not in str(found)
    assert found["token"].fix == (
        "put a valid influxdb_token in environment variable METRICS_INFLUXDB_TOKEN"
    )
    env = cli.env(bucket=bucket)
    del env["METRICS_INFLUXDB_TOKEN"]

    def fix(**more: str) -> str:
        its = {**env, **more}
        found = doctor.examine(
            lambda: load(cli.config_dir, its), cli.config_dir, SystemClock(), its
        )
        return next(one.fix for one in found if one.check == "token")

    secrets = cli.config_dir / ".secrets.toml"
    secrets.write_text(f'influxdb_token = "{WRONG}"\n')
    secrets.chmod(0o600)
    assert fix() == f"put a valid influxdb_token in {secrets}"
    credential = cli.folder / "influxdb_token"
    credential.write_text(WRONG)
    assert fix(CREDENTIALS_DIRECTORY=str(cli.folder)) == (
        f"put a valid influxdb_token where the service has its credential from ({credential})"
    )


def test_missing_rights_and_a_missing_bucket_are_told(bucket: Bucket, cli: Cli) -> None:
    reading, writing = (api.create_token(bucket, [right]) for right in ("read", "write"))
    assert failed(examined(cli, bucket=bucket, influxdb_token=reading)) == ["write", "delete"]
    found = examined(cli, bucket=bucket, influxdb_token=writing)
    assert failed(found) == ["query", "points", "host"]
    assert "its age cannot be seen" in found["bucket"].message
    found = examined(cli, bucket=bucket, influxdb_bucket="nowhere")
    assert failed(found)[0] == "bucket"
    assert 'bucket "nowhere" not found' in found["bucket"].message
    assert found["write"].fix == "fix bucket first"


def test_a_bucket_with_another_age_is_told(bucket: Bucket, cli: Cli) -> None:
    def found(policy: str, hours: int) -> Finding:
        own: dict[str, Any] = {"bucket_retention": policy, "retention_hours": hours}
        return examined(cli, bucket=bucket, **own)["bucket"]

    assert found("extend", 48).message.endswith("keeps for ever")
    api.set_age(bucket, 48, shard_hours=24)
    assert [found(policy, 48).ok for policy in ("extend", "enforce")] == [True, True]
    for policy, hours, fix in (
        ("extend", 72, "start the agent again with a token that may change the bucket"),
        ("enforce", 24, "start the agent again with a token that may change the bucket"),
        ("off", 0, 'set bucket_retention = "extend", or retention_hours to the age of the bucket'),
    ):
        one = found(policy, hours)
        assert (one.ok, one.fix) == (False, fix)
        assert "keeps 48 h" in one.message


def test_points_that_influxdb_cannot_read_are_told(bucket: Bucket, cli: Cli) -> None:
    now = SystemClock().now_ns()
    put(bucket, "h1", now)
    bad = f"a\\ b,host=h1,_time=x v=1 {now}\nc,host=h2,_value=x v=1 {now}"
    assert api.write(bucket.server, bucket.name, bad.encode())[0] == 204
    found = broken(cli, "points", bucket=bucket)
    assert "InfluxDB cannot read all points of 'a b', as with" in found.message
    where = f"--org {bucket.server.org} --bucket {bucket.name}"
    assert found.fix.startswith(f"influx delete {where} --start 1970")
    assert found.fix.endswith("""--predicate 'host="h1" AND _measurement="a b"'""")


# ---- two hosts with one name ---------------------------------------------------------------------


def test_points_of_another_name_or_of_an_earlier_store_are_no_other_agent(
    bucket: Bucket, cli: Cli
) -> None:
    now = SystemClock().now_ns()
    put(bucket, "h2", now)
    put(bucket, "h1", now - 60 * 10**9)
    assert failed(examined(cli, bucket=bucket)) == []  # no store yet
    cli.data_dir.mkdir()
    with Spool(cli.data_dir, 2**24) as spool:
        spool.append(["system_metrics,host=h1 cpu_usage=1 1"], now - 10**9)
    put(bucket, "h1", now - 10**9)
    assert failed(examined(cli, bucket=bucket)) == []
    put(bucket, "h1", now - 1)
    found = broken(cli, "host", bucket=bucket)
    assert found.message == "in the last hour another agent wrote 1 reading as host 'h1'"
    assert found.fix.startswith("set another host on one of the two: ")
