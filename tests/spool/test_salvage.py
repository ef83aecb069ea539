"""A damaged store: what can be read is kept, the rest is counted, and the agent goes on."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.spool import MAIN, Fact, Spool, SpoolReader
from tests.clocks import ManualClock
from tests.spool.stores import (
    MB,
    NOW,
    PAGE,
    USES,
    account,
    aside,
    blocks,
    filled,
    history,
    killed,
    leaf_of,
    leased,
    lines,
    reading,
    salvaged,
    scribble,
    served,
    sql,
)

pytestmark = pytest.mark.slow  # much to write, and to break

STAMP = "20231114T221320Z"


def opened(directory: Path, max_bytes: int = 100 * MB) -> Spool:
    return salvaged(Spool(directory, max_bytes, ManualClock(NOW)))


def noise(directory: Path) -> None:
    scribble(directory / "spool.db", (leaf_of(directory, "tick") - 1) * PAGE, 8 * PAGE)


def cut_off(directory: Path) -> None:
    path = directory / "spool.db"
    os.truncate(path, int(path.stat().st_size * 0.7) // PAGE * PAGE + 100)


@pytest.mark.parametrize("damage", [noise, cut_off])
def test_what_can_be_read_is_kept_and_the_rest_is_told_and_counted(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path)
    damage(tmp_path)
    with opened(tmp_path) as spool:
        after = spool.contents()
        told = spool.facts()[Fact.SALVAGE]
    account(after)
    kept = history(tmp_path)
    assert 20 < len(kept) < 60
    assert set(kept) < set(blocks(*range(60)))
    assert after.points == 180
    assert f"saved {len(kept)} readings ({3 * len(kept)} points" in told
    assert f"lost {after.lost.get('corrupt_store', 0)} points that waited" in told
    assert f"the damaged file is spool.db.corrupt-{STAMP}" in told
    assert aside(tmp_path) == [f"spool.db.corrupt-{STAMP}"]
    assert told in caplog.messages


def test_damaged_pages_above_the_readings_cost_none(tmp_path: Path) -> None:
    filled(tmp_path)
    ((root,),) = sql(tmp_path, "SELECT rootpage FROM sqlite_schema WHERE name = 'tick'")
    assert (tmp_path / "spool.db").read_bytes()[(root - 1) * PAGE] == 5  # an interior page
    for page in (1, root):
        scribble(tmp_path / "spool.db", (page - 1) * PAGE, PAGE)
    with opened(tmp_path) as spool:
        after = spool.contents()
        assert spool.facts()["a"] == "1"
    assert history(tmp_path) == blocks(*range(60))
    assert (after.ticks, after.points, after.delivered_points) == (60, 180, 60)
    assert (after.backlog_points, after.lost) == (120, {})


@pytest.mark.parametrize(
    ("table", "told"),
    [("pending", "lost 0 points that waited"), ("counter", "lost at least 0 points: how many")],
)
def test_what_cannot_be_told_delivered_from_waiting_is_sent_again_and_counted_once(
    tmp_path: Path, table: str, told: str
) -> None:
    filled(tmp_path)
    scribble(tmp_path / "spool.db", (leaf_of(tmp_path, table) - 1) * PAGE, PAGE)
    with opened(tmp_path) as spool:
        after = spool.contents()
        assert told in spool.facts()[Fact.SALVAGE]
    assert (after.ticks, after.points, after.backlog_points) == (60, 180, 180)
    assert (after.delivered_points, after.lost) == (0, {})


def test_an_empty_file_and_one_that_is_no_database_go_aside(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    for number, content in enumerate((b"", b"a letter to the editor" * 100), 1):
        path.write_bytes(content)
        with opened(tmp_path) as spool:
            spool.append(["m f=1i 1"], 1)
            assert "lost at least 0 points" in spool.facts()[Fact.SALVAGE]
        assert len(aside(tmp_path)) == number
        assert (tmp_path / aside(tmp_path)[-1]).read_bytes() == content
    # The second moment is the same as the first: nothing is overwritten.
    assert aside(tmp_path) == [f"spool.db.corrupt-{STAMP}", f"spool.db.corrupt-{STAMP}-2"]


@pytest.mark.parametrize("value", [0, 1, 255])
def test_no_byte_of_the_header_can_keep_the_store_shut(tmp_path: Path, value: int) -> None:
    filled(tmp_path, ticks=5, delivered=2)
    path = tmp_path / "spool.db"
    whole = path.read_bytes()
    for offset in range(100):
        path.write_bytes(whole[:offset] + bytes([value]) + whole[offset + 1 :])
        with opened(tmp_path) as spool:
            after = spool.contents()
            spool.append(reading(5), 5)
            assert lines(leased(spool, newest=True)) == reading(5)
        assert (after.points, after.delivered_points, after.lost) == (15, 6, {}), offset


def abandoned(directory: Path, ticks: int = 8) -> None:
    """Leave a store behind as a process does that is killed: with its log."""

    def work() -> None:
        spool = opened(directory)
        for number in range(60, 60 + ticks):
            spool.append(reading(number), number)

    killed(work)
    assert (directory / "spool.db-wal").stat().st_size > 0


@pytest.mark.parametrize(
    ("damage", "told", "most_lost"),
    [
        (lambda store, _: store.unlink(), "it is missing, but not its write-ahead log", 180),
        (lambda store, _: store.write_bytes(b""), "it is empty", 180),
        (lambda store, _: scribble(store, 0, 100), "file is not a database", 0),
        # SQLite itself would forget all from there on, without a word.
        (lambda _, log: scribble(log, log.stat().st_size // 2, 200), "log is damaged", 6),
        (lambda _, log: scribble(log, 0, 32), "log is damaged", 0),
        (lambda _, log: scribble(log, 0, 40), "log is damaged", 6),
    ],
    ids=["missing", "empty", "header", "log", "its header", "its header and first page number"],
)
def test_a_leftover_log_is_read_whatever_is_broken_in_it_or_beside_it(
    tmp_path: Path, damage: Callable[[Path, Path], object], told: str, most_lost: int
) -> None:
    filled(tmp_path)
    abandoned(tmp_path)
    damage(tmp_path / "spool.db", tmp_path / "spool.db-wal")
    with opened(tmp_path) as spool:
        after = spool.contents()
        assert told in spool.facts()[Fact.SALVAGE]
        # The newest readings are in the log; and so are the counters, which know of the others.
        assert lines(leased(spool, newest=True)) == reading(67)
    account(after)
    assert after.points == 204
    assert after.lost.get("corrupt_store", 0) <= most_lost
    kept = history(tmp_path)
    assert len(set(kept).intersection(blocks(*range(60, 68)))) >= 6
    assert most_lost or kept == blocks(*range(68))
    assert any(name.endswith("-wal") for name in aside(tmp_path))


@pytest.mark.parametrize("cut", [0, 1, 5000, 20_000])
def test_a_log_whose_end_is_missing_is_no_damage_for_it_was_not_committed(
    tmp_path: Path, cut: int
) -> None:
    filled(tmp_path)
    abandoned(tmp_path)
    log = tmp_path / "spool.db-wal"
    os.truncate(log, log.stat().st_size - cut)
    with opened(tmp_path) as spool:
        account(spool.contents())
        assert cut or spool.contents().points == 204
    assert aside(tmp_path) == []


@pytest.mark.parametrize(
    ("table", "use"),
    [each for each in USES.values() if each[0]],
    ids=[n for n in USES if USES[n][0]],
)
def test_damage_that_is_found_while_running_is_mended_without_a_restart(
    tmp_path: Path,
    table: str,
    use: Callable[[Spool], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    filled(tmp_path, ticks=200, delivered=0)
    with opened(tmp_path) as spool:
        with spool._database.connection() as db:  # so that it reads the file, and not its memory
            db.execute("PRAGMA cache_size = 0")
            db.execute("PRAGMA shrink_memory")
        scribble(tmp_path / "spool.db", (leaf_of(tmp_path, table) - 1) * PAGE, PAGE)
        use(spool)
        salvaged(spool)
        assert len([m for m in caplog.messages if "was damaged" in m]) == 1
        spool.append(reading(999), 999)
        assert lines(leased(spool, newest=True)) == reading(999)
        account(spool.contents())
        spool.check()
    assert len(aside(tmp_path)) == 1


def test_a_spool_that_was_closed_while_it_was_checked_leaves_its_store_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path, ticks=200, delivered=0)
    spool = opened(tmp_path)
    scribble(tmp_path / "spool.db", (leaf_of(tmp_path, "tick") - 1) * PAGE, PAGE)
    examine = SpoolReader.examine

    def stopped(reader: SpoolReader) -> None:
        spool.close()
        examine(reader)

    monkeypatch.setattr(SpoolReader, "examine", stopped)
    spool.check()
    assert aside(tmp_path) == []


def test_the_history_leaves_out_what_is_damaged_and_the_log_says_how_much(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path, ticks=5, delivered=0)
    cut = "UPDATE tick SET lines = substr(lines, 1, 200) || x'00' WHERE time_ns = 1"
    sql(tmp_path, cut)  # which makes a text of it
    sql(tmp_path, "UPDATE tick SET lines = zeroblob(length(lines)) WHERE time_ns IN (3, 4)")
    with SpoolReader(tmp_path) as reader:
        assert list(reader.history(0)) == blocks(0, 2)
        assert list(reader.history(0, 3)) == blocks(0, 2)  # of 0, 2 and 4
    assert caplog.messages == [f"3 readings in {tmp_path}/spool.db are damaged and left out"]


def test_a_reading_that_only_a_damaged_index_has_is_left_out(tmp_path: Path) -> None:
    filled(tmp_path, ticks=6, delivered=0)

    def alter(schema: str) -> None:
        with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
            db.execute("PRAGMA writable_schema = ON")
            db.execute(f"UPDATE sqlite_schema SET sql = {schema} WHERE name = 'tick_time'")  # noqa: S608  # below
            db.commit()

    alter("sql || ' WHERE time_ns <> 3'")
    sql(tmp_path, "DELETE FROM tick WHERE time_ns = 3")
    alter("replace(sql, ' WHERE time_ns <> 3', '')")
    with SpoolReader(tmp_path) as reader:
        assert list(reader.history(0, 3)) == blocks(1, 5)


def test_damaged_files_do_not_pile_up(tmp_path: Path) -> None:
    filled(tmp_path, ticks=3, delivered=0)
    for hour in (3, 1, 5, 2, 4):  # the clock is set, now and then
        scribble(tmp_path / "spool.db", 0, 100)
        salvaged(Spool(tmp_path, MB, ManualClock(NOW + hour * 3600 * 10**9))).close()
    assert len(aside(tmp_path)) == 3
    assert "spool.db.corrupt-20231115T021320Z" in aside(tmp_path)  # the last one made
    assert history(tmp_path) == blocks(0, 1, 2)


def test_where_no_reading_is_found_all_that_waited_is_lost(tmp_path: Path) -> None:
    filled(tmp_path)
    sql(tmp_path, "DELETE FROM tick")
    scribble(tmp_path / "spool.db", 0, 100)
    with opened(tmp_path) as spool:
        assert spool.contents().lost == {"corrupt_store": 120}
        assert spool.gaps() == []  # there is no time that it could have
        account(spool.contents())


@pytest.mark.parametrize("name", ["waiting", "delivered", "ticks", "lost:corrupt_store"])
def test_a_counter_that_noise_made_huge_is_not_believed(tmp_path: Path, name: str) -> None:
    filled(tmp_path, ticks=9, delivered=3)
    sql(tmp_path, "INSERT OR REPLACE INTO counter VALUES ('main', ?, ?)", name, 2**63 - 1)
    scribble(tmp_path / "spool.db", 0, 100)
    with opened(tmp_path) as spool:
        account(spool.contents())
        assert spool.contents().points < 100


@given(
    noise=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 3000)), max_size=4),
    cut=st.integers(0, 10**6),
    log=st.booleans(),
)
@example(noise=[(2936, 1)], cut=1, log=False)  # a byte of the schema's own text
@example(noise=[(0, 1), (524_287, 1)], cut=1, log=False)  # of the header, and of a counter
@settings(max_examples=25)
def test_whatever_is_broken_the_store_opens_and_adds_up(
    noise: list[tuple[int, int]], cut: int, log: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")
    filled(folder, ticks=20, delivered=5)
    with served(opened(folder), "b") as spool:
        spool.queue("b").settle(leased(spool, 15, server="b"), NOW)
    if log:
        abandoned(folder, ticks=4)
    path = folder / ("spool.db-wal" if log and cut % 2 else "spool.db")
    size = path.stat().st_size
    for offset, length in noise:
        scribble(path, offset % size, length, seed=offset)
    if cut % 3 == 0:
        os.truncate(path, cut % size)
    with served(opened(folder), "b") as spool:
        spool.append(["m f=1i 99"], 99)
        for server in (MAIN, "b"):
            account(spool.queue(server).contents())
            assert lines(leased(spool, newest=True, server=server)) == ["m f=1i 99"]
            while (batch := spool.queue(server).lease(1000)) is not None:
                spool.queue(server).settle(batch, NOW)
            account(spool.queue(server).contents())
            assert spool.queue(server).contents().backlog_points == 0
        spool.check()
    kept = history(folder)
    assert set(kept) <= {*blocks(*range(20), *range(60, 64)), "m f=1i 99\n"}
    assert len(set(kept)) == len(kept)
