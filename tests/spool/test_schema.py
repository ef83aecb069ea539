"""A store of 0.1.0 is upgraded, whatever ends the process in between; others are left alone."""

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from pipeline.health import read_status
from pipeline.settings import Settings
from pipeline.spool import (
    Aging,
    Spool,
    SpoolError,
    SpoolReader,
    drop_rejected,
    retry_rejected,
)
from pipeline.spool.schema import VERSION
from tests.spool.stores import (
    MB,
    NOW,
    account,
    aside,
    contents,
    history,
    killed_at,
    leased,
    lines,
    salvaged,
    sql,
)

pytestmark = pytest.mark.slow  # much to write, and to break

FORMAT_1 = Path(__file__).with_name("format-1.sql")


def made(directory: Path) -> Path:
    """Make a store as 0.1.0 left it."""
    directory.mkdir(exist_ok=True)
    with closing(sqlite3.connect(directory / "spool.db")) as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(FORMAT_1.read_text())
    return directory


def version(directory: Path) -> int:
    ((found,),) = sql(directory, "PRAGMA user_version")
    return int(found)


def check_upgraded(directory: Path) -> None:
    """All that 0.1.0 kept is there, and in use."""
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
        spool.queue().settle(leased(spool, 8), NOW)
        assert lines(leased(spool)) == ["m f=1i 7"]
        account(spool.contents())
        assert sql(directory, "SELECT value FROM counter WHERE name = 'waiting'") == [(1,)]


def test_a_store_of_0_1_0_is_upgraded(tmp_path: Path) -> None:
    made(tmp_path)
    Spool(tmp_path, MB).close()
    check_upgraded(tmp_path)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    Spool(fresh, MB).close()
    query = "SELECT type, name, sql FROM sqlite_schema ORDER BY name"
    assert sql(tmp_path, query) == sql(fresh, query)


def test_an_upgrade_that_is_killed_at_any_moment_is_done_the_next_time(tmp_path: Path) -> None:
    origin = made(tmp_path / "origin")
    moment, killings = 1, 0
    while True:
        folder = tmp_path / str(moment)
        shutil.copytree(origin, folder)
        if not killed_at(moment, partial(Spool, folder, MB)):
            break
        killings += 1
        assert version(folder) in (1, VERSION)
        Spool(folder, MB).close()
        check_upgraded(folder)
        shutil.rmtree(folder)
        moment += max(1, moment // 8)
    assert killings > 20


def test_a_store_of_0_1_0_is_read_before_it_is_upgraded(tmp_path: Path) -> None:
    made(tmp_path)
    status = read_status(Settings(data_dir=tmp_path, host="h1"))
    assert (status.main.points, status.main.backlog_points, status.last_salvage) == (12, 8, None)
    assert len(history(tmp_path)) == 5
    assert version(tmp_path) == 1


def test_no_command_writes_to_a_store_of_0_1_0_before_its_agent_upgraded_it(tmp_path: Path) -> None:
    made(tmp_path)
    before = (tmp_path / "spool.db").read_bytes()
    for write in (Aging.beside, retry_rejected, drop_rejected):
        with pytest.raises(SpoolError, match="has format 1; start the agent, which upgrades it"):
            write(tmp_path)
    assert (tmp_path / "spool.db").read_bytes() == before
    Spool(tmp_path, MB).close()
    assert retry_rejected(tmp_path) == (1, 0)
    account(contents(tmp_path))


def test_a_store_of_0_1_0_that_is_damaged_is_salvaged_as_well(tmp_path: Path) -> None:
    made(tmp_path)
    with (tmp_path / "spool.db").open("r+b") as file:
        file.write(bytes(100))
    with salvaged(Spool(tmp_path, MB)) as spool:
        account(spool.contents())
        assert spool.contents().rejected_points == 1
        # Without a counter of what waits, what was delivered cannot be told from what was not, so
        # all of it goes again.
        assert spool.contents().backlog_points == 10
    assert len(history(tmp_path)) == 5


def test_what_had_aged_without_an_influxdb_is_counted_from_now_on(tmp_path: Path) -> None:
    made(tmp_path)
    sql(tmp_path, "UPDATE counter SET value = 20 WHERE name = 'points'")
    Spool(tmp_path, MB).close()
    with (tmp_path / "spool.db").open("r+b") as file:
        file.write(bytes(100))
    with salvaged(Spool(tmp_path, MB)) as spool:
        found = spool.contents()
    assert (found.points, found.delivered_points, found.backlog_points) == (20, 3, 8)


@pytest.mark.parametrize("number", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("log", [b"", b"noise" * 1000])
def test_a_store_of_a_version_that_was_never_released_is_left_alone(
    tmp_path: Path, number: int, log: bytes
) -> None:
    Spool(tmp_path, MB).close()
    sql(tmp_path, f"PRAGMA user_version = {number}")
    (tmp_path / "spool.db-wal").write_bytes(log)
    before = (tmp_path / "spool.db").read_bytes()
    told = f"has format {number}, of a version that was never released; move the file away"
    for opened in (partial(Spool, max_bytes=MB), SpoolReader):
        with pytest.raises(SpoolError, match=told):
            opened(tmp_path)
    assert (tmp_path / "spool.db").read_bytes() == before
    assert aside(tmp_path) == []


def test_a_database_with_nothing_in_it_is_filled(tmp_path: Path) -> None:
    sql(tmp_path, "VACUUM")
    with Spool(tmp_path, MB) as spool:
        spool.append(["m f=1i 1"], 1)
    assert contents(tmp_path).points == 1
