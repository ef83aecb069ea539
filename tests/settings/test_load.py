"""Where settings come from, and what this machine says of those that are empty."""

import os
from dataclasses import FrozenInstanceError, fields
from importlib import import_module
from pathlib import Path
from typing import cast

import pytest

from pipeline.settings import (
    NAMES,
    Settings,
    SettingsError,
    describe,
    find_config_dir,
    find_data_dir,
    load,
    sources,
)
from tests.settings.loading import INFLUXDB, TOKEN, loads, problem, problems


def test_defaults_hold_without_files() -> None:
    loaded = loads()
    assert loaded.settings == Settings(host="here")
    assert set(loaded.sources) == set(NAMES)
    assert set(loaded.sources.values()) == {"default"}
    assert not loaded.settings.delivers


def test_the_later_source_wins_setting_by_setting(tmp_path: Path) -> None:
    names = ("retention_hours", "spool_max_mb", "http_port", "batch_max_points")
    toml, local, secrets = ("\n".join(f"{name} = {n}" for name in names[n:]) for n in range(3))
    loaded = loads(tmp_path, toml, secrets, {"METRICS_BATCH_MAX_POINTS": "3"}, local)
    assert [getattr(loaded.settings, name) for name in names] == [0, 1, 2, 3]
    assert [loaded.sources[name] for name in names] == [
        str(tmp_path / "settings.toml"),
        str(tmp_path / "settings.local.toml"),
        str(tmp_path / ".secrets.toml"),
        "environment variable METRICS_BATCH_MAX_POINTS",
    ]
    assert loaded.sources["log_level"] == "default"


def test_of_two_sources_that_give_the_same_the_later_one_is_named(tmp_path: Path) -> None:
    text = 'http_port = 1\ntags = {site = "x"}'
    loaded = loads(tmp_path, text, local=text)
    for name in ("http_port", "tags"):
        assert loaded.sources[name] == str(tmp_path / "settings.local.toml")


def test_what_is_overridden_is_not_judged(tmp_path: Path) -> None:
    loaded = loads(tmp_path, "http_port = -1", env={"METRICS_HTTP_PORT": "3"})
    assert loaded.settings.http_port == 3


def test_a_credential_wins_over_the_files_and_the_environment_over_it(tmp_path: Path) -> None:
    path = tmp_path / "influxdb_token"
    path.write_text(f"{TOKEN}\n")
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    loaded = loads(tmp_path, secrets='influxdb_token = "other"', env=env)
    assert loaded.settings.influxdb_token == TOKEN
    assert loaded.sources["influxdb_token"] == str(path)
    loaded = loads(tmp_path, env={**env, "METRICS_INFLUXDB_TOKEN": "mine"})
    assert loaded.settings.influxdb_token == "mine"
    path.write_text("")  # as good as none
    assert loads(tmp_path, env=env).settings.influxdb_token == "other"


@pytest.mark.parametrize("content", [None, b"", b" \n"])
def test_a_credential_that_is_missing_or_empty_is_named(
    tmp_path: Path, content: bytes | None
) -> None:
    env = {name: value for name, value in INFLUXDB.items() if name != "METRICS_INFLUXDB_TOKEN"}
    if content is not None:
        (tmp_path / "influxdb_token").write_bytes(content)
    assert problem(tmp_path, env={**env, "CREDENTIALS_DIRECTORY": str(tmp_path)}) == (
        "influxdb_url needs influxdb_token, which is not set: set it in DIR/.secrets.toml,"
        " by METRICS_INFLUXDB_TOKEN or as the credential influxdb_token of the service"
    )


def test_a_command_finds_the_credential_where_the_service_has_it_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SYSTEM_CONFIG_DIR", tmp_path)
    monkeypatch.setattr(sources, "CREDENTIAL_STORE", tmp_path / "credstore")
    assert loads(tmp_path).settings.influxdb_token == ""
    (tmp_path / "credstore").mkdir()
    token = tmp_path / "credstore/metrics-pipeline.influxdb_token"
    token.write_text(TOKEN)
    assert loads(tmp_path).settings.influxdb_token == TOKEN
    assert loads(tmp_path, env={"CREDENTIALS_DIRECTORY": "/no"}).settings.influxdb_token == ""
    token.unlink()
    token.mkdir()  # as good as one that only root may read
    assert loads(tmp_path).settings.influxdb_token == ""


def test_a_credential_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    path = tmp_path / "influxdb_token"
    path.write_bytes(b"\xff")
    assert problem(tmp_path, env=env) == "DIR/influxdb_token: not UTF-8 text"
    path.unlink()
    path.mkdir()
    assert problem(tmp_path, env=env) == "DIR/influxdb_token: cannot be read: Is a directory"


def test_in_a_container_the_host_is_called_as_it_calls_itself(tmp_path: Path) -> None:
    env = {"HOST_MOUNT_PREFIX": str(tmp_path)}
    assert loads(env=env).settings.host == "here"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_text("node-7\n")
    assert loads(env=env).settings.host == "node-7"
    assert loads(env={**env, "METRICS_HOST": "mine"}).settings.host == "mine"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("# Managed by a tool\nweb-1\n", "web-1"),
        ("\n  \n\t# one\n#two\r\n web-1 \r\nweb-2\n", "web-1"),
        ("\ufeff# one\nweb-1", "web-1"),
        ("# nothing else\n", "here"),
        ("", "here"),
        ("a\x00b\nweb-2\n", "here"),
        ("a\x1b[1mb\n", "here"),
        ("web-1\\\n", "here"),
    ],
)
def test_the_file_of_a_hosts_name_is_read_as_its_manual_has_it(
    tmp_path: Path, text: str, host: str
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_text(text, encoding="utf-8", newline="")
    assert loads(env={"HOST_MOUNT_PREFIX": str(tmp_path)}).settings.host == host


@pytest.mark.parametrize("name", ["", " \n", "a\\", "a\tb", "\udcff"])
def test_a_machine_without_a_name_needs_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, {}, hostname=lambda: name)
    assert caught.value.problems == (
        "this machine has no name that could be the tag host: set host in "
        f"{tmp_path}/settings.toml or by METRICS_HOST",
    )
    assert load(tmp_path, {"METRICS_HOST": "web-1"}, hostname=lambda: name).settings.host == "web-1"
    assert load(tmp_path, {}, hostname=lambda: " web-1\n").settings.host == "web-1"


def test_two_loads_do_not_influence_one_another(tmp_path: Path) -> None:
    first = loads(tmp_path, 'http_port = 1\ntags = {a = "1"}', env={"METRICS_TAGS__B": "2"})
    second = loads(tmp_path, "spool_max_mb = 2")
    assert first.settings == Settings(http_port=1, tags={"a": "1", "b": "2"}, host="here")
    assert second.settings == Settings(spool_max_mb=2, host="here")
    assert first.settings != second.settings


def test_settings_cannot_be_changed() -> None:
    settings = loads(env={"METRICS_TAGS__A": "1", "METRICS_COLLECTORS__CPU__MAX_SERIES": "1"})
    for owner in (settings.settings, settings.settings.collectors["cpu"], settings):
        with pytest.raises(FrozenInstanceError):
            setattr(owner, fields(owner)[0].name, 1)
    for table in (settings.settings.tags, settings.settings.collectors, settings.sources):
        with pytest.raises(TypeError):
            cast("dict[str, object]", table)["cpu"] = 1


@pytest.mark.parametrize("rest", ["", "host = 'h", "http_port = -1", "[collectors", "\x00"])
def test_the_data_is_found_by_settings_that_are_broken(tmp_path: Path, rest: str) -> None:
    (tmp_path / "settings.toml").write_text(f"retention_hours = 1\ndata_dir = 'here'\n{rest}\n")
    assert find_data_dir(tmp_path, {}) == tmp_path / "here"
    env = {"METRICS_DATA_DIR": "/elsewhere", "METRICS_NONSENSE": "1"}
    assert find_data_dir(tmp_path, env) == Path("/elsewhere")


@pytest.mark.parametrize("text", [None, "", "data_dir = 5", "data_dir = 'no end"])
def test_the_data_is_where_it_is_by_default_when_nothing_is_left(
    tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "settings.toml").write_text(text)
    assert find_data_dir(tmp_path, {"STATE_DIRECTORY": "/state"}) == Path("/state")


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"http_port = \n", "line 1, column 13"),
        (b"host = web-1\n", "line 1, column 8); a text needs quotes around it"),
        (b"http_port = 60s\n", "line 1, column 15); a text needs quotes around it"),
        (b"http_port = 1\n\n[tags\n", "line 3, column 6"),
        (b"# two\nhost = [1,\n2", "line 3, column 2"),
        (b'# two\nhost = "\xff"', "line 2, column 9"),
        (b"http_port = 1\nhttp_port = 2", "line 2, column 14); give each name once"),
        (b"[tags]\n[tags]\n", "line 2, column 6); give each table once"),
    ],
)
def test_a_broken_file_is_one_problem(tmp_path: Path, content: bytes, place: str) -> None:
    (tmp_path / "settings.toml").write_bytes(content)
    message = problem(tmp_path, env={"METRICS_INFLUXDB_URL": "http://h"})
    assert message.startswith("DIR/settings.toml: not valid TOML: ")
    assert place in message


@pytest.mark.parametrize(
    ("line", "says"),
    [("x = " + "[" * 99_999, "nested too deeply"), ("http_port = " + "9" * 5000, "Exceeds")],
)
@pytest.mark.parametrize("above", [0, 1, 7])
def test_more_than_a_parser_can_take_is_one_problem(
    tmp_path: Path, line: str, says: str, above: int
) -> None:
    message = problem(tmp_path, "# a comment\n" * above + f"{line}\nhost = 'h'")
    assert message.startswith(f"DIR/settings.toml: not valid TOML: {says}")
    assert message.endswith(f" (at line {above + 1})")


def test_a_mark_at_the_start_of_a_file_is_taken(tmp_path: Path) -> None:
    mark = "\ufeff"  # as editors on Windows write it
    loaded = loads(tmp_path, f"{mark}http_port = 1", f"{mark}spool_max_mb = 2", local=mark)
    assert (loaded.settings.http_port, loaded.settings.spool_max_mb) == (1, 2)
    (tmp_path / "influxdb_token").write_text(f"{mark}{TOKEN}", encoding="utf-8")
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert loads(tmp_path, env=env).settings.influxdb_token == TOKEN
    assert "(at line 1, column 9)" in problem(tmp_path, f"{mark}host = [")
    (tmp_path / "settings.toml").write_text(f"{mark}data_dir = 'd'\nbroken", encoding="utf-8")
    assert find_data_dir(tmp_path, {}) == tmp_path / "d"


def test_a_broken_file_hides_no_other_problem(tmp_path: Path) -> None:
    found = problems(tmp_path, "[", "hots = 1", {"METRICS_HTTP_PORT": "x"})
    assert [message.partition(":")[0] for message in found] == [
        "DIR/settings.toml",
        "DIR/.secrets.toml",
        "environment variable METRICS_HTTP_PORT",
    ]


def test_an_unreadable_file_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.toml").mkdir()
    assert problem(tmp_path) == "DIR/settings.toml: cannot be read: Is a directory"
    (tmp_path / "settings.toml").rmdir()
    os.mkfifo(tmp_path / "settings.toml")
    assert problem(tmp_path) == "DIR/settings.toml: cannot be read: it is a pipe"

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read a file of any mode
    assert problems(tmp_path)[2] == "DIR/.secrets.toml: cannot be read: Permission denied"


def test_a_variable_given_twice_is_a_problem() -> None:
    message = problem(env={"METRICS_TAGS__A": "1", "METRICS_tags__a": "2"})
    assert message.startswith("environment variable METRICS_tags__a: ")


def test_the_host_is_given_or_asked_for(tmp_path: Path) -> None:
    loaded = loads(tmp_path, 'host = ""')
    assert (loaded.settings.host, loaded.sources["host"]) == ("here", "default")
    assert loads(env={"METRICS_HOST": "there"}).settings.host == "there"


@pytest.mark.parametrize(
    ("user", "env", "folder"),
    [
        (0, {}, "/var/lib/metrics-pipeline"),
        (0, {"HOME": "/root", "XDG_STATE_HOME": "/x"}, "/var/lib/metrics-pipeline"),
        (0, {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
        (7, {"HOME": "/h"}, "/h/.local/state/metrics-pipeline"),
        (7, {"HOME": "/h", "XDG_STATE_HOME": "/x"}, "/x/metrics-pipeline"),
        (7, {"HOME": "/h", "XDG_STATE_HOME": "x"}, "/h/.local/state/metrics-pipeline"),
        (7, {}, "/var/lib/metrics-pipeline"),
        (7, {"HOME": "/h", "METRICS_DATA_DIR": ""}, "/h/.local/state/metrics-pipeline"),
        (7, {"HOME": "/h", "METRICS_DATA_DIR": "~/d"}, "/h/d"),
        (7, {"HOME": "/h", "METRICS_DATA_DIR": "d"}, str(Path.cwd() / "d")),
    ],
)
def test_the_data_dir(
    monkeypatch: pytest.MonkeyPatch, user: int, env: dict[str, str], folder: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert loads(env=env).settings.data_dir == Path(folder)


def test_the_data_dir_of_the_system_is_also_that_of_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("pipeline.settings.load"), "SYSTEM_DATA_DIR", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid)
    assert loads(env={"HOME": "/"}).settings.data_dir == tmp_path
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert loads(env={"HOME": "/h"}).settings.data_dir != tmp_path


def test_the_host_root() -> None:
    assert loads().settings.host_root == Path("/")
    prefix = {"HOST_MOUNT_PREFIX": "/hostfs"}
    assert loads(env=prefix).settings.host_root == Path("/hostfs")
    env = prefix | {"METRICS_HOST_ROOT": "/other"}
    assert loads(env=env).settings.host_root == Path("/other")


def test_a_relative_path_in_a_file_is_relative_to_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").touch()
    monkeypatch.chdir(tmp_path.parent)
    settings = loads(tmp_path, 'data_dir = "d"\ninfluxdb_ca_cert = "ca.pem"').settings
    assert settings.data_dir == tmp_path / "d"
    assert settings.influxdb_ca_cert == tmp_path / "ca.pem"
    assert loads(Path(tmp_path.name), 'data_dir = "d"').settings.data_dir == tmp_path / "d"
    assert loads(tmp_path, 'influxdb_ca_cert = ""').settings.influxdb_ca_cert is None


def test_the_config_dir(tmp_path: Path) -> None:
    named, other, cwd = (tmp_path / name for name in ("named", "other", "cwd"))
    for folder in (named, other, cwd):
        folder.mkdir()
    env = {"METRICS_CONFIG_DIR": str(other)}
    assert find_config_dir(named, env, cwd) == named
    assert find_config_dir(None, env, cwd) == other
    assert find_config_dir(None, {"METRICS_CONFIG_DIR": "../other"}, cwd).samefile(other)
    assert find_config_dir(None, {}, cwd) == Path("/etc/metrics-pipeline")
    (cwd / "settings.toml").touch()
    assert find_config_dir(None, {"METRICS_CONFIG_DIR": ""}, cwd) == cwd


def test_a_named_config_dir_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--config-dir: '.*/none' must be an existing folder"):
        find_config_dir(tmp_path / "none", {}, tmp_path)
    with pytest.raises(SettingsError, match="environment variable METRICS_CONFIG_DIR: "):
        find_config_dir(None, {"METRICS_CONFIG_DIR": __file__}, tmp_path)


def test_rows_are_for_people(tmp_path: Path) -> None:
    rows = describe(
        loads(
            tmp_path,
            'tags = {site = "x"}\n[collectors.cpu]\n[collectors.net]\nexclude = ["lo"]',
            env={"METRICS_INFLUXDB_VERIFY_TLS": "0"},
        )
    )
    assert tuple(row.name for row in rows) == NAMES
    assert all(row.meaning.endswith(".") for row in rows)
    values = {row.name: row.value for row in rows}
    assert values["collection_interval_ms"] == "60000"
    assert values["influxdb_verify_tls"] == "false"
    assert values["influxdb_token"] == ""
    assert values["influxdb_ca_cert"] == ""
    assert values["influxdb_timeout_s"] == "10"
    assert values["tags"] == '{site = "x"}'
    assert values["collectors"] == '{cpu = {}, net = {exclude = ["lo"]}}'
