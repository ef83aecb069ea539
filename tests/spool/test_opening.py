"""A store that is not whole: nobody opens it before its agent, which finds all that is left."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.spool import Aging, DirectoryLock, Spool, SpoolError, SpoolReader
from tests.agent.test_recorder import nothing_can_be_written
from tests.spool.stores import (
    MB,
    account,
    contents,
    history,
    killed,
    reading,
    salvaged,
    scribble,
    sql,
)

READINGS = 15
each_opener = pytest.mark.parametrize("opener", [SpoolReader, Aging.beside])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store whose readings are all in its log, as a power cut leaves it."""

    def work() -> None:
        spool = Spool(tmp_path, 100 * MB)
        for number in range(READINGS):
            spool.append(reading(number, points=1), number)

    killed(work)
    return tmp_path


def flipped_bit(log: Path) -> None:
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)


def interrupted(store: Path) -> None:
    """As a process leaves it that ended before a new store was in the place of a damaged one."""
    Spool(store.parent, 100 * MB).close()
    store.rename(f"{store}.salvaged-20231114T221320Z")
    sql(store.parent, "CREATE TABLE damaged (x)")


def files(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.glob("spool.db*")}


@each_opener
def test_where_there_is_no_store_there_is_none_to_open(
    tmp_path: Path, opener: Callable[[Path], object]
) -> None:
    with pytest.raises(FileNotFoundError):
        opener(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@each_opener
@pytest.mark.parametrize(
    ("damage", "why", "lost"),
    [
        (lambda store, _: store.write_bytes(b""), "it is empty", 0),
        (lambda store, _: store.unlink(), "it is missing, but not its write-ahead log", 0),
        (lambda store, _: scribble(store, 0, 100), "file is not a database", 0),
        (lambda _, log: flipped_bit(log), "its write-ahead log is damaged", 4),
        (lambda store, _: interrupted(store), "its salvage was interrupted", 0),
    ],
    ids=["empty", "missing", "header", "log", "interrupted"],
)
def test_a_command_leaves_a_damaged_store_to_the_agent(
    store: Path,
    opener: Callable[[Path], object],
    damage: Callable[[Path, Path], object],
    why: str,
    lost: int,
) -> None:
    damage(store / "spool.db", store / "spool.db-wal")
    before = files(store)
    told = f"{store}/spool.db is damaged ({why}"
    with pytest.raises(SpoolError, match=r"; the agent will salvage what is left$") as refusal:
        opener(store)
    assert str(refusal.value).startswith(told)
    assert files(store) == before
    salvaged(Spool(store, 100 * MB)).close()
    assert len(history(store)) >= READINGS - lost
    found = contents(store)
    account(found)
    assert found.points == READINGS


@each_opener
def test_an_empty_file_beside_its_log_is_left_alone_while_an_agent_runs_too(
    store: Path, opener: Callable[[Path], object]
) -> None:
    (store / "spool.db").write_bytes(b"")
    before = files(store)
    lock = DirectoryLock(store, SystemClock())
    with pytest.raises(SpoolError, match="it is empty, but not its write-ahead log"):
        opener(store)
    lock.release()
    assert files(store) == before


@pytest.mark.slow
@each_opener
def test_a_log_that_is_too_long_to_be_checked_at_once_is_read_beside_new_readings(
    store: Path, opener: Callable[[Path], object]
) -> None:
    os.truncate(store / "spool.db-wal", 2**26 + 1)
    with pytest.raises(SpoolError, match="its write-ahead log is too long to be checked at once"):
        opener(store)
    with Spool(store, 100 * MB) as spool:
        spool.append(reading(READINGS), READINGS)
        assert spool.contents().ticks == 1
        salvaged(spool)
        found = spool.contents()
    account(found)
    assert (found.ticks, found.lost) == (READINGS + 1, {})
    assert len(history(store)) == READINGS + 1


def test_a_store_that_cannot_be_shared_is_not_read_without_its_log_nor_by_a_check(
    store: Path,
) -> None:
    (store / "spool.db-shm").unlink()
    told = r"spool\.db cannot be opened: "
    for opener in (SpoolReader, Aging.beside):
        with nothing_can_be_written(), pytest.raises(SpoolError, match=f"{told}.*; try as the"):
            opener(store)
    Spool(store, 100 * MB).close()
    with nothing_can_be_written():
        with SpoolReader(store) as reader:  # a reader may, as nobody writes and there is no log
            reader.examine()
        with pytest.raises(SpoolError, match=told):
            SpoolReader(store, shared=True)


TRY = """
import sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=rw", uri=True, timeout=0)
db.execute("INSERT INTO fact VALUES ('b', '2')")
db.commit()
"""


@pytest.mark.slow  # starts processes
def test_nobody_opens_a_store_while_its_files_get_other_names(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store / "spool.db-wal").write_bytes(b"noise" * 2000)
    told: list[str] = []
    rename = Path.rename

    def watched(path: Path, target: Path) -> Path:
        if "damaged" in str(target):
            command = [sys.executable, "-c", TRY, str(store / "spool.db")]
            told.append(subprocess.run(command, capture_output=True, text=True).stderr)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", watched)
    with Spool(store, 100 * MB) as spool:
        assert "b" not in spool.facts()
    assert len(told) == 3
    assert all("database is locked" in each for each in told)
