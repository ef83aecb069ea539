"""Imports go down only, those made late or for type checkers too."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pipeline

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
    {"clock", "point"},
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


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room(name: str) -> str:
    """The part of a dotted name below the package that stands for a file or a folder of it."""
    return name.split(".")[1] if "." in name else "__init__"


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("pipeline", *(part for part in parts if part != "__init__")))


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Everything a module imports, wherever in it: dotted names, with what is taken from them."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            if node.module == "pipeline":
                yield from (f"pipeline.{alias.name}" for alias in node.names)
            else:
                yield node.module


def layer(name: str) -> int:
    (number,) = (n for n, names in enumerate(LAYERS) if name in names)
    return number


def test_imports_go_down_only() -> None:
    wrong = [
        f"{dotted(path)} imports {name}"
        for path in modules()
        if (own := room(dotted(path))) != "__init__"
        for name in imports(path)
        if name.startswith("pipeline.")
        and (other := room(name)) not in (own, "__version__")  # which is no module
        and layer(other) <= layer(own)
    ]
    assert wrong == []


def test_a_room_is_entered_by_its_door() -> None:
    wrong = [
        f"{dotted(path)} imports {name}"
        for path in modules()
        for name in imports(path)
        if name.startswith("pipeline.")
        and name.count(".") > 1
        and room(name) not in (room(dotted(path)), "__version__")
    ]
    assert wrong == []


def test_the_package_itself_loads_only_the_functions_for_programs() -> None:
    names = set(imports(ROOT / "__init__.py"))
    assert names == {"typing", "pipeline.agent"}


def test_each_library_is_imported_by_its_owner_alone() -> None:
    found: dict[str, set[str]] = {}
    for path in modules():
        for name in imports(path):
            if (library := name.split(".")[0]) in OWNERS:
                found.setdefault(library, set()).add(room(dotted(path)))
    assert found == OWNERS


def test_salvage_has_one_door() -> None:
    wrong = [
        f"{dotted(path)} imports {name}"
        for path in modules()
        if path.parent.name != "salvage"
        for name in imports(path)
        if name.startswith("pipeline.spool.salvage.")
    ]
    assert wrong == []
