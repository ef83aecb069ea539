import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.settings import (
    NAMES,
    CollectorOptions,
    Downsample,
    Loaded,
    Settings,
    SettingsError,
    describe,
    find_config_dir,
    find_data_dir,
    load,
    sources,
)
from pipeline.settings.constraints import as_text, specs

ROOT = Path(__file__).parents[2]
NOWHERE = Path("/nonexistent/metrics-pipeline")
COLLECTORS = ("cpu", "disk", "net")
INFLUXDB = {
    "METRICS_INFLUXDB_URL": "https://influx.example:8086",
    "METRICS_INFLUXDB_ORG": "o",
    "METRICS_INFLUXDB_BUCKET": "b",
    "METRICS_INFLUXDB_TOKEN": "t",
}
TOKEN = "k3y-nobody-may-see"
INTEGERS = {
    "collection_interval_ms": (10, 86_400_000),
    "retention_hours": (0, 876_000),
    "cleanup_interval_minutes": (1, 1_440),
    "spool_max_mb": (1, 1_000_000),
    "batch_max_points": (1, 100_000),
    "flush_interval_ms": (100, 3_600_000),
    "flush_jitter_ms": (0, 600_000),
    "http_port": (0, 65_535),
}


def loads(
    folder: Path = NOWHERE,
    toml: str | None = None,
    secrets: str | None = None,
    env: Mapping[str, str] | None = None,
    local: str | None = None,
) -> Loaded:
    texts = {"settings.toml": toml, "settings.local.toml": local, ".secrets.toml": secrets}
    for name, text in texts.items():
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")
    return load(folder, env or {}, collectors=COLLECTORS, hostname=lambda: "here")


def problems(
    folder: Path = NOWHERE,
    toml: str | None = None,
    secrets: str | None = None,
    env: Mapping[str, str] | None = None,
) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loads(folder, toml, secrets, env)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [problem.replace(str(folder), "DIR") for problem in caught.value.problems]


def problem(
    folder: Path = NOWHERE, toml: str | None = None, env: Mapping[str, str] | None = None
) -> str:
    (only,) = problems(folder, toml, env=env)
    return only


def variable(name: str) -> str:
    return f"METRICS_{name.upper()}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


# ---- Defaults, precedence and sources


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
    monkeypatch.setattr(sources, "_STORE", tmp_path / "credstore")
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


# ---- The environment


@pytest.mark.parametrize(
    ("name", "texts", "value"),
    [
        ("http_port", ["60", "060", " 60 ", "+60", "60\n"], 60),
        ("influxdb_timeout_s", ["2.5", " 2.5 ", "25e-1"], 2.5),
        ("influxdb_timeout_s", ["10", "1e1"], 10),
        ("influxdb_verify_tls", ["true", "True", "1", "on", "yes"], True),
        ("influxdb_verify_tls", ["false", "FALSE", "0", "off", "no"], False),
        ("log_level", ["debug", " debug "], "debug"),
    ],
)
def test_text_of_a_variable_becomes_what_the_setting_is(
    name: str, texts: list[str], value: object
) -> None:
    for text in texts:
        assert getattr(loads(env={variable(name): text}).settings, name) == value


@pytest.mark.parametrize(
    ("name", "texts", "allowed"),
    [
        (
            "http_port",
            ["1e3", "60.0", "true", "0x10", "-1", "6 0", "٦٠", "9" * 5000, "[60]", "60\n61"],
            "a whole number from 0 to 65535",
        ),
        (
            "influxdb_timeout_s",
            ["0.9", "601", "nan", "inf", "ten", "true"],
            "a number of seconds from 1 to 600",
        ),
        (
            "tags",
            ["site=x", "[]", "5", '{a="b"}\nc=1', "{a=", "[" * 9999],
            'a table such as {site = "lab"}',
        ),
    ],
)
def test_other_text_of_a_variable_is_refused(name: str, texts: list[str], allowed: str) -> None:
    for text in texts:
        message = problem(env={variable(name): text})
        assert message.startswith(f"environment variable {variable(name)}: {name} = '")
        assert message.endswith(f" must be {allowed}")
        assert len(message) < 200


@pytest.mark.parametrize(
    "name", [*NAMES, "tags__a", "collectors__cpu__enabled", "collectors__nosuch", "nosuch"]
)
def test_an_empty_variable_is_as_good_as_none(tmp_path: Path, name: str) -> None:
    toml = 'retention_hours = 24\ndata_dir = "d"\ntags = {a = "1"}'
    assert loads(tmp_path, toml, env={variable(name): ""}) == loads(tmp_path, toml)


def test_the_name_of_the_folder_is_no_setting() -> None:
    env = {"METRICS_CONFIG_DIR": "/x", "METRICSX": "1", "metrics_x": "1"}
    assert loads(env=env) == loads()


# ---- Properties


@given(data=st.data(), name=st.sampled_from(sorted(INTEGERS)))
def test_any_whole_number_in_range_is_taken(shared: Path, data: st.DataObject, name: str) -> None:
    value = data.draw(st.integers(*INTEGERS[name]))
    assert getattr(loads(shared, f"{name} = {value}").settings, name) == value
    assert getattr(loads(env={variable(name): str(value)}).settings, name) == value


@given(data=st.data(), name=st.sampled_from(sorted(INTEGERS)))
def test_any_other_whole_number_is_refused(shared: Path, data: st.DataObject, name: str) -> None:
    low, high = INTEGERS[name]
    value = data.draw(st.integers(max_value=low - 1) | st.integers(min_value=high + 1))
    for message in (
        problem(shared, f"{name} = {value}"),
        problem(env={variable(name): str(value)}),
    ):
        assert f": {name} = " in message
        assert f"from {low} to {high}" in message


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])))
def test_any_text_is_a_name(text: str) -> None:
    assert loads(env={"METRICS_INFLUXDB_ORG": text}).settings.influxdb_org == text


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_what_any_header_can_carry_is_a_token(text: str) -> None:
    assert loads(env={"METRICS_INFLUXDB_TOKEN": text}).settings.influxdb_token == text.strip()


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.booleans()))
def test_any_environment_gives_settings_or_problems(env: dict[str, Any]) -> None:
    with suppress(SettingsError):
        loads(env={f"METRICS_{name}": str(value) for name, value in env.items()})


# ---- Errors


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        toml='retention_hours = true\nspool_max_mb = "1024"\ninfluxdb_url = "http://h"\nhots = 1',
        secrets="influxdb_token = 12345678",
        env={"METRICS_HTTP_PORT": "99999", "METRICS_LOG_LEVELS": "info", "METRICS_LOG_LEVEL": "x"},
    )
    assert found == [
        "DIR/settings.toml: retention_hours = true must be a whole number of hours"
        " from 0 to 876000",
        "DIR/settings.toml: spool_max_mb = '1024' must be a whole number of megabytes"
        " from 1 to 1000000, without quotes",
        "DIR/settings.toml: hots is not a setting; did you mean host?",
        "DIR/.secrets.toml: influxdb_token = ******** must be text in quotes",
        "environment variable METRICS_HTTP_PORT: http_port = '99999' must be a whole number"
        " from 0 to 65535",
        "environment variable METRICS_LOG_LEVEL: log_level = 'x' must be debug, info, warning"
        " or error",
        "environment variable METRICS_LOG_LEVELS: log_levels is not a setting;"
        " did you mean log_level?",
        "influxdb_url needs influxdb_org, which is not set: set it in DIR/settings.toml"
        " or by METRICS_INFLUXDB_ORG",
        "influxdb_url needs influxdb_bucket, which is not set: set it in DIR/settings.toml"
        " or by METRICS_INFLUXDB_BUCKET",
    ]


def test_a_url_needs_a_token() -> None:
    env = {name: value for name, value in INFLUXDB.items() if name != "METRICS_INFLUXDB_TOKEN"}
    assert problem(env=env) == (
        "influxdb_url needs influxdb_token, which is not set: set it in DIR/.secrets.toml"
        " or by METRICS_INFLUXDB_TOKEN"
    )
    assert problem(env={**env, "METRICS_INFLUXDB_TOKEN": " \n"}) == problem(env=env)
    assert loads(env=INFLUXDB).settings.delivers
    assert not loads(env={**INFLUXDB, "METRICS_INFLUXDB_URL": ""}).settings.delivers


def test_ages_of_measurements(tmp_path: Path) -> None:
    loaded = loads(
        tmp_path,
        'retention_overrides = {cpu = 24, "my table" = 0}',
        env={"METRICS_RETENTION_OVERRIDES__PROCESS": "6"},
    )
    assert loaded.settings.retention_overrides == {"cpu": 24, "my table": 0, "process": 6}


def test_downsampling(tmp_path: Path) -> None:
    assert loads(tmp_path, "downsample = {}").settings.downsample == Downsample()
    toml = 'downsample = {every = "5m", keep_hours = 0, bucket = "means"}'
    wanted = Downsample("5m", 0, "means")
    assert loads(tmp_path, toml, env=INFLUXDB).settings.downsample == wanted
    env = {"METRICS_DOWNSAMPLE__EVERY": "1h", "METRICS_DOWNSAMPLE__BUCKET": "means"}
    assert loads(env={**INFLUXDB, **env}).settings.downsample == Downsample("1h", 8760, "means")


@pytest.mark.parametrize(
    ("table", "env", "says"),
    [
        ('{every = "5m"}', INFLUXDB, "needs downsample.bucket, which is not set"),
        ('{bucket = "means"}', INFLUXDB, "needs downsample.every, which is not set"),
        ('{every = "5m", bucket = "means"}', {}, "downsample needs influxdb_url"),
        ('{every = "5m", bucket = "b"}', INFLUXDB, "must be another bucket than influxdb_bucket"),
    ],
)
def test_downsampling_that_cannot_be(
    tmp_path: Path, table: str, env: Mapping[str, str], says: str
) -> None:
    message = problem(tmp_path, f"downsample = {table}", env)
    assert message.startswith("DIR/settings.toml: downsample")
    assert says in message


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
    ("line", "says"),
    [
        ("http_port = true", "must be a whole number"),
        ("http_port = 80.0", "must be a whole number"),
        ("http_port = 0x" + "f" * 5000, "a number of more than 64 bits must be"),
        ("influxdb_timeout_s = true", "must be a number of seconds"),
        ("influxdb_timeout_s = 1" + "0" * 400, "must be a number of seconds"),
        ('influxdb_timeout_s = "10"', "from 1 to 600, without quotes"),
        ("influxdb_verify_tls = 1", "must be true or false"),
        ('influxdb_verify_tls = "true"', "must be true or false, without quotes"),
        ("host = 5", "must be text in quotes"),
        (r'host = "a\\"', r"host = 'a\\' must be text with no backslash at its end"),
        (r'host = "a\nb"', r"host = 'a\nb' must hold no control characters"),
        (r'influxdb_org = "a\u0000"', "must hold no control characters"),
        ("influxdb_token = 'tökén'", "influxdb_token = ******** must be text of letters, digits"),
        (r'influxdb_token = "a\u00a0b"', "influxdb_token = ******** must be text of letters,"),
        ("log_level = 'INFO'", "must be debug, info, warning or error"),
        ("log_level = ['info']", "must be debug, info, warning or error"),
        ("log_format = 'xml'", "must be text or json"),
        ("bucket_retention = 'shrink'", "must be off, create, extend or enforce"),
        ("influxdb_ca_cert = 'none.pem'", "'none.pem' must be a path of an existing file"),
        ("influxdb_ca_cert = '/'", "must be a path of an existing file"),
        ("data_dir = '~/x'", "no HOME that ~ could stand for"),
        ("data_dir = {}", "data_dir = {...} must be text in quotes"),
        ("tags = ['a']", 'must be a table such as {site = "lab"}'),
        ("tags = {rack = 12}", "tags.rack = 12 must be text in quotes"),
        ("tags = {host = 'x'}", "tags.host must have a name other than host and time"),
        ("tags = {time = 'x'}", "tags.time must have a name"),
        ("tags = {_field = 'x'}", "tags._field must have a name"),
        ("tags = {'' = 'x'}", "'tags.' must have a name"),
        (r"tags = {'a\' = 'x'}", "tags.a\\ must have a name"),
        (r'tags = {"a\nb" = "x"}', r"'tags.a\nb' must have a name"),
        (r"tags = {a = 'x\'}", "tags.a = 'x\\\\' must be text with no backslash at its end"),
        ("retention_overrides = 5", "must be a table such as {cpu = 24, process = 6}"),
        ("retention_overrides = {cpu = -1}", "retention_overrides.cpu = -1 must be a whole number"),
        ("retention_overrides = {cpu = 0.5}", "a whole number of hours from 0 to 876000"),
        ('retention_overrides = {cpu = "24"}', "from 0 to 876000, without quotes"),
        ("retention_overrides = {'' = 1}", "must have a name that is not empty"),
        ("retention_hours = 0.5", "a whole number of hours from 0 to 876000"),
        ("downsample = true", "must be a table such as {every ="),
        ("downsample = {every = '5x', bucket = 'b'}", "text such as 30s, 5m, 1h or 1d, from 10s"),
        ("downsample = {every = '9s', bucket = 'b'}", "from 10s to 7d"),
        ("downsample = {every = '8d', bucket = 'b'}", "from 10s to 7d"),
        ("downsample = {every = '0m', bucket = 'b'}", "from 10s to 7d"),
        ("downsample = {every = 5, bucket = 'b'}", "downsample.every = 5 must be text in quotes"),
        ("downsample = {keep_hours = -1}", "downsample.keep_hours = -1 must be a whole number"),
        ("downsample = {bukket = 'b'}", "did you mean downsample.bucket?"),
        ("collectors = 1", "must be a table such as {disk = {enabled = false}}"),
        ("collectors.dsk.enabled = true", "is not a collector; did you mean collectors.disk?"),
        ("collectors.xyz = {}", "collectors.xyz is not a collector; there are cpu, disk, net"),
        ("collectors.cpu = true", "collectors.cpu = true must be a table"),
        ("collectors.cpu.enabled = 1", "collectors.cpu.enabled = 1 must be true or false"),
        ("collectors.cpu.include = '*'", "must be a list of texts such as"),
        ("collectors.cpu.exclude = [1]", "collectors.cpu.exclude = [1] must be text in quotes"),
        ("collectors.cpu.max_series = 0", "must be a whole number from 1 to 100000"),
        ("collectors.cpu.includes = []", "is not an option; did you mean collectors.cpu.include?"),
        ("collectors.cpu.http_port = 1", "the setting http_port belongs above the first [table]"),
        ("http_port = 1\nHTTP_PORT = 2", "HTTP_PORT gives http_port a second time"),
        ("qqqqqq = 1", "qqqqqq is not a setting; docs/settings.md lists them all"),
    ],
)
def test_a_wrong_line_is_one_sentence(tmp_path: Path, line: str, says: str) -> None:
    message = problem(tmp_path, line)
    assert message.startswith("DIR/settings.toml: ")
    assert says in message
    assert "\n" not in message
    assert len(message) < 200


BAD_URLS = (
    "h //h h:8086 ftp://h http:// http://:1 http://h:99999 http://h:0 http://[::1 http://h#a"
    " http://h? http://a\\b http://a\u3000b http://bücher.example"
)
GOOD_URLS = (
    "http://h https://h/proxy/ http://[::1]:8086 http://[fe80::1%25a] HTTP://h:80 http://h/bücher"
)


@pytest.mark.parametrize("url", BAD_URLS.split(" "))
def test_a_wrong_url_is_refused(url: str) -> None:
    message = problem(env=INFLUXDB | {"METRICS_INFLUXDB_URL": url})
    assert "must be text such as http://localhost:8086" in message


@pytest.mark.parametrize("url", GOOD_URLS.split(" "))
def test_a_url_is_taken_as_it_is(url: str) -> None:
    settings = loads(env=INFLUXDB | {"METRICS_INFLUXDB_URL": url}).settings
    assert settings.influxdb_url == url


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"http_port = \n", "line 1, column 13"),
        (b"http_port = 1\n\n[tags\n", "line 3, column 6"),
        (b"# two\nhost = [1,\n2", "line 3, column 2"),
        (b'# two\nhost = "\xff"', "line 2, column 9"),
        (b"http_port = 1\nhttp_port = 2", "line 2"),
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


@pytest.mark.parametrize(
    "name", ["METRICS_HTTP_PROT", "METRICS_", "METRICS_A__B", "METRICS_A\n\udc80"]
)
def test_an_unknown_variable_is_a_printable_problem(name: str) -> None:
    message = problem(env={name: TOKEN})
    assert "is not a setting" in message
    assert message.isprintable()
    assert message.isascii()
    assert TOKEN not in message


@pytest.mark.parametrize("text", ["a\udc80", "a\tb", "a\n"])
def test_bytes_that_are_not_text_are_refused(text: str) -> None:
    message = problem(env={"METRICS_HOST": text})
    assert message.endswith(" must hold no control characters and nothing but UTF-8")
    assert message.isprintable()


def test_a_variable_given_twice_is_a_problem() -> None:
    message = problem(env={"METRICS_TAGS__A": "1", "METRICS_tags__a": "2"})
    assert message.startswith("environment variable METRICS_tags__a: ")


# ---- Secrets


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    loaded = loads(tmp_path, secrets=f'influxdb_token = " {TOKEN}\\n"')
    assert loaded.settings.influxdb_token == TOKEN
    rows = {row.name: row for row in describe(loaded)}
    assert rows["influxdb_token"].value == "********"
    for text in (repr(loaded), str(loaded.settings), repr(describe(loaded))):
        assert TOKEN not in text


@pytest.mark.parametrize(
    "line",
    [
        f'influxdb_token = "{TOKEN}\\u0007x"',
        f'influxdb_token = ["{TOKEN}"]',
        f'influxdb_tokn = "{TOKEN}"',
        f'influxdb_url = "http://me:{TOKEN}@h"',
        f'influxdb_url = "http://me:a/{TOKEN}@x@h"',
        f'influxdb_url = "me:{TOKEN}@h"',
        f'influxdb_url = "http://h/?token={TOKEN}"',
        f'influxdb_token = "{TOKEN}',
        f"influxdb_token = {TOKEN}",
    ],
)
def test_no_problem_tells_a_secret(tmp_path: Path, line: str) -> None:
    assert TOKEN not in problem(tmp_path, line)


# ---- This machine


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


# ---- The files that people read


def test_settings_toml_says_what_the_code_says(tmp_path: Path) -> None:
    text = (ROOT / "settings.toml").read_text()
    assert tomllib.loads(text) == {}
    active = re.sub(r"(?m)^# (?=\[[a-z.]+\]$|[a-z_]+ = \S+$)", "", text)
    table = tomllib.loads(active)
    collectors = table.pop("collectors")
    assert [*table, "collectors"] == list(NAMES)
    assert list(collectors["disk"]) == [field.name for field in fields(CollectorOptions)]
    loaded = loads(tmp_path, active.partition("[collectors.disk]")[0])
    assert loaded.settings == loads().settings
    assert loads(tmp_path, active).settings.collectors["disk"].max_series == 200


def test_the_example_of_secrets_is_valid(tmp_path: Path) -> None:
    example = (ROOT / ".secrets.toml.example").read_text()
    assert loads(tmp_path, secrets=example).settings.influxdb_token.startswith("PUT-YOUR-")
    assert "chmod 600" in example


def table(owner: type) -> str:
    default = owner()
    lines = ["| name | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    for name, declared in specs(owner).items():
        value = "" if name in ("data_dir", "host_root") else as_text(getattr(default, name))
        cells = (f"`{name}`", f"`{value}`" if value else "", declared.allowed, declared.meaning)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@pytest.mark.parametrize("owner", [Settings, CollectorOptions, Downsample])
def test_the_document_says_what_the_code_says(owner: type) -> None:
    assert table(owner) in (ROOT / "docs/settings.md").read_text()


def test_the_errors_of_the_document_are_real(tmp_path: Path) -> None:
    document = (ROOT / "docs/settings.md").read_text().partition("## Errors")[2]
    toml, printed = re.findall(r"```\w+\n(.*?)```", document, re.DOTALL)[:2]
    told = printed.replace("/etc/metrics-pipeline", "DIR").splitlines()
    assert [f"metrics-pipeline: {problem}" for problem in problems(tmp_path, toml)] == told
