"""The documents say what the code says."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

from pipeline.settings import NAMES, CollectorOptions, Mirror, Settings
from pipeline.settings.constraints import specs
from tests.settings import documents
from tests.settings.loading import A_MIRROR, INFLUXDB, MIRROR, ROOT, loads, problems


def test_the_files_that_are_shipped_say_what_the_code_says(tmp_path: Path) -> None:
    text = (ROOT / "settings.toml").read_text()
    assert tomllib.loads(text) == {}
    active = re.sub(r"(?m)^# (?=\[[a-z.]+\]$|[a-z_]+ = \S+$)", "", text)
    table = tomllib.loads(active)
    missing = [name for name in NAMES if name not in table]
    assert missing == [], "settings.toml has no commented line with their default"
    assert list(table) == list(NAMES)
    for name, declared in specs(Settings).items():
        most = re.search(r" to (\d+)$", declared.allowed)
        comment = text.partition(f"\n# {name} = ")[0].rpartition("\n\n")[2]
        assert not most or f" to {most[1]}" in comment, (
            f"settings.toml: {name} is at most {most[1]}"
        )
    assert list(table["mirrors"]["b"]) == [field.name for field in fields(Mirror)]
    assert list(table["collectors"]["disk"]) == [field.name for field in fields(CollectorOptions)]
    flat, mirror, rest = re.split(r"(?m)(^\[mirrors.b\]\n(?:.+\n)+)", active)
    assert loads(tmp_path, flat).settings == loads().settings
    assert loads(tmp_path, flat + rest).settings.collectors["disk"].max_series == 200
    assert loads(tmp_path, mirror, env=INFLUXDB | MIRROR).settings.mirrors == {"b": A_MIRROR}
    example = (ROOT / ".secrets.toml.example").read_text()
    assert loads(tmp_path, "", example).settings.influxdb_token.startswith("PUT-YOUR-")


def test_the_tables_of_the_document_are_those_of_the_code() -> None:
    text = documents.DOCUMENT.read_text(encoding="utf-8")
    assert text == documents.rewritten(text), "to write the tables anew: make docs"


def test_the_errors_of_the_document_are_real(tmp_path: Path) -> None:
    document = (ROOT / "docs/settings.md").read_text().partition("## Errors")[2]
    toml, printed = re.findall(r"```\w+\n(.*?)```", document, re.DOTALL)[:2]
    told = printed.replace("/etc/metrics-pipeline", "DIR").splitlines()
    assert [f"metrics-pipeline: {problem}" for problem in problems(tmp_path, toml)] == told
