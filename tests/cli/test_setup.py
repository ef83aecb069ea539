"""`setup`: from a server to a working pipeline, and what is right stays as it is."""

import os
import re
import subprocess
import sys
import time
import tomllib
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.cli.setup.steps import Setup, SetupError, SetupOptions
from pipeline.clock import SystemClock
from pipeline.collectors import catalogue
from pipeline.influx import (
    NOTHING,
    Connection,
    HostPoints,
    Rule,
    Wanted,
    reconcile,
    setup_api,
    tasks,
)
from pipeline.influx.dashboards.checks import CHECKS
from pipeline.settings import MAIN, Downsample, SettingsFiles, load
from tests.agents import environment, running
from tests.chaos.proxy import Proxy
from tests.clocks import ManualClock
from tests.influxd import api
from tests.influxd.server import InfluxServer, is_new
from tests.servers import last_response, scripted

SHIPPED = (Path(__file__).parents[2] / "settings.toml").read_text(encoding="utf-8")
PASSWORD = "a-password-of-mine"
BOARDS = ["Metrics: all hosts", "Metrics: one host", "Metrics: the agents"]
LINES = [
    "Bucket 'metrics': keeps 168 h",
    "Token: the one that is there may read and write the bucket",
]


@dataclass(frozen=True)
class Place:
    """A settings folder, and `setup` for it as one types it."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, url: str, *options: str, given: str = "", **env: str) -> Result:
        words = ["--config-dir", str(self.folder), "setup", "--url", url, *options]
        return CliRunner().invoke(main, words, input=given, env=self.env | env)

    def ok(self, url: str, *options: str, given: str = "", **env: str) -> list[str]:
        done = self.run(url, *options, given=given, **env)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        return done.stdout.splitlines()

    def error(self, url: str, *options: str, given: str = "", **env: str) -> str:
        """The one sentence of a failure."""
        done = self.run(url, *options, given=given, **env)
        assert done.exit_code != 0, done.output
        (line,) = done.stderr.splitlines()
        return line.removeprefix("metrics-pipeline: ")

    def read(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        return tomllib.loads(path.read_text()) if path.exists() else {}

    def text(self) -> str:
        return (self.folder / "settings.toml").read_text(encoding="utf-8")

    @property
    def token(self) -> str:
        return str(self.read(".secrets.toml")["influxdb_token"])

    def state(self) -> dict[str, tuple[bytes, int]]:
        return {
            path.name: (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.folder.iterdir()
        }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in list(os.environ):
        if name.startswith("METRICS_") or name == "INFLUX_TOKEN":
            monkeypatch.delenv(name)
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "settings.toml").write_text(SHIPPED)
    env = {"METRICS_HOST": "h1", "METRICS_DATA_DIR": str(tmp_path / "data")}
    return Place(folder, env)


@pytest.fixture
def org(influx_server: InfluxServer) -> Iterator[str]:
    """The name of an organisation that is not there yet."""
    name = f"test-{uuid.uuid4().hex}"
    yield name
    for found in influx_server.call("GET", "/api/v2/orgs?limit=100").json()["orgs"]:
        if found["name"] == name:
            influx_server.call("DELETE", f"/api/v2/orgs/{found['id']}")


class Seen:
    """What an operator sees of an organisation."""

    def __init__(self, server: InfluxServer, org: str) -> None:
        self._server = server
        found = server.call("GET", f"/api/v2/orgs?org={quote(org)}").expect(200).json()["orgs"]
        self.org_id = found[0]["id"]

    def find(self, kind: str, key: str = "") -> list[dict[str, Any]]:
        answer = self._server.call("GET", f"/api/v2/{kind}?orgID={self.org_id}").expect(200)
        found: list[dict[str, Any]] = answer.json()[key or kind]
        return found

    def names(self) -> dict[str, list[str]]:
        kinds = {"buckets": "name", "dashboards": "name", "checks": "name", "variables": "name"}
        named = {kind: sorted(one[key] for one in self.find(kind)) for kind, key in kinds.items()}
        stacks = sorted(one["name"] for one in self.find("stacks"))
        tokens = sorted(one["description"] for one in self.find("authorizations"))
        return named | {"stacks": stacks, "tokens": tokens}


def operator(server: InfluxServer) -> dict[str, str]:
    return {"INFLUX_TOKEN": server.token}


# ---- A new server --------------------------------------------------------------------------------


def test_from_a_bare_server_to_points_in_it_with_one_command(
    new_server: str, place: Place, tmp_path: Path
) -> None:
    *told, last = place.ok(new_server)
    (password,) = re.findall(r"password (\S+) \(it is not shown again\)", "\n".join(told))
    assert [line.partition(": ")[0] for line in told] == [
        "User 'admin'",
        "Server",
        "Organisation 'metrics'",
        "Bucket 'metrics'",
        "Token 'metrics-pipeline of h1'",
        str(place.folder / ".secrets.toml"),
        str(place.folder / "settings.toml"),
        "Dashboards",
        "Checks",
    ]
    assert re.fullmatch(rf"Open {new_server}/orgs/[0-9a-f]{{16}}/dashboards/[0-9a-f]{{16}}", last)

    changed = set((place.folder / "settings.toml").read_text().splitlines()) - set(
        SHIPPED.splitlines()
    )
    assert changed == {
        f'influxdb_url = "{new_server}"',
        'influxdb_org = "metrics"',
        'influxdb_bucket = "metrics"',
    }
    assert (place.folder / ".secrets.toml").stat().st_mode & 0o777 == 0o600
    token = place.token
    assert token not in "\n".join(told)

    # Again, without any credential: the agent's own token is looked at, and nothing is touched.
    before = place.state()
    assert place.ok(new_server) == [
        *LINES,
        "Dashboards and checks: not looked at, that takes an operator's --token-stdin",
        f"Open {new_server}",
    ]
    # And as the user who was told the password: all is there, once.
    again = place.ok(new_server, "--password-stdin", given=f"{password}\n")
    assert again == [
        "Organisation 'metrics': is there",
        *LINES,
        "Dashboards: are there",
        "Checks: are there",
        last,
    ]
    assert place.state() == before

    env = environment(tmp_path / "data", host="h1", collection_interval_ms=200)
    with running(env, tmp_path, "--config-dir", str(place.folder)) as agent:
        agent.until(lambda status: status["delivered_points"] > 0, "points are delivered")
        assert agent.stop() == 0


def test_a_mirror_is_made_ready_as_the_main_server_is(
    influx_server: InfluxServer, new_server: str, org: str, place: Place
) -> None:
    mirror, main = ("--mirror", "b"), (influx_server.url, "--org", org)
    told = place.error(new_server, *mirror)
    assert told == "mirrors need influxdb_url, which is not set: run setup without --mirror first"
    assert is_new(new_server)
    for name in ("B", MAIN, ""):
        assert "must be a name of at most 32" in place.error(new_server, "--mirror", name)
    place.ok(*main, **operator(influx_server))
    text, main_token = place.text(), place.token

    *told_lines, last = place.ok(new_server, *mirror)
    assert f"Organisation {org!r}: is there" in told_lines  # which has the names of the main one
    assert last.startswith(f"Open {new_server}/orgs/")
    lines = zip(text.splitlines(), place.text().splitlines(), strict=True)
    assert [line for old, line in lines if line != old] == [
        "[mirrors.b]",
        f'url = "{new_server}"',
        f'org = "{org}"',
        'bucket = "metrics"',
    ]
    secrets = place.read(".secrets.toml")
    assert secrets["influxdb_token"] == main_token != secrets["mirrors"]["b"]["token"]
    assert (place.folder / ".secrets.toml").stat().st_mode & 0o777 == 0o600

    before = place.state()
    assert place.ok(new_server, *mirror)[:2] == LINES
    assert place.ok(*main)[:2] == LINES
    told = place.error(*main, "--mirror", "c", **operator(influx_server))
    assert told == (
        "mirrors.c has the url, org and bucket of influxdb_*: make one of these another"
    )
    assert place.state() == before


def test_a_password_is_known_though_the_answer_that_made_its_user_is_lost(
    new_server: str, place: Place
) -> None:
    proxy = Proxy(new_server)
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        proxy.fault = "lose the answer"

    with closing(proxy):
        files = SettingsFiles(place.folder, place.env, ())
        with pytest.raises(SetupError, match="no answer"):
            Setup(files, SetupOptions(proxy.url), SystemClock(), tell).run()
    assert not is_new(new_server)
    (password,) = re.findall(r"password (\S+) \(it is not shown again\)", "\n".join(told))
    (done,) = place.ok(new_server, "--password-stdin", given=f"{password}\n")[-1:]
    assert done.startswith(f"Open {new_server}/orgs/")


def test_a_password_that_is_given_is_not_told(new_server: str, place: Place) -> None:
    told = place.ok(
        new_server, "--user", "ann", "--org", "lab", "--password-stdin", given=f"{PASSWORD}\n"
    )
    assert told[0] == "Server: set up, user 'ann'"
    assert PASSWORD not in "\n".join(told)
    wrong = place.error(new_server, "--user", "ann", "--password-stdin", given="wrong-wrong\n")
    assert wrong.startswith(f"{new_server} answered 401")
    assert "--password-stdin" in wrong
    assert "wrong-wrong" not in wrong


def test_a_password_that_the_server_does_not_take_makes_nothing(
    new_server: str, place: Place
) -> None:
    before = place.state()
    told = place.error(new_server, "--password-stdin", given="short\n")
    assert "passwords must be between 8 and 72 characters" in told
    assert place.state() == before
    assert is_new(new_server)


def test_before_a_new_server_is_touched_the_settings_are_known_to_be_writable(
    new_server: str, place: Place
) -> None:
    (place.folder / "settings.toml").chmod(0o444)
    told = place.error(new_server)
    assert told == (
        f"{place.folder / 'settings.toml'} cannot be written (read-only): make it writable, "
        "run setup as somebody who may, or name another folder by --config-dir"
    )
    told = place.error(new_server, METRICS_INFLUXDB_BUCKET="other", given="")
    assert "cannot be written" in told
    assert is_new(new_server)


# ---- A server that is set up ---------------------------------------------------------------------


def test_an_operators_token_makes_all_that_is_missing_and_nothing_twice(
    influx_server: InfluxServer, org: str, place: Place
) -> None:
    url = influx_server.url
    token = f"{influx_server.token}\n"
    told = place.ok(url, "--org", org, "--bucket", "b", "--token-stdin", given=token)
    assert told[0] == f"Organisation {org!r}: made"
    assert told[1] == "Bucket 'b': created, keeps 168 h"
    seen = Seen(influx_server, org).names()
    kinds = ("checks", "dashboards", "variables")
    each = sorted(f"metrics-pipeline: {name}" for kind in kinds for name in seen[kind])
    assert seen == {
        "buckets": ["_monitoring", "_tasks", "b"],
        "dashboards": BOARDS,
        "checks": [
            "Agent loses data (b)",
            "Agent loses data for a mirror (b)",
            "File system is nearly full (b)",
            "Host is silent (b)",
            "Memory is nearly used up (b)",
            "Programs wait for memory (b)",
            "Units have failed (b)",
        ],
        "variables": ["metrics_bucket", "metrics_host"],
        "stacks": each,
        "tokens": ["metrics-pipeline of h1"],
    }
    before = place.state()
    place.ok(url, **operator(influx_server))
    assert place.state() == before
    assert Seen(influx_server, org).names() == seen

    # A second host, with a bucket of its own: the dashboards are shared, the checks are not.
    for path in place.folder.iterdir():
        path.unlink()
    place.ok(url, "--org", org, "--bucket", "c", METRICS_HOST="h2", **operator(influx_server))
    after = Seen(influx_server, org).names()
    assert after["tokens"] == ["metrics-pipeline of h1", "metrics-pipeline of h2"]
    assert after["dashboards"] == seen["dashboards"]
    assert len(after["checks"]) == 2 * len(seen["checks"])


def test_the_token_is_of_the_least_scope_and_suffices_for_the_agent(
    influx_server: InfluxServer, org: str, place: Place
) -> None:
    place.ok(influx_server.url, "--org", org, **operator(influx_server))
    seen = Seen(influx_server, org)
    (token,) = seen.find("authorizations")
    (bucket,) = [one for one in seen.find("buckets") if one["name"] == "metrics"]
    allowed = {(one["action"], one["resource"]["id"]) for one in token["permissions"]}
    assert allowed == {("read", bucket["id"]), ("write", bucket["id"])}
    assert token["token"] == place.token

    env = {**place.env, "METRICS_RETENTION_HOURS": "336"}
    settings = load(place.folder, env).settings
    with closing(Connection(settings, SystemClock())) as connection:
        rule = reconcile(connection, Wanted.of(settings), time.time_ns())
        assert isinstance(rule, Rule)
        assert rule.change == "Bucket 'metrics': retention rule changed from 168 h to 336 h"
        now = time.time_ns()
        api_server = InfluxServer(influx_server.url, org, place.token, way="external")
        assert api.write(api_server, "metrics", f"m,host=h1 f=1i {now}".encode())[0] == 204
        points = HostPoints(connection, "h1")
        assert points.count(now - 10**9, now + 10**9) == 1
        points.delete(now - 10**9, now + 10**9)
        assert points.oldest(now - 10**9, now + 10**9) is None


def test_with_downsampling_the_token_suffices_for_that_too(
    influx_server: InfluxServer, org: str, place: Place
) -> None:
    url, as_operator = influx_server.url, operator(influx_server)
    place.ok(url, "--org", org, **as_operator)
    means = 'downsample = {every = "1m", bucket = "means"}\n'
    (place.folder / "settings.toml").write_text(means + place.text())
    told = place.ok(url, **as_operator)
    allowed = "bucket 'metrics' and bucket 'means', tasks, and nothing else"
    name = "metrics-pipeline of h1 (metrics, means)"
    assert f"Token {name!r}: made, may read and write {allowed}" in told
    assert "Token: the one that is there may read and write the bucket" in place.ok(url)
    assert "Token: the one that is there may read and write the bucket" in place.ok(
        url, **as_operator
    )

    settings = load(place.folder, place.env).settings
    with closing(Connection(settings, SystemClock())) as connection:
        done = tasks.reconcile(connection, settings, "", catalogue.cumulative())
        assert "created" in done.change
        nothing = replace(settings, downsample=Downsample())
        tasks.reconcile(connection, nothing, done.task, catalogue.cumulative())

    (place.folder / "settings.toml").write_text(place.text().removeprefix(means))
    told = place.ok(url, **as_operator)
    allowed = "may read and write bucket 'metrics' and nothing else"
    assert f"Token 'metrics-pipeline of h1': is there, {allowed}" in told
    # Each of the two can be told from the other, as either may be in use.
    assert Seen(influx_server, org).names()["tokens"] == ["metrics-pipeline of h1", name]


def test_the_means_have_a_bucket_of_their_own(
    influx_server: InfluxServer, org: str, place: Place
) -> None:
    means = 'downsample = {every = "1m", bucket = "means"}\n'
    (place.folder / "settings.toml").write_text(means)
    told = place.error(
        influx_server.url, "--org", org, "--bucket", "means", **operator(influx_server)
    )
    assert told == "downsample.bucket must be another bucket than influxdb_bucket"
    assert "means" not in Seen(influx_server, org).names()["buckets"]


def test_what_a_user_has_changed_stays_and_what_was_deleted_comes_back(
    influx_server: InfluxServer, org: str, place: Place
) -> None:
    url, env = influx_server.url, operator(influx_server)
    place.ok(url, "--org", org, **env)
    seen = Seen(influx_server, org)
    board = next(one for one in seen.find("dashboards") if one["name"] == BOARDS[1])
    path = f"/api/v2/dashboards/{board['id']}"
    influx_server.call("PATCH", path, {"name": "Mine"}).expect(200)
    assert "Dashboards: are there" in place.ok(url, **env)
    assert seen.names()["dashboards"] == sorted(["Mine", BOARDS[0], BOARDS[2]])
    influx_server.call("DELETE", path).expect(204)
    told = place.ok(url, **env)
    assert {"Dashboards: made", "Checks: are there"} <= {*told}
    assert seen.names()["dashboards"] == BOARDS


def test_a_run_that_failed_midway_is_run_again(
    influx_server: InfluxServer, org: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> list[Path]:
        raise OSError(28, "No space left on device", "settings.toml")

    with monkeypatch.context() as patch:
        patch.setattr(SettingsFiles, "write", full)
        told = place.error(influx_server.url, "--org", org, **operator(influx_server))
    assert told == "settings.toml: No space left on device"
    again = place.ok(influx_server.url, "--org", org, **operator(influx_server))
    assert "Token 'metrics-pipeline of h1': is there" in "\n".join(again)
    assert Seen(influx_server, org).names()["tokens"] == ["metrics-pipeline of h1"]


@pytest.mark.parametrize("present", ["no-token-of-this-server", "operator"])
def test_a_token_that_does_not_do_or_may_too_much_is_replaced(
    influx_server: InfluxServer, org: str, place: Place, present: str
) -> None:
    token = influx_server.token if present == "operator" else present
    (place.folder / "settings.toml").write_text(
        f'influxdb_url = "{influx_server.url}"  # ours\n'
        f'influxdb_org = "{org}"\ninfluxdb_bucket = "metrics"\n'
    )
    (place.folder / ".secrets.toml").write_text(f'influxdb_token = "{token}"\n')
    place.ok(influx_server.url, **operator(influx_server))
    (made,) = Seen(influx_server, org).find("authorizations")
    assert place.token == made["token"] != token
    assert "  # ours" in (place.folder / "settings.toml").read_text()


def test_a_setting_is_changed_where_it_is_given(
    influx_server: InfluxServer, org: str, place: Place
) -> None:
    (place.folder / ".secrets.toml").write_text('influxdb_bucket = "old"\n')
    place.ok(influx_server.url, "--org", org, "--bucket", "b", **operator(influx_server))
    assert place.read(".secrets.toml").keys() == {"influxdb_bucket", "influxdb_token"}
    assert place.read("settings.toml").keys() == {"influxdb_url", "influxdb_org"}
    assert load(place.folder, place.env).settings.influxdb_bucket == "b"


def test_a_bucket_of_the_name_in_another_organisation_is_left_alone(
    influx_server: InfluxServer, bucket: api.Bucket, org: str, place: Place
) -> None:
    options = ("--org", org, "--bucket", bucket.name)
    told = place.ok(influx_server.url, *options, **operator(influx_server))
    assert f"Bucket {bucket.name!r}: created, keeps 168 h" in told
    assert api.age_s(influx_server, bucket.name) == 0


@pytest.mark.parametrize(
    ("age_s", "mode", "told"),
    [
        (
            0,
            "extend",
            "keeps for ever, as other hosts may need it; this host's points go after 168",
        ),
        (24 * 3600, "extend", "retention rule changed from 24 h to 168 h"),
        (
            24 * 3600,
            "off",
            "keeps 24 h, which is less than this host's 168 h: set bucket_retention",
        ),
    ],
)
def test_a_bucket_with_another_rule_is_told(
    influx_server: InfluxServer, org: str, place: Place, age_s: int, mode: str, told: str
) -> None:
    made = influx_server.call("POST", "/api/v2/orgs", {"name": org}).expect(201).json()
    rules = [{"type": "expire", "everySeconds": age_s}]
    wanted = {"orgID": made["id"], "name": "metrics", "retentionRules": rules}
    influx_server.call("POST", "/api/v2/buckets", wanted).expect(201)
    settings = {"METRICS_BUCKET_RETENTION": mode, **operator(influx_server)}
    lines = place.ok(influx_server.url, "--org", org, **settings)
    assert lines[1].startswith(f"Bucket 'metrics': {told}")


# ---- Several at once -----------------------------------------------------------------------------


def test_setups_at_once_make_nothing_twice(
    influx_server: InfluxServer, org: str, place: Place, tmp_path: Path
) -> None:
    together = Barrier(3)

    def run(number: int) -> list[str]:
        folder = tmp_path / str(number)
        folder.mkdir()
        files = SettingsFiles(folder, {**place.env, "METRICS_HOST": f"h{number % 2}"}, ())
        options = SetupOptions(influx_server.url, org, token=influx_server.token)
        told: list[str] = []
        together.wait()
        Setup(files, options, SystemClock(), told.append).run()
        return told

    with ThreadPoolExecutor(3) as pool:
        told = list(pool.map(run, range(3)))
    seen = Seen(influx_server, org)
    names = seen.names()
    assert names["dashboards"] == sorted(set(names["dashboards"]))
    assert len(names["checks"]) == len(CHECKS)
    assert names["stacks"] == sorted(set(names["stacks"]))
    assert names["tokens"] == ["metrics-pipeline of h0", "metrics-pipeline of h1"]
    assert seen.find("labels") == []
    assert sorted(line for lines in told for line in lines if line.startswith("Dashboards")) == [
        "Dashboards: are there",
        "Dashboards: are there",
        "Dashboards: made",
    ]


def test_a_setup_that_was_killed_keeps_the_next_one_waiting_for_a_minute(
    influx_server: InfluxServer, org: str, place: Place
) -> None:
    made = influx_server.call("POST", "/api/v2/orgs", {"name": org}).expect(201).json()
    label = {"orgID": made["id"], "name": setup_api.LOCK}
    influx_server.call("POST", "/api/v2/labels", label).expect(201)
    clock = ManualClock(time.time_ns())
    told: list[str] = []
    options = SetupOptions(influx_server.url, org, token=influx_server.token)
    Setup(SettingsFiles(place.folder, place.env, ()), options, clock, told.append).run()
    assert 60 <= sum(clock.waits) < 62
    assert "Another setup of this organisation is under way: waiting for it" in told
    assert "Dashboards: made" in told
    assert Seen(influx_server, org).find("labels") == []


# ---- The id of an organisation in place of its name ----------------------------------------------


def test_the_id_of_an_organisation_is_understood(
    influx_server: InfluxServer, org: str, place: Place
) -> None:
    url, env = influx_server.url, operator(influx_server)
    place.ok(url, "--org", org, **env)
    seen = Seen(influx_server, org)
    before, token = seen.names(), place.token
    given = seen.org_id.upper()  # InfluxDB takes either
    (place.folder / "settings.toml").write_text(
        f'influxdb_url = "{url}"\ninfluxdb_org = "{given}"\ninfluxdb_bucket = "metrics"\n'
    )
    state = place.state()
    assert place.ok(url)[:2] == LINES
    told = place.ok(url, **env)
    assert told[:3] == [f"Organisation {org!r}: is there", *LINES]
    assert place.state() == state
    assert place.token == token
    assert seen.names() == before
    orgs = influx_server.call("GET", "/api/v2/orgs?limit=100").json()["orgs"]
    assert given not in {one["name"] for one in orgs}

    settings = load(place.folder, {**place.env, "METRICS_RETENTION_HOURS": "336"}).settings
    with closing(Connection(settings, SystemClock())) as connection:
        rule = reconcile(connection, Wanted.of(settings), time.time_ns())
        assert isinstance(rule, Rule)
        assert rule.change == "Bucket 'metrics': retention rule changed from 168 h to 336 h"
        points = HostPoints(connection, "h1")
        assert points.count(0, 10) == 0
        points.delete(0, 10)
        assert connection.write(NOTHING).status == 204
    means = replace(settings, downsample=Downsample("5m", 48, "means"))
    with closing(
        Connection(replace(means, influxdb_token=influx_server.token), SystemClock())
    ) as c:
        second = replace(Wanted.of(means), bucket="means")
        assert isinstance(reconcile(c, second, time.time_ns()), Rule)
        done = tasks.reconcile(c, means, "", catalogue.cumulative())
        assert "created" in done.change
        assert tasks.reconcile(c, means, done.task, catalogue.cumulative()).change == ""
        off = replace(means, downsample=Downsample())
        assert "removed" in tasks.reconcile(c, off, done.task, catalogue.cumulative()).change


def test_an_id_that_no_organisation_has_makes_none(
    influx_server: InfluxServer, place: Place
) -> None:
    told = place.error(influx_server.url, "--org", "0123456789abcdef", **operator(influx_server))
    assert told.startswith("no organisation has the id 0123456789abcdef (there are metrics-tests")
    assert told.endswith("by --org")
    orgs = influx_server.call("GET", "/api/v2/orgs?limit=100").json()["orgs"]
    assert "0123456789abcdef" not in {one["name"] for one in orgs}


def test_a_new_server_gets_no_organisation_that_looks_like_an_id(
    new_server: str, place: Place
) -> None:
    told = place.error(new_server, "--org", "0123456789abcdef")
    assert told.startswith(
        "0123456789abcdef is the id of an organisation, and a new server has none"
    )
    assert is_new(new_server)


def test_an_organisation_whose_name_looks_like_an_id_is_known_by_its_id(
    influx_server: InfluxServer, place: Place
) -> None:
    name = uuid.uuid4().hex[:16]
    made = influx_server.call("POST", "/api/v2/orgs", {"name": name}).expect(201).json()
    try:
        told = place.ok(influx_server.url, "--org", name, **operator(influx_server))
        assert told[0] == f"Organisation {name!r}: is there"
        assert place.read("settings.toml")["influxdb_org"] == made["id"]
        assert place.ok(influx_server.url)[:2] == LINES
    finally:
        influx_server.call("DELETE", f"/api/v2/orgs/{made['id']}").expect(204)


# ---- Bad input -----------------------------------------------------------------------------------


def test_without_an_operator_a_server_that_is_set_up_is_not_touched(
    influx_server: InfluxServer, place: Place
) -> None:
    before = place.state()
    assert place.error(influx_server.url) == (
        f"{influx_server.url} is set up already, and the settings have no token for it: "
        "give an operator's token by --token-stdin or INFLUX_TOKEN, "
        "or a user's password by --password-stdin"
    )
    assert place.state() == before


def test_a_wrong_token_is_told_without_telling_it(
    influx_server: InfluxServer, place: Place
) -> None:
    before = place.state()
    told = place.error(influx_server.url, INFLUX_TOKEN="s3cret-token")
    assert told.startswith(f"{influx_server.url} answered 401: unauthorized access; give")
    assert "s3cret" not in told
    assert place.state() == before


def test_a_token_that_may_not_make_the_organisation(
    influx_server: InfluxServer, bucket: api.Bucket, place: Place
) -> None:
    lesser = api.create_token(bucket)
    told = place.error(influx_server.url, "--org", "nowhere", INFLUX_TOKEN=lesser)
    assert told.startswith(
        "organisation 'nowhere' is not there, and cannot be made with this token"
    )
    assert lesser not in told


def test_several_organisations_are_named(
    influx_server: InfluxServer, org: str, place: Place
) -> None:
    influx_server.call("POST", "/api/v2/orgs", {"name": org}).expect(201)
    told = place.error(influx_server.url, **operator(influx_server))
    assert org in told
    assert told.endswith("say which by --org")


def test_a_server_that_is_down_is_told(place: Place) -> None:
    before = place.state()
    assert place.error("http://127.0.0.1:1") == (
        "no answer from http://127.0.0.1:1: connection refused; "
        "see that the address is right and the server runs, then run it again"
    )
    assert place.state() == before


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            last_response("404 Not Found", b"404 page not found\n", "X-Influxdb-Version: 1.8.10"),
            "answered 404: 404 page not found, as InfluxDB 1.8.10: give the address of an",
        ),
        (
            last_response("404 Not Found", b"", "X-Influxdb-Version: 3.4.1"),
            "answered 404, as InfluxDB 3.4.1: give the address of an InfluxDB 2",
        ),
        (
            last_response("200 OK", b"<html>"),
            "did not answer as InfluxDB 2 does: give the address of an",
        ),
        (
            last_response("200 OK", b"{}"),
            "did not answer as InfluxDB 2 does: give the address of an",
        ),
        (last_response("503 Unavailable"), "answered 503; it can be run again"),
    ],
)
def test_what_is_no_influxdb_2_is_told(place: Place, answer: bytes, told: str) -> None:
    with scripted(answer) as url:
        assert place.error(url).startswith(f"{url} {told}")


def test_a_certificate_of_its_own_is_told_with_the_setting_for_it(
    certificate: Path, place: Place
) -> None:
    with scripted(last_response("503 Unavailable"), certificate) as url:
        told = place.error(url)
        assert "certificate verify failed" in told
        assert "influxdb_ca_cert" in told
        known = place.error(url, METRICS_INFLUXDB_CA_CERT=str(certificate))
        assert known == f"{url} answered 503; it can be run again"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--url", "localhost:8086"), "must be text such as http://localhost:8086"),
        (("--url", "http://u:pa55@h"), "must be text such as http://localhost:8086"),
        (("--url", "http://h", "--org", "a\nb"), "must hold no control characters"),
        (("--url", "http://h", "--user", "a\udcff"), "must hold no control characters"),
        (("--url", "http://h", "--token-stdin"), "nothing was given on standard input"),
        (("--url", "http://h", "--token-stdin", "--password-stdin"), "not both"),
        ((), "Missing option '--url'"),
    ],
)
def test_a_wrong_command_line(place: Place, options: tuple[str, ...], told: str) -> None:
    done = CliRunner().invoke(main, ["--config-dir", str(place.folder), "setup", *options])
    assert done.exit_code == 2
    assert told in done.stderr
    assert "pa55" not in done.stderr


@pytest.mark.parametrize(
    ("token", "password", "told"),
    [
        ("OPERATOR\x01SECRET", "", "the operator's token must hold no control characters"),
        ("OPERATOR€SECRET", "", "the operator's token ******** must be text of letters, digits"),
        ("", "PASS\x01SECRET\n", "the password must hold no control characters and nothing but"),
    ],
)
def test_a_secret_that_can_be_none_is_not_quoted(
    place: Place, token: str, password: str, told: str
) -> None:
    options = ["--password-stdin"] if password else []
    done = place.run("http://127.0.0.1:9", *options, given=password, INFLUX_TOKEN=token)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "SECRET" not in done.output


def test_a_variable_that_says_otherwise_is_told_before_anything_is_made(
    influx_server: InfluxServer, org: str, place: Place
) -> None:
    influx_server.call("POST", "/api/v2/orgs", {"name": org}).expect(201)
    before = Seen(influx_server, org).names()
    other = {"METRICS_INFLUXDB_BUCKET": "other", **operator(influx_server)}
    assert place.error(influx_server.url, "--org", org, "--bucket", "b", **other) == (
        "environment variable METRICS_INFLUXDB_BUCKET gives influxdb_bucket another value than "
        "setup would: unset it"
    )
    token = {"METRICS_INFLUXDB_TOKEN": "old", **operator(influx_server)}
    told = place.error(influx_server.url, "--org", org, **token)
    assert told.startswith("environment variable METRICS_INFLUXDB_TOKEN gives influxdb_token")
    assert before["tokens"] == []


def test_a_credential_that_would_win_over_the_new_token_is_told(
    influx_server: InfluxServer, org: str, place: Place, tmp_path: Path
) -> None:
    credential = tmp_path / "influxdb_token"
    credential.write_text("no-token-of-this-server")
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path), **operator(influx_server)}
    before = place.state()
    assert place.error(influx_server.url, "--org", org, **env) == (
        f"{credential} gives influxdb_token another value than setup would: take it out there"
    )
    assert place.state() == before
    # The one that was made is the credential from then on.
    (made,) = Seen(influx_server, org).find("authorizations")
    credential.write_text(made["token"])
    assert "Dashboards: made" in place.ok(influx_server.url, "--org", org, **env)


def test_settings_that_are_broken_are_told_first(place: Place) -> None:
    (place.folder / "settings.toml").write_text("retention_hours = 'a week'\n")
    assert "retention_hours" in place.error("http://127.0.0.1:1")


def test_the_token_that_is_there_is_not_shown_to_another_server(
    influx_server: InfluxServer, place: Place
) -> None:
    (place.folder / "settings.toml").write_text(
        'influxdb_url = "http://elsewhere"\ninfluxdb_org = "o"\ninfluxdb_bucket = "b"\n'
    )
    (place.folder / ".secrets.toml").write_text(f'influxdb_token = "{influx_server.token}"\n')
    assert "the settings have no token for it" in place.error(influx_server.url)


# ---- With a person at the terminal ---------------------------------------------------------------


def test_a_person_is_asked_for_what_is_missing(
    influx_server: InfluxServer, org: str, place: Place
) -> None:
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return influx_server.token

    told: list[str] = []
    for _ in range(2):
        files = SettingsFiles(place.folder, place.env, ())
        options = SetupOptions(influx_server.url, org, ask=ask)
        Setup(files, options, SystemClock(), told.append).run()
    (question,) = asked
    assert question.endswith("the settings have no token for it. An operator's token")


def test_a_person_who_gives_nothing_gets_the_sentence(
    influx_server: InfluxServer, place: Place
) -> None:
    files = SettingsFiles(place.folder, place.env, ())
    options = SetupOptions(influx_server.url, ask=lambda _: "")
    with pytest.raises(SetupError, match="give an operator's token"):
        Setup(files, options, SystemClock(), print).run()


def test_at_a_terminal_a_password_is_asked_for_and_not_shown(new_server: str, place: Place) -> None:
    ours, theirs = os.openpty()
    words = ["--config-dir", str(place.folder), "setup", "--url", new_server]
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", *words],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ) | place.env,
        start_new_session=True,  # without a terminal of its own but this
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            # Once it asks, what is typed is not shown.
            first = os.read(process.stderr.fileno(), 1000).decode()
            os.write(ours, f"{PASSWORD}\n".encode())
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    os.close(theirs)
    os.close(ours)
    assert process.returncode == 0, err
    assert "A password for the user 'admin' (none: one is made up):" in first + err
    assert "Server: set up, user 'admin'\n" in out
    assert PASSWORD not in out + err


def test_secrets_are_not_in_the_representation_of_the_options() -> None:
    options = SetupOptions("http://h", password=PASSWORD, token="s3cret")
    assert PASSWORD not in repr(options)
    assert "s3cret" not in repr(options)
