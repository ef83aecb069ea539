"""A collector of another package: the one that docs/collectors.md shows, really installed."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed in it."""
    document = (ROOT / "docs/collectors.md").read_text().partition("## In a package")[2]
    project, module = re.findall(r"```(?:toml|python)\n(.*?)```", document, re.DOTALL)[:2]
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "target"))
    (source / "pyproject.toml").write_text(project)
    (source / "entropy_collector.py").write_text(module)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--no-input"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)],
        check=True,
        timeout=100,
    )
    return target


def add(target: Path, name: str, module: str, entry: str = "") -> None:
    """Do as if another package was installed."""
    info = target / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        f"[metrics_pipeline.collectors]\n{entry or name} = {name}:Made\n"
    )
    (target / f"{name}.py").write_text(module)


def command(
    path: Path | str, *words: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(path), **(env or {})},
        timeout=60,
    )


def measurements(done: subprocess.CompletedProcess[str]) -> set[str]:
    assert done.returncode == 0, done.stderr
    return {re.split("[, ]", line)[0] for line in done.stdout.splitlines()}


def test_its_points_are_among_the_others_and_it_has_its_table_of_options(
    target: Path, tmp_path: Path
) -> None:
    done = command(target, "once")
    assert measurements(done) >= {"entropy", "mem", "cpu"}
    assert done.stderr == ""
    (tmp_path / "settings.toml").write_text("[collectors.entropy]\nenabled = false\n")
    env = {"METRICS_CONFIG_DIR": str(tmp_path)}
    assert "entropy" not in measurements(command(target, "once", env=env))
    assert command(target, "settings", "check", env=env).returncode == 0
    without = command("", "settings", "check", env=env)
    assert "collectors.entropy is not a collector" in without.stderr


BROKEN = {
    "missing": ("import nothing_of_the_kind", "ModuleNotFoundError: No module named"),
    "ends": ("raise SystemExit('no')", "SystemExit: no"),
    "cut": ("Made = (", "SyntaxError: "),
    "empty": ("", "AttributeError: module 'empty' has no attribute 'Made'"),
    "number": ("Made = 5", "AttributeError: 'int' object has no attribute 'name'"),
    "misnamed": ("class Made: name = 'else'", "ValueError: its name is 'else'"),
    "bare": ("class Made: name = 'bare'", "AttributeError: type object 'Made' has no attribute"),
    "divides": (
        "class Made:\n    name, default_enabled = 'divides', True\n"
        "    def __init__(self, host, options): 1 / 0",
        "ZeroDivisionError: division by zero",
    ),
    "leaves": (
        "class Made:\n    name, default_enabled = 'leaves', True\n"
        "    def __init__(self, host, options): raise SystemExit(3)",
        "SystemExit: 3",
    ),
}


def test_a_broken_one_is_a_warning_and_costs_itself_only(tmp_path: Path) -> None:
    for name, (module, _) in BROKEN.items():
        add(tmp_path, name, module)
    done = command(tmp_path, "once")
    assert measurements(done) >= {"mem", "cpu"}
    lines = done.stderr.splitlines()
    assert len(lines) == len(BROKEN)
    for name, (_, says) in BROKEN.items():
        assert [line for line in lines if f"Collector {name} cannot be used: {says}" in line]
    disabled = {f"METRICS_COLLECTORS__{name.upper()}__ENABLED": "false" for name in BROKEN}
    assert command(tmp_path, "once", env=disabled).stderr == ""


def test_it_cannot_take_the_place_of_another(tmp_path: Path) -> None:
    module = (
        "from pipeline.point import Point\n"
        "class Made:\n"
        "    name, series_tag, default_exclude, default_enabled = 'other', None, (), True\n"
        "    def __init__(self, host, options): pass\n"
        "    def collect(self): yield Point('other', {'f': 1})\n"
    )
    add(tmp_path, "first", module, entry="other")
    add(tmp_path, "second", module, entry="other")
    add(tmp_path, "third", "raise RuntimeError", entry="cpu")
    done = command(tmp_path, "once")
    assert "cpu" in measurements(done)
    assert [line[:6] for line in done.stdout.splitlines()].count("other,") == 1
    assert sorted(line.split("WARNING ")[1] for line in done.stderr.splitlines()) == [
        "Collector cpu cannot be used: ValueError: its name is another collector's",
        "Collector other cannot be used: ValueError: its name is another collector's",
    ]


def test_packages_of_other_kinds_cost_no_reading(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"[", b"[other.group]\nx = y", b"\xff\xfe")):
        info = tmp_path / f"some{number}-1.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_bytes(content)
        done = command(tmp_path, "once")
        assert measurements(done) >= {"mem", "cpu"}
        why = "Collectors of other packages cannot be found: UnicodeDecodeError: "
        assert (why in done.stderr) == (content[:1] == b"\xff") == bool(done.stderr)
