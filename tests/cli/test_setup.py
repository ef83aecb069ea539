"""`setup`: from a server to a working pipeline, and what is right stays as it is."""

import gzip
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
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.cli.setup.steps import Setup, SetupError, SetupOptions
from pipeline.clock import Clock, SystemClock
from pipeline.collectors import catalogue
from pipeline.influx import (
    Connection,
    HostPoints,
    Rule,
    Wanted,
    reconcile,
    setup_api,
    tasks,
)
from pipeline.influx.dashboards.checks import CHECKS
from pipeline.settings import MAIN, Downsample, Settings, SettingsFiles, load
from tests.agents import environment, running
from tests.chaos.proxy import Proxy
from tests.clocks import ManualClock
from tests.influxd import api
from tests.influxd.server import InfluxServer, is_new
from tests.servers import last_response, scripted

SHIPPED = (Path(__file__).parents[2] / "settings.toml").read_text(encoding="utf-8")
PASSWORD = "a-password-of-mine"
BOARDS = ["Metrics: all hosts", "Metrics: one host", "Metrics: the agents"]
NO_ORG = "0123456789abcdef"
LINES = [
    "Bucket 'metrics': keeps 168 h",
    "Token: the one that is there may read and write the bucket",
]


@dataclass(frozen=True)
class Place:
    """A settings folder, and `setup` for it as one types it."""

    folder: Path
    env: dict[str, str]

    def run(self, url: str, *options: str, given: str = "", **env: str) -> Result:
        words = ["--config-dir", str(self.folder), "setup", "--url", url, *options]
        return CliRunner().invoke(main, words, input=given, env=self.env | env)

    def ok(self, url: str, *options: str, given: str = "", **env: str) -> list[str]:
        done = self.run(url, *options, given=given, **env)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        return done.stdout.splitlines()

    def error(self, url: str, *options: str, given: str = "", **env: str) -> str:
        """The one sentence of a failure, which touches no file."""
        before = self.state()
        done = self.run(url, *options, given=given, **env)
        assert done.exit_code != 0, done.output
        assert self.state() == before
        (line,) = done.stderr.splitlines()
        return line.removeprefix("metrics-pipeline: ")

    def set_up(self, options: SetupOptions, clock: Clock | None = None) -> list[str]:
        """Run it without the command; return what it tells."""
        told: list[str] = []
        files = SettingsFiles(self.folder, self.env, ())
        Setup(files, options, clock or SystemClock(), told.append).run()
        return told

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
    # A busy machine's server may take long.
    return Place(folder, env | {"METRICS_INFLUXDB_TIMEOUT_S": "60"})


@dataclass(frozen=True)
class Lab(Place):
    """With a server that is set up, and the name of an organisation that is not there yet."""

    server: InfluxServer
    org: str

    @property
    def as_operator(self) -> dict[str, str]:
        return {"INFLUX_TOKEN": self.server.token}

    def made(self, *options: str, **env: str) -> list[str]:
        """Make it ready as the operator; return what is told."""
        return self.ok(self.server.url, "--org", self.org, *options, **env, **self.as_operator)

    def refused(self, *options: str, **env: str) -> str:
        """The one sentence of a failure of the same."""
        given = env | self.as_operator
        return self.error(self.server.url, "--org", self.org, *options, **given)

    def make_org(self) -> str:
        """Make the organisation without setup; return its id."""
        answer = self.server.call("POST", "/api/v2/orgs", {"name": self.org}).expect(201)
        return str(answer.json()["id"])

    @property
    def org_id(self) -> str:
        answer = self.server.call("GET", f"/api/v2/orgs?org={self.org}").expect(200)
        return str(answer.json()["orgs"][0]["id"])

    def find(self, kind: str) -> list[dict[str, Any]]:
        """What an operator sees of the organisation."""
        answer = self.server.call("GET", f"/api/v2/{kind}?orgID={self.org_id}").expect(200)
        found: list[dict[str, Any]] = answer.json()[kind]
        return found

    def names(self) -> dict[str, list[str]]:
        kinds = ("buckets", "dashboards", "checks", "variables", "stacks")
        named = {kind: sorted(one["name"] for one in self.find(kind)) for kind in kinds}
        tokens = sorted(one["description"] for one in self.find("authorizations"))
        return named | {"tokens": tokens}


@pytest.fixture
def lab(influx_server: InfluxServer, place: Place) -> Iterator[Lab]:
    name = f"test-{uuid.uuid4().hex}"
    yield Lab(place.folder, place.env, influx_server, name)
    for found in influx_server.call("GET", "/api/v2/orgs?limit=100").json()["orgs"]:
        if found["name"] == name:
            influx_server.call("DELETE", f"/api/v2/orgs/{found['id']}")


def assert_suffices(place: Place) -> None:
    """An agent can extend the bucket, write, count and delete by what setup wrote."""
    settings = load(place.folder, {**place.env, "METRICS_RETENTION_HOURS": "336"}).settings
    now = time.time_ns()
    with closing(Connection(settings, SystemClock())) as connection:
        rule = reconcile(connection, Wanted.of(settings), now)
        assert isinstance(rule, Rule)
        assert rule.change == "Bucket 'metrics': retention rule changed from 168 h to 336 h"
        assert connection.write(gzip.compress(f"m,host=h1 f=1i {now}".encode())).status == 204
        points = HostPoints(connection, "h1")
        assert points.count(now - 10**9, now + 10**9) == 1
        points.delete(now - 10**9, now + 10**9)
        assert points.oldest(now - 10**9, now + 10**9) is None


def assert_downsamples(settings: Settings) -> None:
    """The task is made, known again, and removed."""
    counters, off = catalogue.cumulative(), replace(settings, downsample=Downsample())
    with closing(Connection(settings, SystemClock())) as connection:
        done = tasks.reconcile(connection, settings, "", counters)
        assert "created" in done.change
        assert tasks.reconcile(connection, settings, done.task, counters).change == ""
        assert "removed" in tasks.reconcile(connection, off, done.task, counters).change


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

    assert place.read("settings.toml").keys() >= {"influxdb_url", "influxdb_org", "influxdb_bucket"}
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


def test_a_mirror_is_made_ready_as_the_main_server_is(new_server: str, lab: Lab) -> None:
    mirror, main = ("--mirror", "b"), (lab.server.url, "--org", lab.org)
    told = lab.error(new_server, *mirror)
    assert told == "mirrors need influxdb_url, which is not set: run setup without --mirror first"
    assert is_new(new_server)
    for name in ("B", MAIN, ""):
        assert "must be a name of at most 32" in lab.error(new_server, "--mirror", name)
    lab.made()
    main_token = lab.token

    *steps, last = lab.ok(new_server, *mirror)
    assert f"Organisation {lab.org!r}: is there" in steps  # it has the names of the main one
    assert last.startswith(f"Open {new_server}/orgs/")
    names = {"org": lab.org, "bucket": "metrics"}
    assert lab.read("settings.toml")["mirrors"] == {"b": {"url": new_server, **names}}
    secrets = lab.read(".secrets.toml")
    assert secrets["influxdb_token"] == main_token != secrets["mirrors"]["b"]["token"]
    assert (lab.folder / ".secrets.toml").stat().st_mode & 0o777 == 0o600

    before = lab.state()
    assert lab.ok(new_server, *mirror)[:2] == LINES
    assert lab.ok(*main)[:2] == LINES
    assert lab.state() == before
    told = lab.refused("--mirror", "c")
    assert told == (
        "mirrors.c has the url, org and bucket of influxdb_*: make one of these another"
    )


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


def test_a_new_server_is_not_touched_for_what_cannot_end_well(
    new_server: str, place: Place
) -> None:
    told = place.error(new_server, "--password-stdin", given="short\n")
    assert "passwords must be between 8 and 72 characters" in told
    told = place.error(new_server, "--org", NO_ORG)
    assert told.startswith(f"{NO_ORG} is the id of an organisation, and a new server has none")
    (place.folder / "settings.toml").chmod(0o444)
    for env in ({}, {"METRICS_INFLUXDB_BUCKET": "other"}):
        assert place.error(new_server, **env) == (
            f"{place.folder / 'settings.toml'} cannot be written (read-only): make it writable, "
            "run setup as somebody who may, or name another folder by --config-dir"
        )
    assert is_new(new_server)


# ---- A server that is set up ---------------------------------------------------------------------


def test_an_operators_token_makes_all_that_is_missing_and_nothing_twice(lab: Lab) -> None:
    url, given = lab.server.url, f"{lab.server.token}\n"
    told = lab.ok(url, "--org", lab.org, "--bucket", "b", "--token-stdin", given=given)
    assert told[0] == f"Organisation {lab.org!r}: made"
    assert told[1] == "Bucket 'b': created, keeps 168 h"
    seen = lab.names()
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
    before = lab.state()
    lab.ok(url, **lab.as_operator)
    assert lab.state() == before
    assert lab.names() == seen

    # A second host, with a bucket of its own: the dashboards are shared, the checks are not.
    for path in lab.folder.iterdir():
        path.unlink()
    lab.made("--bucket", "c", METRICS_HOST="h2")
    after = lab.names()
    assert after["tokens"] == ["metrics-pipeline of h1", "metrics-pipeline of h2"]
    assert after["dashboards"] == seen["dashboards"]
    assert len(after["checks"]) == 2 * len(seen["checks"])


def test_the_token_is_of_the_least_scope_and_suffices_for_the_agent(lab: Lab) -> None:
    lab.made()
    (token,) = lab.find("authorizations")
    (bucket,) = [one for one in lab.find("buckets") if one["name"] == "metrics"]
    allowed = {(one["action"], one["resource"]["id"]) for one in token["permissions"]}
    assert allowed == {("read", bucket["id"]), ("write", bucket["id"])}
    assert token["token"] == lab.token
    assert_suffices(lab)


def test_with_downsampling_the_token_suffices_for_that_too(lab: Lab) -> None:
    lab.made()
    means = 'downsample = {every = "1m", bucket = "means"}\n'
    (lab.folder / "settings.toml").write_text(means + lab.text())
    told = lab.made()
    allowed = "bucket 'metrics' and bucket 'means', tasks, and nothing else"
    name = "metrics-pipeline of h1 (metrics, means)"
    assert f"Token {name!r}: made, may read and write {allowed}" in told
    assert LINES[1] in lab.ok(lab.server.url)
    assert LINES[1] in lab.made()
    assert_downsamples(load(lab.folder, lab.env).settings)

    (lab.folder / "settings.toml").write_text(lab.text().removeprefix(means))
    told = lab.made()
    allowed = "may read and write bucket 'metrics' and nothing else"
    assert f"Token 'metrics-pipeline of h1': is there, {allowed}" in told
    # Each of the two can be told from the other, as either may be in use.
    assert lab.names()["tokens"] == ["metrics-pipeline of h1", name]


@pytest.mark.parametrize("present", ["no-token-of-this-server", "operator"])
def test_a_token_that_does_not_do_or_may_too_much_is_replaced(lab: Lab, present: str) -> None:
    token = lab.server.token if present == "operator" else present
    (lab.folder / "settings.toml").write_text(
        f'influxdb_url = "{lab.server.url}"  # ours\n'
        f'influxdb_org = "{lab.org}"\ninfluxdb_bucket = "metrics"\n'
    )
    (lab.folder / ".secrets.toml").write_text(f'influxdb_token = "{token}"\n')
    lab.ok(lab.server.url, **lab.as_operator)
    (made,) = lab.find("authorizations")
    assert lab.token == made["token"] != token
    assert "  # ours" in (lab.folder / "settings.toml").read_text()


def test_a_setting_is_changed_where_it_is_given(lab: Lab) -> None:
    (lab.folder / ".secrets.toml").write_text('influxdb_bucket = "old"\n')
    lab.made("--bucket", "b")
    assert lab.read(".secrets.toml").keys() == {"influxdb_bucket", "influxdb_token"}
    assert lab.read("settings.toml").keys() == {"influxdb_url", "influxdb_org"}
    assert load(lab.folder, lab.env).settings.influxdb_bucket == "b"


@pytest.mark.parametrize(
    ("hours", "mode", "told"),
    [
        (0, "extend", "keeps for ever, as other hosts may need it; this host's points go"),
        (24, "extend", "retention rule changed from 24 h to 168 h"),
        (24, "off", "keeps 24 h, which is less than this host's 168 h: set bucket_retention"),
    ],
)
def test_a_bucket_with_another_rule_is_told(lab: Lab, hours: int, mode: str, told: str) -> None:
    rules = [{"type": "expire", "everySeconds": hours * 3600}]
    wanted = {"orgID": lab.make_org(), "name": "metrics", "retentionRules": rules}
    lab.server.call("POST", "/api/v2/buckets", wanted).expect(201)
    lines = lab.made(METRICS_BUCKET_RETENTION=mode)
    assert lines[1].startswith(f"Bucket 'metrics': {told}")


# ---- Several at once -----------------------------------------------------------------------------


def test_setups_at_once_make_nothing_twice(lab: Lab, tmp_path: Path) -> None:
    together = Barrier(3)

    def run(number: int) -> list[str]:
        own = Place(tmp_path / str(number), {**lab.env, "METRICS_HOST": f"h{number % 2}"})
        own.folder.mkdir()
        together.wait()
        return own.set_up(SetupOptions(lab.server.url, lab.org, token=lab.server.token))

    with ThreadPoolExecutor(3) as pool:
        told = list(pool.map(run, range(3)))
    names = lab.names()
    assert names["dashboards"] == sorted(set(names["dashboards"]))
    assert len(names["checks"]) == len(CHECKS)
    assert names["stacks"] == sorted(set(names["stacks"]))
    assert names["tokens"] == ["metrics-pipeline of h0", "metrics-pipeline of h1"]
    assert lab.find("labels") == []
    assert sorted(line for lines in told for line in lines if line.startswith("Dashboards")) == [
        "Dashboards: are there",
        "Dashboards: are there",
        "Dashboards: made",
    ]


def test_a_setup_that_was_killed_keeps_the_next_one_waiting_for_a_minute(lab: Lab) -> None:
    label = {"orgID": lab.make_org(), "name": setup_api.LOCK}
    lab.server.call("POST", "/api/v2/labels", label).expect(201)
    clock = ManualClock(time.time_ns())
    told = lab.set_up(SetupOptions(lab.server.url, lab.org, token=lab.server.token), clock)
    assert 60 <= sum(clock.waits) < 62
    assert "Another setup of this organisation is under way: waiting for it" in told
    assert "Dashboards: made" in told
    assert lab.find("labels") == []


# ---- The id of an organisation in place of its name ----------------------------------------------


def test_the_id_of_an_organisation_is_understood(lab: Lab) -> None:
    lab.made()
    url = lab.server.url
    before, token = lab.names(), lab.token
    given = lab.org_id.upper()  # InfluxDB takes either
    (lab.folder / "settings.toml").write_text(
        f'influxdb_url = "{url}"\ninfluxdb_org = "{given}"\ninfluxdb_bucket = "metrics"\n'
    )
    state = lab.state()
    assert lab.ok(url)[:2] == LINES
    told = lab.ok(url, **lab.as_operator)
    assert told[:3] == [f"Organisation {lab.org!r}: is there", *LINES]
    assert lab.state() == state
    assert lab.token == token
    assert lab.names() == before
    orgs = lab.server.call("GET", "/api/v2/orgs?limit=100").json()["orgs"]
    assert given not in {one["name"] for one in orgs}

    assert_suffices(lab)
    settings = replace(load(lab.folder, lab.env).settings, influxdb_token=lab.server.token)
    means = replace(settings, downsample=Downsample("5m", 48, "means"))
    with closing(Connection(means, SystemClock())) as connection:
        of_means = replace(Wanted.of(means), bucket="means")
        assert isinstance(reconcile(connection, of_means, time.time_ns()), Rule)
    assert_downsamples(means)


def test_an_id_that_no_organisation_has_makes_none(lab: Lab) -> None:
    lab.make_org()
    told = lab.error(lab.server.url, **lab.as_operator)
    assert lab.org in told
    assert told.endswith("say which by --org")
    told = lab.error(lab.server.url, "--org", NO_ORG, **lab.as_operator)
    assert told.startswith(f"no organisation has the id {NO_ORG} (there are metrics-tests")
    assert told.endswith("by --org")
    orgs = lab.server.call("GET", "/api/v2/orgs?limit=100").json()["orgs"]
    assert NO_ORG not in {one["name"] for one in orgs}


def test_an_organisation_whose_name_looks_like_an_id_is_known_by_its_id(lab: Lab) -> None:
    other = replace(lab, org=uuid.uuid4().hex[:16])
    made = other.make_org()
    try:
        assert other.made()[0] == f"Organisation {other.org!r}: is there"
        assert lab.read("settings.toml")["influxdb_org"] == made
        assert lab.ok(lab.server.url)[:2] == LINES
    finally:
        lab.server.call("DELETE", f"/api/v2/orgs/{made}").expect(204)


# ---- Bad input -----------------------------------------------------------------------------------


def test_who_may_not_set_a_server_up_is_told_what_to_give(
    influx_server: InfluxServer, bucket: api.Bucket, place: Place
) -> None:
    url, lesser = influx_server.url, api.create_token(bucket)
    without = (
        f"{url} is set up already, and the settings have no token for it: "
        "give an operator's token by --token-stdin or INFLUX_TOKEN, "
        "or a user's password by --password-stdin"
    )
    assert place.error(url) == without
    told = place.error(url, INFLUX_TOKEN="s3cret-token")
    assert told.startswith(f"{url} answered 401: unauthorized access; give")
    assert "s3cret" not in told
    told = place.error(url, "--org", "nowhere", INFLUX_TOKEN=lesser)
    assert told.startswith(
        "organisation 'nowhere' is not there, and cannot be made with this token"
    )
    assert lesser not in told
    # The token that is there is not shown to another server.
    (place.folder / "settings.toml").write_text(
        'influxdb_url = "http://elsewhere"\ninfluxdb_org = "o"\ninfluxdb_bucket = "b"\n'
    )
    (place.folder / ".secrets.toml").write_text(f'influxdb_token = "{influx_server.token}"\n')
    assert place.error(url) == without


def test_a_server_that_is_down_is_told_once_the_settings_are_known_to_be_right(
    place: Place,
) -> None:
    assert place.error("http://127.0.0.1:1") == (
        "no answer from http://127.0.0.1:1: connection refused; "
        "see that the address is right and the server runs, then run it again"
    )
    (place.folder / "settings.toml").write_text("retention_hours = 'a week'\n")
    assert "retention_hours" in place.error("http://127.0.0.1:1")


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
        (last_response("200 OK", b"<html>"), "did not answer as InfluxDB 2 does: give the"),
        (last_response("200 OK", b"{}"), "did not answer as InfluxDB 2 does: give the"),
        (last_response("503 Unavailable"), "answered 503; it can be run again"),
    ],
)
def test_what_is_no_influxdb_2_is_told(place: Place, answer: bytes, told: str) -> None:
    with scripted(answer) as url:
        assert place.error(url).startswith(f"{url} {told}")


@pytest.mark.slow  # it takes a process to make one
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
    ("options", "given", "token", "told"),
    [
        (("--url", "localhost:8086"), "", "", "must be text such as http://localhost:8086"),
        (("--url", "http://u:SECRET@h"), "", "", "must be text such as http://localhost:8086"),
        (("--org", "a\nb"), "", "", "must hold no control characters"),
        (("--user", "a\udcff"), "", "", "must hold no control characters"),
        (("--token-stdin",), "", "", "nothing was given on standard input"),
        (("--token-stdin", "--password-stdin"), "", "", "not both"),
        ((), "", "\x01SECRET", "the operator's token must hold no control characters"),
        ((), "", "€SECRET", "the operator's token ******** must be text of letters, digits"),
        (("--password-stdin",), "\x01SECRET\n", "", "the password must hold no control characters"),
    ],
)
def test_a_wrong_command_line_is_told_without_its_secrets(
    place: Place, options: tuple[str, ...], given: str, token: str, told: str
) -> None:
    done = place.run("http://127.0.0.1:9", *options, given=given, INFLUX_TOKEN=token)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "SECRET" not in done.output


def test_a_variable_that_says_otherwise_is_told_before_anything_is_made(lab: Lab) -> None:
    lab.make_org()
    before = lab.names()
    assert lab.refused("--bucket", "b", METRICS_INFLUXDB_BUCKET="other") == (
        "environment variable METRICS_INFLUXDB_BUCKET gives influxdb_bucket another value than "
        "setup would: unset it"
    )
    assert lab.names() == before


def test_a_credential_that_would_win_over_the_new_token_is_told(lab: Lab, tmp_path: Path) -> None:
    credential = tmp_path / "influxdb_token"
    credential.write_text("no-token-of-this-server")
    assert lab.refused(CREDENTIALS_DIRECTORY=str(tmp_path)) == (
        f"{credential} gives influxdb_token another value than setup would: take it out there"
    )
    # The one that was made is the credential from then on.
    (made,) = lab.find("authorizations")
    credential.write_text(made["token"])
    assert "Dashboards: made" in lab.made(CREDENTIALS_DIRECTORY=str(tmp_path))


# ---- With a person at the terminal ---------------------------------------------------------------


def test_a_person_is_asked_for_what_is_missing(lab: Lab) -> None:
    asked: list[str] = []
    answers = ["", lab.server.token]

    def ask(text: str) -> str:
        asked.append(text)
        return answers.pop(0)

    options = SetupOptions(lab.server.url, lab.org, ask=ask)
    with pytest.raises(SetupError, match="give an operator's token"):
        lab.set_up(options)
    for _ in range(2):
        lab.set_up(options)
    assert len(asked) == 2
    assert asked[0].endswith("the settings have no token for it. An operator's token")


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
