"""The documents say what the code says."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.settings import NAMES, CollectorOptions, Downsample, Mirror, Settings
from pipeline.settings.constraints import as_text, specs
from tests.settings.loading import A_MIRROR, INFLUXDB, MIRROR, ROOT, loads, problems


def test_the_files_that_are_shipped_say_what_the_code_says(tmp_path: Path) -> None:
    text = (ROOT / "settings.toml").read_text()
    assert tomllib.loads(text) == {}
    active = re.sub(r"(?m)^# (?=\[[a-z.]+\]$|[a-z_]+ = \S+$)", "", text)
    table = tomllib.loads(active)
    assert list(table) == list(NAMES)
    assert list(table["mirrors"]["b"]) == [field.name for field in fields(Mirror)]
    assert list(table["collectors"]["disk"]) == [field.name for field in fields(CollectorOptions)]
    flat, mirror, rest = re.split(r"(?m)(^\[mirrors.b\]\n(?:.+\n)+)", active)
    assert loads(tmp_path, flat).settings == loads().settings
    assert loads(tmp_path, flat + rest).settings.collectors["disk"].max_series == 200
    assert loads(tmp_path, mirror, env=INFLUXDB | MIRROR).settings.mirrors == {"b": A_MIRROR}
    example = (ROOT / ".secrets.toml.example").read_text()
    assert loads(tmp_path, "", example).settings.influxdb_token.startswith("PUT-YOUR-")


def table(owner: type) -> str:
    default = owner()
    lines = ["| name | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    for name, declared in specs(owner).items():
        value = "" if name in ("data_dir", "host_root") else as_text(getattr(default, name))
        cells = (f"`{name}`", f"`{value}`" if value else "", declared.allowed, declared.meaning)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@pytest.mark.parametrize("owner", [Settings, CollectorOptions, Downsample, Mirror])
def test_the_document_says_what_the_code_says(owner: type) -> None:
    assert table(owner) in (ROOT / "docs/settings.md").read_text()


def test_the_errors_of_the_document_are_real(tmp_path: Path) -> None:
    document = (ROOT / "docs/settings.md").read_text().partition("## Errors")[2]
    toml, printed = re.findall(r"```\w+\n(.*?)```", document, re.DOTALL)[:2]
    told = printed.replace("/etc/metrics-pipeline", "DIR").splitlines()
    assert [f"metrics-pipeline: {problem}" for problem in problems(tmp_path, toml)] == told
