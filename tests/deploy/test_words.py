"""docs/deploy.md, word by word, on a clean Debian."""

import re
import shutil
from collections.abc import Iterator

import pytest

import pipeline
from tests.deploy import machine
from tests.deploy.conftest import LEFT_OUT, ROOT
from tests.deploy.machine import FOLDERS, UNIT, Machine

CLONE = "root/metrics-pipeline"


@pytest.fixture
def clean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with nothing but Debian and a clone."""
    with machine.booted(tmp_path_factory.mktemp("machine")) as one:
        shutil.copytree(ROOT, one.root / CLONE, ignore=LEFT_OUT)
        yield one


def section(title: str, below: str = "") -> str:
    """The text of a section of the document, or of one part of it."""
    text = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    (part,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    if below:
        (part,) = re.findall(rf"^### {below}\n(.*?)(?=^###? |\Z)", part, re.DOTALL | re.MULTILINE)
    return str(part)


def do(one: Machine, title: str, below: str = "") -> None:
    """Do what a section says; an editor is left again at once."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", section(title, below), re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        one.run(f"cd /{CLONE}\n{block.replace('sudo nano', 'ls')}", within_s=600)


def look(one: Machine) -> None:
    """See that it runs, and that what the document says about looking at it is right."""
    assert one.show("ActiveState") == "active"
    do(one, "Looking at it")
    assert one.status()["ticks"] > 0
    assert one.run("metrics-pipeline --version").split()[-1] == pipeline.__version__


@pytest.mark.parametrize("way", ["Debian package", "From a clone"])
def test_what_the_document_says(clean: Machine, way: str) -> None:
    if way == "Debian package":
        do(clean, way, "Build")
    do(clean, way, "Install")
    look(clean)
    do(clean, "Delivering")
    look(clean)
    do(clean, way, "Upgrade and roll back")
    look(clean)
    do(clean, way, "Remove")
    assert clean.run(f"ls -d {FOLDERS} /etc/credstore/* 2>/dev/null || true") == ""
    assert clean.try_("id metrics-pipeline").returncode == 1
    assert clean.try_(f"systemctl cat {UNIT}").returncode == 1
