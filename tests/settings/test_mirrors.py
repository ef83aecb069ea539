"""Mirrors: the settings of further servers, wherever they come from."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.settings import Files, Mirror, SettingsError, SettingsFiles, describe
from tests.settings.loading import A_MIRROR, COLLECTORS, INFLUXDB, MIRROR, TOKEN, loads, problem

BOTH = INFLUXDB | MIRROR
TABLE = '[mirrors.b]\nurl = "http://b:8086"\norg = "o"\nbucket = "b"\n'


def without(env: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in names}


def test_each_server_has_settings_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    more = 'timeout_s = 2.5\nca_cert = "ca.pem"\nproxy = "http://p"\nverify_tls = false'
    settings = loads(tmp_path, TABLE + more, f"[mirrors.b]\ntoken = '{TOKEN}'", INFLUXDB).settings
    ca_cert = tmp_path / "ca.pem"
    mirror = Mirror("http://b:8086", "o", "b", TOKEN, 2.5, ca_cert, "http://p", verify_tls=False)
    assert settings.mirrors == {"b": mirror}
    assert settings.servers == {
        "main": settings,
        "b": replace(
            settings,
            influxdb_url="http://b:8086",
            influxdb_token=TOKEN,
            influxdb_timeout_s=2.5,
            influxdb_ca_cert=ca_cert,
            influxdb_proxy="http://p",
            influxdb_verify_tls=False,
            mirrors={},
        ),
    }
    assert settings.servers["b"].servers.keys() == {"main"}
    assert loads(env=INFLUXDB).settings.servers.keys() == {"main"}
    assert loads().settings.servers == {}


def test_a_token_comes_from_a_file_a_credential_or_the_environment(tmp_path: Path) -> None:
    env = {**INFLUXDB, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    secret = "[mirrors.b]\ntoken = 'of a file'"
    loaded = loads(tmp_path, TABLE, secret, env)
    assert loaded.settings.mirrors == {"b": replace(A_MIRROR, token="of a file")}
    assert loaded.tokens["b"] == str(tmp_path / ".secrets.toml")
    path = tmp_path / "mirrors.b.token"
    path.write_text(f"{TOKEN}\n")
    loaded = loads(tmp_path, TABLE, secret, env)
    assert (loaded.settings.mirrors["b"].token, loaded.tokens["b"]) == (TOKEN, str(path))
    variable = "METRICS_MIRRORS__B__TOKEN"
    loaded = loads(tmp_path, TABLE, secret, env | {variable: "mine"})
    assert loaded.settings.mirrors["b"].token == "mine"
    assert loaded.tokens == {
        "main": "environment variable METRICS_INFLUXDB_TOKEN",
        "b": f"environment variable {variable}",
    }
    # The credential of a mirror that is gone counts for nothing.
    assert loads(tmp_path, "", "", env).settings.mirrors == {}


@pytest.mark.parametrize(
    ("toml", "env", "says"),
    [
        ("", without(BOTH, "METRICS_MIRRORS__B__URL"),
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
        (f"{TABLE}token = '  '", INFLUXDB, "mirrors.b needs mirrors.b.token, which is not set:"),
        ("", MIRROR, "mirrors need influxdb_url, which is not set: set it in DIR/settings.toml"
         " or by METRICS_INFLUXDB_URL"),
        ("[mirrors.b]\ntoken = 'tökén'", without(BOTH, "METRICS_MIRRORS__B__TOKEN"),
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
    ],
)  # fmt: skip
def test_a_mirror_that_cannot_be_is_one_sentence_without_a_secret(
    tmp_path: Path, toml: str, env: Mapping[str, str], says: str
) -> None:
    message = problem(tmp_path, toml, env)
    assert says in message
    assert TOKEN not in message
    assert "\n" not in message


def test_setup_looks_at_mirrors_that_are_not_complete(tmp_path: Path) -> None:
    files = SettingsFiles(tmp_path, without(MIRROR, "METRICS_MIRRORS__B__TOKEN"), COLLECTORS)
    assert files.settings.mirrors == {"b": replace(A_MIRROR, token="")}


def test_a_mirrors_token_is_masked_and_the_file_with_it_is_for_nobody_else(tmp_path: Path) -> None:
    env = without(BOTH, "METRICS_MIRRORS__B__TOKEN")
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
