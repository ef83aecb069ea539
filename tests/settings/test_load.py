"""Where settings come from, and what this machine says of those that are empty."""

import os
from importlib import import_module
from pathlib import Path

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
from tests.settings.loading import TOKEN, loads, problem, problems


def test_defaults_hold_without_files(tmp_path: Path) -> None:
    loaded = loads()
    assert loaded.settings == Settings(host="here")
    assert set(loaded.sources) == set(NAMES)
    assert set(loaded.sources.values()) == {"default"}
    assert not loaded.settings.delivers
    assert loads(tmp_path, 'host = ""').sources["host"] == "default"


def test_the_later_source_wins_setting_by_setting(tmp_path: Path) -> None:
    names = ("retention_hours", "spool_max_mb", "http_port", "batch_max_points")
    toml, local, secrets = ("\n".join(f"{name} = {n}" for name in names[n:]) for n in range(3))
    # Of two sources that give the same, the later one is named.
    local += '\nlog_format = "json"\ntags = {site = "x"}'
    env = {"METRICS_BATCH_MAX_POINTS": "3", "METRICS_LOG_FORMAT": "json", "METRICS_TAGS__SITE": "x"}
    loaded = loads(tmp_path, toml, secrets, env, local)
    # What is overridden is not judged: a spool of 0 MB cannot be.
    assert [getattr(loaded.settings, name) for name in names] == [0, 1, 2, 3]
    assert [loaded.sources[name] for name in names] == [
        str(tmp_path / "settings.toml"),
        str(tmp_path / "settings.local.toml"),
        str(tmp_path / ".secrets.toml"),
        "environment variable METRICS_BATCH_MAX_POINTS",
    ]
    assert loaded.sources["log_format"] == "environment variable METRICS_LOG_FORMAT"
    assert loaded.sources["tags"] == "environment variable METRICS_TAGS__SITE"
    assert loaded.sources["log_level"] == "default"


def test_a_command_finds_the_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("# Managed by a tool\nweb-1\n", "web-1"),
        ("\n  \n\t# one\n#two\r\n web-1 \r\nweb-2\n", "web-1"),
        ("\ufeff# one\nweb-1", "web-1"),
        ("# nothing else\n", "here"),
        ("", "here"),
        (None, "here"),
        ("a\x00b\nweb-2\n", "here"),
        ("a\x1b[1mb\n", "here"),
        ("web-1\\\n", "here"),
    ],
)
def test_the_file_of_a_hosts_name_is_read_as_its_manual_has_it(
    tmp_path: Path, text: str | None, host: str
) -> None:
    if text is not None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/hostname").write_text(text, encoding="utf-8", newline="")
    env = {"HOST_MOUNT_PREFIX": str(tmp_path)}
    settings = loads(env=env).settings
    assert (settings.host, settings.host_root) == (host, tmp_path)
    own = loads(env={**env, "METRICS_HOST": "mine", "METRICS_HOST_ROOT": "/other"}).settings
    assert (own.host, own.host_root) == ("mine", Path("/other"))


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


@pytest.mark.parametrize(
    ("text", "env", "folder"),
    [
        *(
            (f"retention_hours = 1\ndata_dir = 'here'\n{rest}\n", {}, "here")
            for rest in ("", "host = 'h", "http_port = -1", "[collectors", "\x00")
        ),
        ("data_dir = 'here'\n[", {"METRICS_DATA_DIR": "/there", "METRICS_NO": "1"}, "/there"),
        *((text, {}, "/state") for text in ("", "data_dir = 5", "data_dir = 'no end")),
    ],
)
def test_the_data_is_found_by_settings_that_are_broken(
    tmp_path: Path, text: str, env: dict[str, str], folder: str
) -> None:
    (tmp_path / "settings.toml").write_text(text)
    assert find_data_dir(tmp_path, {"STATE_DIRECTORY": "/state", **env}) == tmp_path / folder


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"http_port = \n", "line 1, column 13"),
        (b"host = web-1\n", "line 1, column 8); a text needs quotes around it"),
        (b"http_port = 60s\n", "line 1, column 15); a text needs quotes around it"),
        (b"http_port = 1\n\n[tags\n", "line 3, column 6"),
        (b"# two\nhost = [1,\n2", "line 3, column 2"),
        (b'# two\nhost = "\xff"', "line 2, column 9"),
        (b"http_port = 1\nhttp_port = 2", "line 2, column 14); give each name once"),
        (b"[tags]\n[tags]\n", "line 2, column 6); give each table once"),
        # More than a parser can take, which does not tell the place.
        (b"x = " + b"[" * 99_999 + b"\nhost = 'h'", "nested too deeply (at line 1)"),
        (b"# one\n" * 7 + b"x = " + b"[" * 99_999, "nested too deeply (at line 8)"),
        (b"# one\nhttp_port = " + b"9" * 5000 + b"\nhost = 'h'", "(at line 2)"),
    ],
)
def test_a_broken_file_is_one_problem(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "settings.toml").write_bytes(content)
    message = problem(tmp_path, env={"METRICS_INFLUXDB_URL": "http://h"})
    assert message.startswith("DIR/settings.toml: not valid TOML: ")
    assert says in message
    assert len(message) < 200


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


@pytest.mark.parametrize("name", ["settings.toml", "influxdb_token"])
def test_an_unreadable_file_is_a_problem(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, path = {"CREDENTIALS_DIRECTORY": str(tmp_path)}, tmp_path / name
    path.write_bytes(b"\xff")
    assert "not UTF-8 text" in problem(tmp_path, env=env)
    path.unlink()
    path.mkdir()
    assert problem(tmp_path, env=env) == f"DIR/{name}: cannot be read: Is a directory"
    path.rmdir()

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read a file of any mode
    assert problems(tmp_path)[2] == "DIR/.secrets.toml: cannot be read: Permission denied"
    os.mkfifo(tmp_path / "settings.toml")
    assert problems(tmp_path)[0] == "DIR/settings.toml: cannot be read: it is a pipe"


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
    prefix, own = {"HOST_MOUNT_PREFIX": "/hostfs"}, {"METRICS_HOST_ROOT": "/other"}
    envs: tuple[dict[str, str], ...] = ({}, prefix, {**prefix, **own})
    roots = [str(loads(env=env).settings.host_root) for env in envs]
    assert roots == ["/", "/hostfs", "/other"]


def test_a_path_is_relative_to_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").touch()
    monkeypatch.chdir(tmp_path.parent)
    settings = loads(tmp_path, 'data_dir = "d"\ninfluxdb_ca_cert = "ca.pem"').settings
    assert settings.data_dir == tmp_path / "d"
    assert settings.influxdb_ca_cert == tmp_path / "ca.pem"
    assert loads(Path(tmp_path.name), 'data_dir = "d"').settings.data_dir == tmp_path / "d"
    assert loads(tmp_path, 'influxdb_ca_cert = ""').settings.influxdb_ca_cert is None


def test_the_config_dir_is_named_or_the_working_directory_or_the_systems(tmp_path: Path) -> None:
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
    with pytest.raises(SettingsError, match=r"--config-dir: '.*/none' must be an existing folder"):
        find_config_dir(tmp_path / "none", {}, tmp_path)
    with pytest.raises(SettingsError, match="environment variable METRICS_CONFIG_DIR: "):
        find_config_dir(None, {"METRICS_CONFIG_DIR": __file__}, tmp_path)


def test_rows_are_for_people(tmp_path: Path) -> None:
    toml = 'tags = {site = "x"}\n[collectors.cpu]\n[collectors.net]\nexclude = ["lo"]'
    rows = describe(loads(tmp_path, toml, env={"METRICS_INFLUXDB_VERIFY_TLS": "0"}))
    assert tuple(row.name for row in rows) == NAMES
    values = {row.name: row.value for row in rows}
    shown = {
        "influxdb_verify_tls": "false",
        "influxdb_token": "",
        "influxdb_ca_cert": "",
        "tags": '{site = "x"}',
        "collectors": '{cpu = {}, net = {exclude = ["lo"]}}',
    }
    assert values.items() >= shown.items()
