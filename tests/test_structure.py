"""Imports go down only, those made late or for type checkers too."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import pipeline

pytestmark = pytest.mark.slow  # every module is parsed

ROOT = Path(pipeline.__file__).parent
# The first is on top. Rooms on one line do not know each other.
LAYERS = (
    {"__main__"},
    {"cli"},
    {"agent"},
    {"endpoint"},
    {"delivery", "retention"},
    {"health"},
    {"collectors", "influx", "spool"},
    {"settings"},
    {"background", "clock", "point"},
)
# What costs memory or time is for those who need it alone.
OWNERS = {
    "influxdb_client": {"influx"},
    "urllib3": {"influx"},
    "tenacity": {"delivery"},
    "sqlite3": {"spool"},
    "click": {"cli"},
    "rich": {"cli"},
    "plotext": {"cli"},
    "psutil": {"collectors"},
    "dynaconf": {"settings"},
}


def room(name: str) -> str:
    """The part of a dotted name below the package that stands for a file or a folder of it."""
    return name.split(".")[1] if "." in name else "__init__"


@cache
def imports() -> tuple[tuple[str, str], ...]:
    """Which module imports what, wherever in it: dotted names."""
    return tuple(
        (".".join(part for part in parts if part != "__init__"), name)
        for path in ROOT.rglob("*.py")
        for parts in (path.relative_to(ROOT.parent).with_suffix("").parts,)
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
    )


def imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "a relative import"
            if node.module == "pipeline":
                yield from (f"pipeline.{alias.name}" for alias in node.names)
            else:
                yield node.module


def layer(name: str) -> int:
    (number,) = (n for n, names in enumerate(LAYERS) if room(name) in names)
    return number


def test_imports_go_down_only() -> None:
    wrong = [
        (own, other)
        for own, other in imports()
        if other.startswith("pipeline.") and other != "pipeline.__version__" and own != "pipeline"
        if room(own) != room(other) and layer(other) <= layer(own)
    ]
    assert wrong == []
    ours = {name for own, name in imports() if own == "pipeline"}
    assert ours == {"typing", "pipeline.agent"}  # the functions for programs


def test_a_room_is_entered_by_its_door() -> None:
    closed = ("pipeline.spool.salvage.", *(f"pipeline.{one}." for names in LAYERS for one in names))
    wrong = [
        (own, other)
        for own, other in imports()
        for place in closed
        if other.startswith(place) and not f"{own}.".startswith(place)
    ]
    assert wrong == []


def test_each_library_is_imported_by_its_owner_alone() -> None:
    found: dict[str, set[str]] = {}
    for own, other in imports():
        if (library := other.split(".")[0]) in OWNERS:
            found.setdefault(library, set()).add(room(own))
    assert found == OWNERS
