"""A store of 0.1.0 is upgraded, whatever ends the process in between; others are left alone."""

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
    leased,
    lines,
    salvaged,
    scribble,
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


def test_a_store_of_0_1_0_is_upgraded_with_all_that_it_kept(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    Spool(fresh, MB).close()
    Spool(made(tmp_path), MB).close()
    query = "SELECT type, name, sql FROM sqlite_schema ORDER BY name"
    assert sql(tmp_path, query) == sql(fresh, query)
    assert sql(tmp_path, "PRAGMA user_version") == [(VERSION,)]
    found = contents(tmp_path)
    account(found)
    assert (found.ticks, found.points, found.delivered_points) == (6, 12, 3)
    assert (found.backlog_points, found.rejected_points) == (8, 1)
    assert found.lost == {"rejected": 1, "tick_missed": 2}
    assert len(history(tmp_path)) == 5
    with Spool(tmp_path, MB) as spool:
        assert spool.facts() == {"collection_interval_ms": "1000", "last_error": "no answer"}
        spool.append(["m f=1i 7"], 7 * 10**9)
        assert leased(spool, newest=True).ids == (7,)
        spool.queue().settle(leased(spool, 8), NOW)
        assert lines(leased(spool)) == ["m f=1i 7"]
        account(spool.contents())
        assert sql(tmp_path, "SELECT value FROM counter WHERE name = 'waiting'") == [(1,)]


def test_a_store_of_0_1_0_is_read_and_not_written_before_its_agent_upgraded_it(
    tmp_path: Path,
) -> None:
    before = (made(tmp_path) / "spool.db").read_bytes()
    status = read_status(Settings(data_dir=tmp_path, host="h1"))
    assert (status.main.points, status.main.backlog_points, status.last_salvage) == (12, 8, None)
    assert len(history(tmp_path)) == 5
    for write in (Aging.beside, retry_rejected, drop_rejected):
        with pytest.raises(SpoolError, match="has format 1; start the agent, which upgrades it"):
            write(tmp_path)
    assert (tmp_path / "spool.db").read_bytes() == before
    Spool(tmp_path, MB).close()
    assert retry_rejected(tmp_path) == (1, 0)
    account(contents(tmp_path))


@pytest.mark.parametrize(
    ("upgraded", "expected"),
    # Without a counter of what waits, what was delivered cannot be told from what was not, so all
    # of it goes again. What had aged without an InfluxDB is counted by the upgrade.
    [(False, (12, 1, 10)), (True, (20, 3, 8))],
)
def test_a_store_of_0_1_0_that_is_damaged_is_salvaged_as_well(
    tmp_path: Path, upgraded: bool, expected: tuple[int, int, int]
) -> None:
    made(tmp_path)
    if upgraded:
        sql(tmp_path, "UPDATE counter SET value = 20 WHERE name = 'points'")
        Spool(tmp_path, MB).close()
    scribble(tmp_path / "spool.db", 0, 100)
    with salvaged(Spool(tmp_path, MB)) as spool:
        found = spool.contents()
    assert (found.points, found.delivered_points, found.backlog_points) == expected
    assert (found.rejected_points, found.lost) == (1, {"rejected": 1, "tick_missed": 2})
    assert len(history(tmp_path)) == 5


@pytest.mark.parametrize("log", [b"", b"noise" * 1000])
@pytest.mark.parametrize(
    ("number", "told"),
    [
        *(
            (number, "has format {}, of a version that was never released;")
            for number in range(2, 7)
        ),
        (99, "has format {}, this version reads 7; run the version that made it, or move the file"),
    ],
)
def test_a_store_of_another_version_is_left_alone_even_when_it_is_damaged(
    tmp_path: Path, number: int, told: str, log: bytes
) -> None:
    Spool(tmp_path, MB).close()
    sql(tmp_path, f"PRAGMA user_version = {number}")
    (tmp_path / "spool.db-wal").write_bytes(log)
    check_left_alone(tmp_path, told.format(number))


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    sql(tmp_path, "CREATE TABLE theirs (x)")
    sql(tmp_path, "PRAGMA user_version = 1")
    check_left_alone(tmp_path, "is another program's database; move it away, or set data_dir")


def check_left_alone(directory: Path, told: str) -> None:
    before = (directory / "spool.db").read_bytes()
    for opened in (partial(Spool, max_bytes=MB), SpoolReader):
        with pytest.raises(SpoolError, match=told):
            opened(directory)
    assert (directory / "spool.db").read_bytes() == before
    assert aside(directory) == []


def test_a_database_with_nothing_in_it_is_filled(tmp_path: Path) -> None:
    sql(tmp_path, "VACUUM")
    with Spool(tmp_path, MB) as spool:
        spool.append(["m f=1i 1"], 1)
    assert contents(tmp_path).points == 1
