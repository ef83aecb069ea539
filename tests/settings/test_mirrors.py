"""Mirrors: the settings of further servers, wherever they come from."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pipeline.settings import Files, Mirror, SettingsError, SettingsFiles, describe, variable
from tests.settings.loading import A_MIRROR, COLLECTORS, INFLUXDB, MIRROR, TOKEN, loads, problem

BOTH = INFLUXDB | MIRROR
TABLE = '[mirrors.b]\nurl = "http://b:8086"\norg = "o"\nbucket = "b"\n'


def test_each_server_has_settings_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    more = 'timeout_s = 2.5\nca_cert = "ca.pem"\nproxy = "http://p"\nverify_tls = false'
    settings = loads(tmp_path, TABLE + more, f"[mirrors.b]\ntoken = '{TOKEN}'", INFLUXDB).settings
    ca_cert = tmp_path / "ca.pem"
    mirror = Mirror("http://b:8086", "o", "b", TOKEN, 2.5, ca_cert, "http://p", verify_tls=False)
    assert settings.mirrors == {"b": mirror}
    own = {f"influxdb_{name}": value for name, value in asdict(mirror).items()}
    assert settings.servers == {"main": settings, "b": replace(settings, mirrors={}, **own)}
    assert settings.servers["b"].servers.keys() == {"main"}
    assert loads(env=INFLUXDB).settings.servers.keys() == {"main"}
    assert loads().settings.servers == {}


@pytest.mark.parametrize(("server", "name"), [("main", "influxdb_token"), ("b", "mirrors.b.token")])
def test_a_token_has_one_of_three_sources(tmp_path: Path, server: str, name: str) -> None:
    env = BOTH | {variable(name): "", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    secrets, credential = tmp_path / ".secrets.toml", tmp_path / name

    def found(**more: str) -> tuple[str, str]:
        loaded = loads(tmp_path, "", f"{name} = 'of a file'", env | more)
        return loaded.settings.servers[server].influxdb_token, loaded.tokens[server]

    assert found() == ("of a file", str(secrets))
    credential.write_text(f"{TOKEN}\n")
    assert found() == (TOKEN, str(credential))
    own = {variable(name): "mine"}
    assert found(**own) == ("mine", f"environment variable {variable(name)}")
    # Of a mirror that is gone it counts for nothing, and an empty one is as good as none.
    alone = INFLUXDB | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert loads(tmp_path, "", "", alone).settings.mirrors == {}
    credential.write_text(" \n")
    assert found() == ("of a file", str(secrets))


@pytest.mark.parametrize(
    ("toml", "env", "says"),
    [
        ("", BOTH | {"METRICS_MIRRORS__B__URL": ""},
         "mirrors.b needs mirrors.b.url, which is not set: set it in DIR/settings.toml"
         " or by METRICS_MIRRORS__B__URL, or remove the mirror from environment variable METRICS_"),
        (f"{TABLE.replace('url', '# url')}token = 't'", INFLUXDB,
         "or by METRICS_MIRRORS__B__URL, or remove the mirror from DIR/settings.toml"),
        ("", {**BOTH, "METRICS_MIRRORS__B__ORG": ""},
         "mirrors.b needs mirrors.b.org, which is not set: set it in DIR/settings.toml"
         " or by METRICS_MIRRORS__B__ORG"),
        (TABLE, {**INFLUXDB, "CREDENTIALS_DIRECTORY": "/nonexistent"},
         "mirrors.b needs mirrors.b.token, which is not set: set it in DIR/.secrets.toml,"
         " by METRICS_MIRRORS__B__TOKEN or as the credential mirrors.b.token of the service"),
        ("", INFLUXDB | {"METRICS_INFLUXDB_TOKEN": ""},
         "influxdb_url needs influxdb_token, which is not set: set it in DIR/.secrets.toml"
         " or by METRICS_INFLUXDB_TOKEN"),
        ("", INFLUXDB | {"METRICS_INFLUXDB_TOKEN": " \n"}, "influxdb_url needs influxdb_token,"),
        (f"{TABLE}token = '  '", INFLUXDB, "mirrors.b needs mirrors.b.token, which is not set:"),
        ("", MIRROR, "mirrors need influxdb_url, which is not set: set it in DIR/settings.toml"
         " or by METRICS_INFLUXDB_URL"),
        ("[mirrors.b]\ntoken = 'tökén'", BOTH | {"METRICS_MIRRORS__B__TOKEN": ""},
         "DIR/settings.toml: mirrors.b.token = ******** must be text of letters, digits"),
        ("", {**BOTH, "METRICS_MIRRORS__B__URL": f"http://me:{TOKEN}@h"},
         "mirrors.b.url = 'http://********@h' must be text such as http://localhost:8086"),
        ("", {**BOTH, "METRICS_MIRRORS__B__TIMEOUT_S": "0"},
         "mirrors.b.timeout_s = '0' must be a number of seconds from 1 to 600"),
        ("", {**BOTH, "METRICS_MIRRORS__B__TOKN": TOKEN},
         "mirrors.b.tokn is not an option; did you mean mirrors.b.token?"),
        (f"mirrors.b.retention_hours = '{TOKEN}'", BOTH,
         "the setting retention_hours belongs above the first [table] of the file"),
        ("", {**INFLUXDB, "METRICS_MIRRORS": f'{{b = {{token = "{TOKEN}'},
         "environment variable METRICS_MIRRORS: mirrors = ******** must be a table such as"),
        (f"mirrors.c = '{TOKEN}'", BOTH, "mirrors.c = ******** must be a table"),
        ("mirror.b.url = ''", BOTH, "mirror is not a setting; did you mean mirrors?"),
        *((f"[mirrors.{name}]", BOTH, "must have a name of at most 32 characters")
          for name in ("main", "B-1", "1b", "a__b", "b_", "'ö'", "a" * 33)),
        ("", {**BOTH, "METRICS_MIRRORS__B__URL": f"{INFLUXDB['METRICS_INFLUXDB_URL']}/"},
         "mirrors.b has the url, org and bucket of influxdb_*: make one of these another"),
        (TABLE.replace(".b]", ".a]") + "token = 't'", BOTH,
         "mirrors.b has the url, org and bucket of mirrors.a: make one of these another"),
        ("downsample = {every = '1h', bucket = 'c'}", {**BOTH, "METRICS_MIRRORS__B__BUCKET": "c"},
         "downsample.bucket must be another bucket than mirrors.b.bucket"),
        ("downsample = {every = '1h', bucket = 'b'}", INFLUXDB, "bucket than influxdb_bucket"),
        ("downsample = {every = '1h'}", INFLUXDB, "needs downsample.bucket, which is not set"),
        ("downsample.bucket = 'c'", INFLUXDB, "needs downsample.every, which is not set"),
        ("downsample = {every = '1h', bucket = 'c'}", {}, "downsample needs influxdb_url"),
    ],
)  # fmt: skip
def test_a_server_or_downsampling_that_cannot_be_is_one_sentence_without_a_secret(
    tmp_path: Path, toml: str, env: Mapping[str, str], says: str
) -> None:
    message = problem(tmp_path, toml, env=env)
    assert says in message
    assert TOKEN not in message
    assert "\n" not in message


def test_setup_looks_at_mirrors_that_are_not_complete(tmp_path: Path) -> None:
    files = SettingsFiles(tmp_path, MIRROR | {"METRICS_MIRRORS__B__TOKEN": ""}, COLLECTORS)
    assert files.settings.mirrors == {"b": replace(A_MIRROR, token="")}


def test_a_mirrors_token_is_masked_and_the_file_with_it_is_for_nobody_else(tmp_path: Path) -> None:
    env = BOTH | {"METRICS_MIRRORS__B__TOKEN": ""}
    (tmp_path / "settings.toml").touch(0o644)
    loaded = loads(tmp_path, f"[mirrors.b]\ntoken = '{TOKEN}'", env=env)
    (row,) = (row for row in describe(loaded) if row.name == "mirrors")
    shown = 'url = "http://b:8086", org = "o", bucket = "b", token = "********"'
    assert row.value == f"{{b = {{{shown}}}}}"
    assert f"{tmp_path}/settings.toml (b.token)" in row.source
    assert TOKEN not in f"{loaded!r} {describe(loaded)}"
    assert [str(tmp_path / "settings.toml") in str(one) for one in loaded.readable] == [True]
    assert loads(tmp_path, TABLE, env=BOTH).readable == ()


def test_a_new_mirrors_credential_is_watched(tmp_path: Path) -> None:
    path = tmp_path / "mirrors.b.token"
    path.write_text("one")
    env = {**INFLUXDB, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    files = Files(tmp_path, env, COLLECTORS)
    files.load()
    (tmp_path / "settings.toml").write_text(TABLE)
    assert [files.changed(), files.changed()] == [False, True]
    assert files.reload().settings.mirrors["b"].token == "one"
    while files.changed() or files.has_unread_changes:
        files.reload()
    path.write_text("another")
    assert [files.changed(), files.changed()] == [False, True]
    assert files.reload().settings.mirrors["b"].token == "another"
    path.unlink()
    with pytest.raises(SettingsError, match="is gone; to do without it, restart the agent"):
        files.reload()
