"""What of Dynaconf's habits holds and what does not: the table in docs/settings.md."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dynaconf import default_settings
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.settings import CollectorOptions, Settings
from tests.settings.loading import ROOT, loads


def test_tables_of_all_sources_are_merged_and_a_list_replaces_a_list(tmp_path: Path) -> None:
    loaded = loads(
        tmp_path,
        'tags = {a = "1", b = "1", c = "1"}\n[collectors.cpu]\nmax_series = 5\ntimes = true\n'
        '[collectors.disk]\ninclude = ["a", "b"]\nexclude = ["a", "b"]',
        'tags = {c = "3"}',
        {
            "METRICS_TAGS": '{d = "4", Case = "y"}',
            "METRICS_TAGS__E": "5",
            "METRICS_TAGS__F.g": "6",
            "METRICS_COLLECTORS__CPU": "{max_series = 6}",
            "METRICS_COLLECTORS__CPU__ENABLED": "false",
            "METRICS_COLLECTORS__DISK__EXCLUDE": '["d"]',
        },
        local='tags = {b = "2", dynaconf_merge = "no"}\n[collectors.disk]\ninclude = ["b", "c"]',
    )
    tags = {"a": "1", "b": "2", "c": "3", "d": "4", "Case": "y", "e": "5", "f.g": "6"}
    assert loaded.settings.tags == tags | {"dynaconf_merge": "no"}
    assert loaded.settings.collectors == {
        "cpu": CollectorOptions(enabled=False, max_series=6, times=True),
        "disk": CollectorOptions(include=("b", "c"), exclude=("d",)),
    }
    variable = "environment variable METRICS_COLLECTORS__"
    assert loaded.sources["collectors"] == (
        f"{variable}CPU (cpu.max_series), {tmp_path}/settings.toml (cpu.times), "
        f"{variable}CPU__ENABLED (cpu.enabled), {tmp_path}/settings.local.toml (disk.include), "
        f"{variable}DISK__EXCLUDE (disk.exclude)"
    )


def test_names_match_whatever_the_case_of_their_letters(tmp_path: Path) -> None:
    loaded = loads(
        tmp_path,
        'HTTP_PORT = 1\ntags = {Site = "a", "my rack" = "a"}',
        env={"METRICS_spool_max_mb": "2", "METRICS_TAGS__SITE": "b", "METRICS_TAGS__MY_RACK": "b"},
        local='Http_Port = 3\nTAGS = {Room = "7"}',
    )
    assert (loaded.settings.http_port, loaded.settings.spool_max_mb) == (3, 2)
    assert loaded.settings.tags == {"Site": "b", "my rack": "b", "Room": "7"}


TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)
TAGS = st.dictionaries(
    TEXTS.filter(lambda text: text[0] != "_" and text[-1] != "\\" and text not in {"host", "time"}),
    TEXTS.filter(lambda text: text[-1] != "\\"),
    max_size=5,
)


@pytest.mark.slow
@given(tags=TAGS, cut=st.integers(0, 5))
def test_merging_changes_no_text_in_a_table(
    tmp_path_factory: pytest.TempPathFactory, tags: dict[str, str], cut: int
) -> None:
    assume(len({re.sub("[ _]", "_", name).lower() for name in tags}) == len(tags))
    quoted = [[json.dumps(text, ensure_ascii=False) for text in pair] for pair in tags.items()]
    lines = [" = ".join(pair) for pair in quoted]
    toml, local = ("\n".join(("[tags]", *part)) for part in (lines[:cut], lines[cut:]))
    assert loads(tmp_path_factory.getbasetemp(), toml, local=local).settings.tags == tags


def test_a_text_is_that_text_whatever_it_looks_like(tmp_path: Path) -> None:
    for text in (
        *("@format {env[HOME]}", "@jinja {{ 1 }}", "@int 5", "@merge a", "@del", "@none", "@"),
        *("{{ 1 }}", "dynaconf_merge", "12345678", "true", "060", "1e9", '{a="b"}', "[1]", "null"),
        "x#y",
    ):
        settings = loads(
            tmp_path,
            f"influxdb_org = '{text}'\nhost = 'h'\n[collectors.cpu]\ninclude = ['{text}']",
            env={f"METRICS_{name}": text for name in ("TAGS__A", "HOST", "INFLUXDB_TOKEN")},
        ).settings
        assert {settings.influxdb_org, settings.host, settings.influxdb_token} == {text}
        assert (settings.tags["a"], settings.collectors["cpu"].include) == (text, (text,))


def test_nothing_else_has_a_say_and_os_environ_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (".secrets.local.toml", "settings.yaml", "other.toml"):
        (tmp_path / name).write_text("http_port = 9")
    (tmp_path / ".env").write_text("METRICS_HTTP_PORT=9")
    (tmp_path / "dynaconf_hooks.py").write_text("def post(settings): return {'HTTP_PORT': 9}")
    monkeypatch.chdir(tmp_path)
    options = [name for name in dir(default_settings) if name.endswith("_FOR_DYNACONF")]
    assert len(options) > 50
    for name in options:
        monkeypatch.setenv(name, str(tmp_path / "other.toml"))
    for name in ("AUTO_CAST", "MERGE_ENABLED", "LOAD_DOTENV"):
        monkeypatch.setenv(f"{name}_FOR_DYNACONF", "true")
    for name in ("METRICS_HTTP_PORT", "METRICS_UNKNOWN", "DYNACONF_HTTP_PORT"):
        monkeypatch.setenv(name, "9")
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    monkeypatch.setenv("HOME", "/elsewhere")
    # Other threads may be reading it.
    monkeypatch.setattr(os, "putenv", lambda *_: pytest.fail("a variable was set"))
    monkeypatch.setattr(os, "unsetenv", lambda *_: pytest.fail("a variable was unset"))
    loaded = loads(tmp_path, "influxdb_org = '@int 5'\ntags = {a = '1'}", local="tags = {b = '2'}")
    monkeypatch.undo()
    assert loaded.settings == Settings(
        influxdb_org="@int 5", tags={"a": "1", "b": "2"}, host="here"
    )


@pytest.mark.slow
def test_a_variable_by_which_dynaconf_does_not_start_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "settings", "check"],
        env={**os.environ, "REDIS_PORT_FOR_DYNACONF": "none", "METRICS_CONFIG_DIR": "/"},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == os.EX_CONFIG
    assert done.stderr == (
        "metrics-pipeline: dynaconf cannot start (invalid literal for int() with base 10: 'none'):"
        " correct or unset the environment variable *_FOR_DYNACONF with that value\n"
    )


@pytest.mark.slow
def test_dynaconf_is_imported_only_to_read_settings() -> None:
    script = "import sys, pipeline.cli; sys.exit('dynaconf' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
