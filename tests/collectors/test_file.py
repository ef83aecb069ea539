import os
import socket
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collectors import Guard, NoData, Omission
from pipeline.collectors.file import File
from pipeline.point import Point
from tests.clocks import START_NS
from tests.machine import open_files

from .fakes import DEFAULTS, FakeHost

SECOND = 10**9


def file(folder: Path | None, **options: Any) -> File:
    return File(FakeHost().host(), replace(DEFAULTS, directory=folder, **options))


@pytest.fixture
def settled(tmp_path: Path) -> Callable[[str], None]:
    """Writes a file that looks as if nobody had touched it for long."""

    def write(text: str) -> None:
        path = tmp_path / "a.lp"
        path.write_text(text)
        os.utime(path, (1_600_000_000, 1_600_000_000))

    return write


def read(folder: Path | None) -> list[Point | Omission]:
    return list(file(folder).collect())


def test_every_line_is_a_point(tmp_path: Path) -> None:
    (tmp_path / "b.lp").write_text("backup,job=db seconds=12.5,ok=true\n")
    (tmp_path / "a.lp").write_text("# by cron\nqueue,name=in length=3i\nqueue,name=out length=0i")
    assert read(tmp_path) == [
        Point("queue", {"length": 3}, {"name": "in"}),
        Point("queue", {"length": 0}, {"name": "out"}),
        Point("backup", {"seconds": 12.5, "ok": True}, {"job": "db"}),
    ]


def test_lines_get_the_time_and_the_common_tags_and_of_a_series_the_first_counts(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.lp").write_text("a v=1\nb,site=here v=2")
    (tmp_path / "b.lp").write_text("a v=2")
    tags = {"host": "h", "site": "lab"}
    outcome = Guard(file(tmp_path), DEFAULTS, FakeHost().clock).run(7, tags)
    assert outcome.lines == ("a,host=h,site=lab v=1 7", "b,host=h,site=here v=2 7")
    assert outcome.lost_points == 1


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    for name in (".a.lp", ".lp", "a.lp.tmp", "a.LP", "a.txt", "lp", "a.lp~"):
        (tmp_path / name).write_text("a v=1")
    (tmp_path / "folder").mkdir()
    assert read(tmp_path) == []


def test_a_file_that_has_not_changed_is_not_read_again(
    tmp_path: Path, settled: Callable[[str], None]
) -> None:
    made = file(tmp_path)
    settled("a v=1")
    (first,) = made.collect()
    assert first == Point("a", {"v": 1.0})
    (again,) = made.collect()
    assert again is first
    settled("a v=33")
    assert list(made.collect()) == [Point("a", {"v": 33.0})]
    (tmp_path / "a.lp").unlink()
    assert list(made.collect()) == []


def test_a_file_of_the_same_size_and_time_that_was_changed_is_read_again(
    tmp_path: Path, settled: Callable[[str], None]
) -> None:
    made, path = file(tmp_path), tmp_path / "a.lp"
    settled("a v=1")
    assert list(made.collect()) == [Point("a", {"v": 1.0})]
    before_ns = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before_ns:  # some milliseconds, by the kernel's clock
        settled("a v=2")
    assert list(made.collect()) == [Point("a", {"v": 2.0})]


@pytest.mark.parametrize("ago_ns", [-SECOND, 0, 2 * SECOND - 1])
def test_a_file_that_may_have_changed_since_is_read_again(tmp_path: Path, ago_ns: int) -> None:
    made, path = file(tmp_path), tmp_path / "a.lp"
    path.write_text("a v=1")
    os.utime(path, ns=(START_NS - ago_ns, START_NS - ago_ns))
    (first,) = made.collect()
    (again,) = made.collect()
    assert first == again
    assert first is not again


@pytest.mark.slow
def test_what_is_beyond_max_series_is_counted_and_takes_no_memory(tmp_path: Path) -> None:
    lines = 170_000
    (tmp_path / "a.lp").write_text("a v=1\n" + "\n".join("b v=1" for _ in range(lines)))
    (tmp_path / "b.lp").write_text("c v=1\n# end\n")
    made, options = file(tmp_path, max_series=2), replace(DEFAULTS, max_series=2)
    tracemalloc.start()
    try:
        outcome = Guard(made, options, FakeHost().clock).run(7, {})
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcome.lines == ("a v=1 7", "b v=1 7")
    assert outcome.lost_points == lines
    assert next(outcome.warnings()) == (
        "leaves out 'a.lp'",
        "Collector file leaves out 'a.lp': it has 169999 lines beyond max_series",
    )
    assert most < 8 * 2**20


def test_places_that_a_file_leaves_are_for_the_next_one(
    tmp_path: Path, settled: Callable[[str], None]
) -> None:
    settled("a v=1\nb v=1")
    (tmp_path / "b.lp").write_text("c v=1\nd v=1")
    made = file(tmp_path, max_series=3)

    def told() -> list[str]:
        return [item.measurement for item in made.collect() if isinstance(item, Point)]

    assert told() == ["a", "b", "c"]
    settled("a v=1")
    assert told() == ["a", "c", "d"]
    settled("a v=1\nb v=1")
    assert told() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a v=1\nnonsense\n", "line 2: it is not line protocol"),
        (b"a v=1 17", "line 1: it has a time of its own; it gets that of the reading"),
        (b"a,_value=x v=1", "line 1: tag '_value' begins with _, which InfluxDB reserves"),
        (b"a v=1\n\xff", "it is not UTF-8 text"),
        (b"#" * (2**20 + 1), "it is too large: all files together may have 1 MiB"),
    ],
)
def test_a_bad_file_costs_itself_only_until_it_is_right(
    tmp_path: Path, content: bytes, why: str
) -> None:
    made, bad = file(tmp_path), tmp_path / "b.lp"
    (tmp_path / "a.lp").write_text("a v=1")
    bad.write_bytes(content)
    (tmp_path / "c.lp").write_text("c v=1")
    good = Point("a", {"v": 1.0}), Point("c", {"v": 1.0})
    assert list(made.collect()) == [good[0], Omission("'b.lp'", why), good[1]]
    bad.write_text("")
    assert list(made.collect()) == [*good]


@pytest.mark.slow
def test_what_is_no_file_costs_itself_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "a.lp")
    with socket.socket(socket.AF_UNIX) as server, monkeypatch.context() as there:
        there.chdir(tmp_path)  # the path of a socket may be no longer than 107 bytes
        server.bind("b.lp")
    (tmp_path / "c.lp").mkdir()
    (tmp_path / "d.lp").symlink_to("/dev/zero")
    (tmp_path / "e.lp").symlink_to("e.lp")
    (tmp_path / "f.lp").symlink_to("nowhere")
    (tmp_path / "g.lp").write_text("g v=1")
    before, irregular = open_files(), "it is no regular file"
    assert read(tmp_path) == [
        *(Omission("'a.lp'", irregular), Omission("'b.lp'", "No such device or address")),
        *(Omission("'c.lp'", irregular), Omission("'d.lp'", irregular)),
        Omission("'e.lp'", "Too many levels of symbolic links"),
        Point("g", {"v": 1.0}),
    ]
    assert open_files() == before


def test_only_the_files_that_are_wanted_are_read(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.lp").write_text(f"{name} v=1")
    made = file(tmp_path, include=("[ab].lp",), exclude=("b*",))
    assert list(made.collect()) == [Point("a", {"v": 1.0})]


def test_a_file_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('root:$y$j9T$:20228\na v="x\na v=1,v=2')
    (tmp_path / "a.lp").symlink_to("secret")
    (omission,) = read(tmp_path)
    assert isinstance(omission, Omission)
    assert "root" not in omission.why


def test_a_name_that_is_no_text_is_told_on_one_line(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a\n\xff.lp")).write_text("?")
    (omission,) = read(tmp_path)
    assert isinstance(omission, Omission)
    assert omission.what == r"'a\n\udcff.lp'"


def test_without_a_folder_there_is_nothing_and_a_missing_one_is_a_failure_until_it_is_there(
    tmp_path: Path,
) -> None:
    with pytest.raises(NoData):
        read(None)
    made = file(tmp_path / "later")
    with pytest.raises(FileNotFoundError):
        list(made.collect())
    (tmp_path / "later").mkdir()
    assert list(made.collect()) == []


@given(st.binary(max_size=200))
def test_any_content_is_read_or_left_out(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "files"
    folder.mkdir(exist_ok=True)
    (folder / "a.lp").write_bytes(content)
    (folder / "b.lp").write_text("good v=1")
    assert Point("good", {"v": 1.0}) in read(folder)
