"""What the tests of deploying share: each failure to have it is told by name, never passed over."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import pytest

import pipeline
from tests.deploy import debian, machine
from tests.deploy.machine import Machine

# What reads the manifests is installed for `make deploy-test`, which alone runs this folder.
collect_ignore = [] if find_spec("kubernetes_validate") else ["test_kubernetes.py"]
ROOT = Path(__file__).parent.parent.parent
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "dist", "mutants", "__pycache__", ".*_cache", ".hypothesis"
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test here: they take root and minutes, so `make test` leaves them out."""
    folder = Path(__file__).parent
    for item in items:
        if item.path.parent == folder:
            item.add_marker("deploy")


@pytest.fixture(scope="session", autouse=True)
def _possible() -> None:
    try:
        debian.root()
    except debian.MissingError as why:
        pytest.fail(str(why), pytrace=False)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Debian packages of this version and of the one after it."""
    return {
        "now": _package(tmp_path_factory.mktemp("now")),
        "next": _package(tmp_path_factory.mktemp("next"), _NEXT_EDITS),
    }


NEXT = f"{pipeline.__version__}.1"
_NEXT_EDITS = {
    "pipeline/__init__.py": (f'__version__ = "{pipeline.__version__}"', f'__version__ = "{NEXT}"'),
    "settings.toml": ("# Settings of", "# The settings of"),
}


def _package(folder: Path, edits: Mapping[str, tuple[str, str]] = MappingProxyType({})) -> Path:
    tree = copied(folder / "tree", edits)
    done = built(tree, "deploy/debian/build.sh")
    assert done.returncode == 0, done.stderr
    return tree / done.stdout.strip()


def copied(tree: Path, edits: Mapping[str, tuple[str, str]]) -> Path:
    """Copy this tree, with a text of some files replaced; return where it is."""
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
    for name, (old, new) in edits.items():
        path = tree / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return tree


def built(tree: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of a tree that builds something with this Python."""
    return subprocess.run(
        [tree / script, sys.executable],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture(scope="module")
def installed(
    packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A machine with the package installed, on the network of this one."""
    with machine.booted(tmp_path_factory.mktemp("machine")) as one:
        one.run(f"apt-get install -y {put(one, packages['now'])}")
        yield one


def put(one: Machine, package: Path) -> str:
    """Copy a package into a machine; return its path there."""
    shutil.copy(package, one.root / "srv")
    return f"/srv/{package.name}"
