"""docs/deploy.md, word by word, on a clean Debian."""

import re
import shutil
from collections.abc import Iterator

import pytest

import pipeline
from tests.deploy import machine
from tests.deploy.conftest import LEFT_OUT, ROOT
from tests.deploy.machine import UNIT, Machine

CLONE = "root/metrics-pipeline"
FOLDERS = "/opt/metrics-pipeline /etc/metrics-pipeline /var/lib/metrics-pipeline"


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


def test_the_package(clean: Machine) -> None:
    do(clean, "Debian package", "Build")
    do(clean, "Debian package", "Install")
    look(clean)
    do(clean, "Delivering")
    look(clean)
    do(clean, "Debian package", "Upgrade and roll back")
    look(clean)
    do(clean, "Debian package", "Remove")
    nothing_is_left(clean)


def test_a_clone(clean: Machine) -> None:
    do(clean, "From a clone", "Install")
    look(clean)
    do(clean, "Delivering")
    look(clean)
    do(clean, "From a clone", "Upgrade and roll back")
    look(clean)
    do(clean, "From a clone", "Remove")
    nothing_is_left(clean)


def nothing_is_left(one: Machine) -> None:
    assert one.run(f"ls -d {FOLDERS} /etc/credstore/* 2>/dev/null || true") == ""
    assert one.try_("id metrics-pipeline").returncode == 1
    assert one.try_(f"systemctl cat {UNIT}").returncode == 1
