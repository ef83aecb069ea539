"""A store that is not whole: nobody opens it before its agent, which finds all that is left."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.spool import Aging, DirectoryLock, Spool, SpoolError, SpoolReader
from tests.spool.stores import MB, account, contents, history, killed, reading, salvaged

READINGS = 15
OPENERS = [SpoolReader, Aging.beside]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store whose readings are all in its log, as a power cut leaves it."""

    def work() -> None:
        spool = Spool(tmp_path, 100 * MB)
        for number in range(READINGS):
            spool.append(reading(number, points=1), number)

    killed(work)
    return tmp_path


def empty(directory: Path) -> None:
    (directory / "spool.db").write_bytes(b"")


def missing(directory: Path) -> None:
    (directory / "spool.db").unlink()


def header(directory: Path) -> None:
    with (directory / "spool.db").open("r+b") as file:
        file.write(bytes(100))


def flipped_bit(directory: Path) -> None:
    log = directory / "spool.db-wal"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)


def files(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.glob("spool.db*")}


each_opener = pytest.mark.parametrize("opener", OPENERS, ids=["reader", "aging"])


@each_opener
def test_where_there_is_no_store_there_is_none_to_open(
    tmp_path: Path, opener: Callable[[Path], object]
) -> None:
    with pytest.raises(FileNotFoundError):
        opener(tmp_path)
    assert list(tmp_path.iterdir()) == []


@each_opener
@pytest.mark.parametrize(
    ("damage", "why", "lost"),
    [
        (empty, "it is empty", 0),
        (missing, "it is missing, but not its write-ahead log", 0),
        (header, "file is not a database", 0),
        (flipped_bit, "its write-ahead log is damaged", 4),
    ],
)
def test_a_command_leaves_a_damaged_store_to_the_agent(
    store: Path,
    opener: Callable[[Path], object],
    damage: Callable[[Path], None],
    why: str,
    lost: int,
) -> None:
    damage(store)
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
    empty(store)
    before = files(store)
    lock = DirectoryLock(store, SystemClock())
    with pytest.raises(SpoolError, match="it is empty, but not its write-ahead log"):
        opener(store)
    lock.release()
    assert files(store) == before


@each_opener
def test_an_interrupted_salvage_is_left_to_the_agent(
    store: Path, opener: Callable[[Path], object]
) -> None:
    Spool(store, 100 * MB).close()
    (store / "spool.db").rename(store / "spool.db.salvaged-20231114T221320Z")
    with sqlite3.connect(store / "spool.db") as old:
        old.execute("CREATE TABLE damaged (x)")
    old.close()
    with pytest.raises(SpoolError, match="its salvage was interrupted"):
        opener(store)
    Spool(store, 100 * MB).close()
    assert len(history(store)) == READINGS


@each_opener
def test_a_whole_store_opens_with_the_log_that_a_killed_agent_left(
    store: Path, opener: Callable[[Path], SpoolReader | Aging]
) -> None:
    with opener(store):
        pass
    assert len(history(store)) == READINGS
