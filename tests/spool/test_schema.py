"""Stores of earlier versions are upgraded, whatever ends the process in between."""

import shutil
import sqlite3
from functools import partial
from pathlib import Path

import pytest

from pipeline.health import read_status
from pipeline.settings import Settings
from pipeline.spool import Spool, SpoolError, SpoolReader
from pipeline.spool.schema import MIGRATIONS, VERSION
from tests.spool.stores import MB, NOW, account, contents, history, killed_at, leased, lines

pytestmark = pytest.mark.slow  # much to write, and to break

FORMATS = sorted(Path(__file__).parent.glob("format-*.sql"))


def made(directory: Path, script: Path) -> Path:
    """Make a store as an earlier version left it."""
    directory.mkdir(exist_ok=True)
    with sqlite3.connect(directory / "spool.db") as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(script.read_text())
    db.close()
    return directory


def version(directory: Path) -> int:
    with sqlite3.connect(directory / "spool.db") as db:
        (found,) = db.execute("PRAGMA user_version").fetchone()
    db.close()
    return int(found)


def check_upgraded(directory: Path) -> None:
    """All that the earlier version kept is there, and in use."""
    assert version(directory) == VERSION
    found = contents(directory)
    account(found)
    assert (found.ticks, found.points, found.delivered_points) == (6, 12, 3)
    assert (found.backlog_points, found.rejected_points) == (8, 1)
    assert found.lost == {"rejected": 1, "tick_missed": 2}
    assert len(history(directory)) == 5
    with Spool(directory, MB) as spool:
        assert spool.facts() == {"collection_interval_ms": "1000", "last_error": "no answer"}
        spool.append(["m f=1i 7"], 7 * 10**9)
        assert leased(spool, newest=True).ids == (7,)
        spool.settle(leased(spool, 8), NOW)
        assert lines(leased(spool)) == ["m f=1i 7"]
        account(spool.contents())
        with spool._reading() as db:
            waiting = "SELECT value FROM counter WHERE name = 'waiting'"
            assert db.execute(waiting).fetchone() == (1,)


def test_there_is_a_store_of_every_earlier_version() -> None:
    assert [path.name for path in FORMATS] == [f"format-{n}.sql" for n in range(1, VERSION)]
    assert len(MIGRATIONS) == VERSION


@pytest.mark.parametrize("script", FORMATS, ids=lambda path: path.stem)
def test_a_store_of_an_earlier_version_is_upgraded(script: Path, tmp_path: Path) -> None:
    made(tmp_path, script)
    Spool(tmp_path, MB).close()
    check_upgraded(tmp_path)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    Spool(fresh, MB).close()
    query = "SELECT type, name, sql FROM sqlite_schema ORDER BY name"
    tables = []
    for directory in (tmp_path, fresh):
        with sqlite3.connect(directory / "spool.db") as db:
            tables.append(db.execute(query).fetchall())
        db.close()
    assert tables[0] == tables[1]


@pytest.mark.parametrize("script", FORMATS, ids=lambda path: path.stem)
def test_an_upgrade_that_is_killed_at_any_moment_is_done_the_next_time(
    script: Path, tmp_path: Path
) -> None:
    origin = made(tmp_path / "origin", script)
    moment, killings = 1, 0
    while True:
        folder = tmp_path / str(moment)
        shutil.copytree(origin, folder)
        if not killed_at(moment, partial(Spool, folder, MB)):
            break
        killings += 1
        assert version(folder) in range(1, VERSION + 1)
        Spool(folder, MB).close()
        check_upgraded(folder)
        shutil.rmtree(folder)
        moment += max(1, moment // 8)
    assert killings > 20


@pytest.mark.parametrize("script", FORMATS, ids=lambda path: path.stem)
def test_an_earlier_version_is_read_before_it_is_upgraded(script: Path, tmp_path: Path) -> None:
    made(tmp_path, script)
    status = read_status(Settings(data_dir=tmp_path, host="h1"))
    assert (status.points, status.backlog_points, status.last_salvage) == (12, 8, None)
    assert len(history(tmp_path)) == 5
    assert version(tmp_path) == int(script.stem.removeprefix("format-"))


@pytest.mark.parametrize("script", FORMATS, ids=lambda path: path.stem)
def test_an_earlier_version_that_is_damaged_is_salvaged_as_well(
    script: Path, tmp_path: Path
) -> None:
    made(tmp_path, script)
    with (tmp_path / "spool.db").open("r+b") as file:
        file.write(bytes(100))
    with Spool(tmp_path, MB) as spool:
        account(spool.contents())
        assert spool.contents().rejected_points == 1
        # Without a counter of what waits, what was delivered cannot be told from what was not, so
        # all of it goes again.
        waiting = 10 if script.stem == "format-1" else 8
        assert spool.contents().backlog_points == waiting
    assert len(history(tmp_path)) == 5


def test_what_had_aged_without_an_influxdb_is_counted_from_now_on(tmp_path: Path) -> None:
    made(tmp_path, FORMATS[1])
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.execute("UPDATE counter SET value = 20 WHERE name = 'points'")
    db.close()
    Spool(tmp_path, MB).close()
    with (tmp_path / "spool.db").open("r+b") as file:
        file.write(bytes(100))
    with Spool(tmp_path, MB) as spool:
        found = spool.contents()
    assert (found.points, found.delivered_points, found.backlog_points) == (20, 3, 8)


def test_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    Spool(tmp_path, MB).close()
    newer = sqlite3.connect(tmp_path / "spool.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    before = (tmp_path / "spool.db").read_bytes()
    with pytest.raises(SpoolError, match="has format 99, this version reads"):
        Spool(tmp_path, MB)
    with pytest.raises(SpoolError, match="has format 99"):
        SpoolReader(tmp_path)
    assert (tmp_path / "spool.db").read_bytes() == before


def test_a_database_with_nothing_in_it_is_filled(tmp_path: Path) -> None:
    empty = sqlite3.connect(tmp_path / "spool.db")
    empty.execute("VACUUM")
    empty.close()
    with Spool(tmp_path, MB) as spool:
        spool.append(["m f=1i 1"], 1)
    assert contents(tmp_path).points == 1
