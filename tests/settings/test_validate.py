"""What a value may be, and the sentences about what it may not be."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.settings import (
    NAMES,
    SettingsError,
    SettingsFiles,
    describe,
    duration_s,
    variable,
)
from tests.settings.loading import INFLUXDB, TOKEN, loads, problem, problems

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


@pytest.mark.parametrize(
    ("name", "texts", "value"),
    [
        ("http_port", "60|060| 60 |+60|60\n", 60),
        ("influxdb_timeout_s", "2.5| 2.5 |25e-1", 2.5),
        ("influxdb_timeout_s", "10|1e1", 10),
        ("influxdb_verify_tls", "true|True|1|on|yes", True),
        ("influxdb_verify_tls", "false|FALSE|0|off|no", False),
        ("log_level", "debug| debug ", "debug"),
    ],
)
def test_text_of_a_variable_becomes_a_value(name: str, texts: str, value: object) -> None:
    for text in texts.split("|"):
        assert getattr(loads(env={variable(name): text}).settings, name) == value


WHOLE = f"1e3|60.0|true|0x10|-1|6 0|٦٠|{'9' * 5000}|[60]|60\n61"
TABLE = f'site=x|[]|5|{{a="b"}}\nc=1|{{a=|{"[" * 9999}'


@pytest.mark.parametrize(
    ("name", "texts", "allowed"),
    [
        ("http_port", WHOLE, "a whole number from 0 to 65535"),
        ("influxdb_timeout_s", "0.9|601|nan|inf|ten|true", "a number of seconds from 1 to 600"),
        ("tags", TABLE, 'a table such as {site = "lab"}'),
    ],
)
def test_other_text_of_a_variable_is_refused(name: str, texts: str, allowed: str) -> None:
    for text in texts.split("|"):
        message = problem(env={variable(name): text})
        assert message.startswith(f"environment variable {variable(name)}: {name} = '")
        assert message.endswith(f" must be {allowed}")
        assert len(message) < 200


def test_an_empty_variable_is_as_good_as_none_and_others_are_not_read(tmp_path: Path) -> None:
    toml = 'retention_hours = 24\ndata_dir = "d"\ntags = {a = "1"}'
    names = [*NAMES, "tags__a", "collectors__cpu__enabled", "collectors__nosuch", "nosuch"]
    others = {"METRICS_CONFIG_DIR": "/x", "METRICSX": "1", "metrics_x": "1"}
    env = {variable(name): "" for name in names} | others
    assert loads(tmp_path, toml, env=env) == loads(tmp_path, toml)


@given(data=st.data(), name=st.sampled_from(sorted(INTEGERS)))
def test_a_whole_number_is_taken_in_its_range_alone(data: st.DataObject, name: str) -> None:
    low, high = INTEGERS[name]
    value = data.draw(st.integers(low - 1, high + 1) | st.integers())
    env = {variable(name): str(value)}
    if low <= value <= high:
        assert getattr(loads(env=env).settings, name) == value
    else:
        assert f": {name} = '{value}' must be a whole number" in problem(env=env)
        assert f"from {low} to {high}" in problem(env=env)


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])),
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
)
def test_any_text_is_a_name_and_what_any_header_can_carry_is_a_token(name: str, token: str) -> None:
    env = {"METRICS_INFLUXDB_ORG": name, "METRICS_INFLUXDB_TOKEN": token}
    settings = loads(env=env).settings
    assert (settings.influxdb_org, settings.influxdb_token) == (name, token.strip())


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers(), max_size=3))
def test_any_environment_gives_settings_or_problems(env: dict[str, Any]) -> None:
    with suppress(SettingsError):
        loads(env={f"METRICS_{name}": str(value) for name, value in env.items()})


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        'retention_hours = true\nspool_max_mb = "1024"\ninfluxdb_url = "http://h"\nhots = 1',
        "influxdb_token = 12345678",
        env={"METRICS_HTTP_PORT": "99999", "METRICS_LOG_LEVELS": "info", "METRICS_LOG_LEVEL": "x"},
    )
    starts = (
        "DIR/settings.toml: retention_hours = true must be a whole number of hours from 0 to 876",
        "DIR/settings.toml: spool_max_mb = '1024' must be a whole number of megabytes from 1 to 1",
        "DIR/settings.toml: hots is not a setting; did you mean host?",
        "DIR/.secrets.toml: influxdb_token = ******** must be text in quotes",
        "environment variable METRICS_HTTP_PORT: http_port = '99999' must be a whole number",
        "environment variable METRICS_LOG_LEVEL: log_level = 'x' must be debug, info, warning or",
        "environment variable METRICS_LOG_LEVELS: log_levels is not a setting; did you mean",
        "influxdb_url needs influxdb_org, which is not set: set it in DIR/settings.toml",
        "influxdb_url needs influxdb_bucket, which is not set: set it in DIR/settings.toml",
    )
    assert [one[: len(start)] for one, start in zip(found, starts, strict=True)] == [*starts]
    # What seems to be missing may stand in a broken file.
    broken = problems(
        tmp_path, "[", "hots = 1", env={"METRICS_HTTP_PORT": "x", "METRICS_http_port": "1"}
    )
    assert [message.partition(":")[0] for message in broken] == [
        "DIR/settings.toml",
        "environment variable METRICS_http_port",  # given twice
        "DIR/.secrets.toml",
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("http_port = true", "must be a whole number"),
        ("http_port = 80.0", "must be a whole number"),
        ("http_port = 0x" + "f" * 5000, "a number of more than 64 bits must be"),
        ("influxdb_timeout_s = true", "must be a number of seconds"),
        ("influxdb_timeout_s = 1" + "0" * 400, "must be a number of seconds"),
        ('influxdb_timeout_s = "10"', "from 1 to 600, without quotes"),
        ('influxdb_verify_tls = "true"', "must be true or false, without quotes"),
        (r'host = "a\\"', r"host = 'a\\' must be text with no backslash at its end"),
        (r'host = "a\nb"', r"host = 'a\nb' must hold no control characters"),
        ("log_level = 'INFO'", "must be debug, info, warning or error"),
        ("influxdb_ca_cert = 'none.pem'", "'none.pem' must be a path of an existing file"),
        ("influxdb_ca_cert = '/'", "must be a path of an existing file"),
        ("data_dir = '~/x'", "no HOME that ~ could stand for"),
        ("data_dir = {}", "data_dir = {...} must be text in quotes"),
        ("tags = ['a']", 'must be a table such as {site = "lab"}'),
        ("tags = {rack = 12}", "tags.rack = 12 must be text in quotes"),
        ("tags = {host = 'x'}", "tags.host must have a name other than host and time"),
        ("tags = {_field = 'x'}", "tags._field must have a name"),
        ("tags = {'' = 'x'}", "'tags.' must have a name"),
        (r"tags = {'a\' = 'x'}", "tags.a\\ must have a name"),
        (r'tags = {"a\nb" = "x"}', r"'tags.a\nb' must have a name"),
        (r"tags = {a = 'x\'}", "tags.a = 'x\\\\' must be text with no backslash at its end"),
        ("retention_overrides = {cpu = -1}", "retention_overrides.cpu = -1 must be a whole number"),
        ("retention_overrides = {'' = 1}", "must have a name that is not empty"),
        ("downsample = true", "must be a table such as {every ="),
        ("downsample = {every = '5x', bucket = 'b'}", "text such as 30s, 5m, 1h or 1d, from 10s"),
        ("downsample = {every = '9s', bucket = 'b'}", "from 10s to 7d"),
        ("downsample = {every = '8d', bucket = 'b'}", "from 10s to 7d"),
        ("downsample = {bukket = 'b'}", "did you mean downsample.bucket?"),
        ("collectors.dsk.enabled = true", "is not a collector; did you mean collectors.disk?"),
        ("collectors.xyz = {}", "collectors.xyz is not a collector; there are cpu, disk, net"),
        ("collectors.cpu = true", "collectors.cpu = true must be a table"),
        ("collectors.cpu.enabled = 1", "collectors.cpu.enabled = 1 must be true or false"),
        ("collectors.cpu.include = '*'", "must be a list of texts such as"),
        ("collectors.cpu.exclude = [1]", "collectors.cpu.exclude = [1] must be text in quotes"),
        ("collectors.cpu.includes = []", "is not an option; did you mean collectors.cpu.include?"),
        ("collectors.cpu.http_port = 1", "the setting http_port belongs above the first [table]"),
        ("http_port = 1\nHTTP_PORT = 2", "HTTP_PORT gives http_port a second time"),
        ("qqqqqq = 1", "qqqqqq is not a setting; docs/settings.md lists them all"),
        # Which mean something to Dynaconf.
        ("dynaconf_include = ['other.toml']", "is not a setting"),
        ("AUTO_CAST_FOR_DYNACONF = true", "is not a setting"),
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


def test_a_url_is_taken_as_it_is_or_refused() -> None:
    for url in GOOD_URLS.split(" "):
        settings = loads(env=INFLUXDB | {"METRICS_INFLUXDB_URL": url}).settings
        assert settings.influxdb_url == url
    for url in BAD_URLS.split(" "):
        message = problem(env=INFLUXDB | {"METRICS_INFLUXDB_URL": url})
        assert "must be text such as http://localhost:8086" in message, url


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        *((name, TOKEN, " is not a setting") for name in ("METRICS_HTTP_PROT", "METRICS_A__B")),
        *((name, TOKEN, " is not a setting") for name in ("METRICS_", "METRICS_A\n\udc80")),
        *(("METRICS_HOST", text, "and nothing but UTF-8") for text in ("a\udc80", "a\tb", "a\n")),
    ],
)
def test_a_wrong_variable_is_a_printable_problem(name: str, value: str, says: str) -> None:
    message = problem(env={name: value})
    assert says in message
    assert message.isprintable()
    assert message.isascii()
    assert TOKEN not in message


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


@pytest.mark.parametrize(
    ("every", "ages", "wrong"),
    [
        # A span, a quarter of it and up to two minutes, and an hour.
        ("7d", "retention_hours = 168", "for 211.03 h: a span of 168 h, up to 42.033 h"),
        ("7d", "retention_hours = 211", "retention_hours is 211: make it at least 212"),
        ("7d", "retention_hours = 212", ""),
        ("1d", "retention_hours = 31", "retention_hours is 31: make it at least 32"),
        ("1d", "retention_hours = 32", ""),
        ("1d", "retention_hours = 0", ""),
        ("1d", "retention_overrides = {cpu = 6}", "retention_overrides.cpu is 6: make it at least"),
        ("1d", 'retention_overrides = {cpu = 32, "my table" = 0}', ""),
        ("1h", "retention_hours = 2", "needs readings for 2.2833 h"),
        ("1h", "retention_hours = 3", ""),
        ("5m", "retention_hours = 2", ""),
    ],
)
def test_readings_are_kept_until_their_downsampled_value_is_made(
    tmp_path: Path, every: str, ages: str, wrong: str
) -> None:
    toml = f'{ages}\ndownsample = {{every = "{every}", bucket = "means"}}'
    if not wrong:
        wanted = loads(tmp_path, toml, env=INFLUXDB).settings.downsample
        assert (wanted.every, wanted.bucket, wanted.keep_hours) == (every, "means", 8760)
        return
    message = problem(tmp_path, toml, env=INFLUXDB)
    assert message.startswith(f"DIR/settings.toml: downsample.every = '{every}' needs readings ")
    assert wrong in message
    with pytest.raises(SettingsError, match="needs readings for"):  # before setup makes anything
        SettingsFiles(tmp_path, {}, ())


def test_a_duration_is_read_in_seconds() -> None:
    known = {"90s": 90, "15m": 900, "1h": 3600, "7d": 604_800, "2w": 1_209_600, "0s": 0}
    no = ("", "1", "h", "1 h", "-1h", "1.5h", "1h30m", "1y", "1H", "1h\n")
    assert {text: duration_s(text) for text in (*known, *no)} == known | dict.fromkeys(no, -1)
