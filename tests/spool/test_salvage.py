"""A damaged store: what can be read is kept, the rest is counted, and the agent goes on."""

import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.settings import Age
from pipeline.spool import (
    Batch,
    Fact,
    Refusal,
    Spool,
    SpoolError,
    SpoolReader,
    drop_rejected,
)
from tests.clocks import ManualClock
from tests.spool.stores import (
    MB,
    NOW,
    PAGE,
    account,
    aside,
    filled,
    history,
    killed,
    killed_at,
    leased,
    lines,
    reading,
    salvaged,
    scribble,
    sql,
)

pytestmark = pytest.mark.slow  # much to write, and to break

STAMP = "20231114T221320Z"


def blocks(*numbers: int) -> list[str]:
    return ["".join(f"{line}\n" for line in reading(number)) for number in numbers]


def opened(directory: Path, max_bytes: int = 100 * MB) -> Spool:
    return salvaged(Spool(directory, max_bytes, ManualClock(NOW)))


def leaf_of(directory: Path, table: str) -> int:
    """The number of the first page of a table that holds rows."""
    with sqlite3.connect(directory / "spool.db") as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,))
    db.close()
    data = (directory / "spool.db").read_bytes()
    number = int(root[0])
    while data[(number - 1) * PAGE] in (2, 5):  # an interior page: to its first child
        page = data[(number - 1) * PAGE : number * PAGE]
        cell = int.from_bytes(page[12:14], "big")
        number = int.from_bytes(page[cell : cell + 4], "big")
    return number


def test_noise_in_the_middle_costs_what_it_hit_and_is_told_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path)
    scribble(tmp_path / "spool.db", (leaf_of(tmp_path, "tick") - 1) * PAGE, 8 * PAGE)
    with opened(tmp_path) as spool:
        after = spool.contents()
        told = spool.facts()[Fact.SALVAGE]
    account(after)
    kept = history(tmp_path)
    assert 30 < len(kept) < 60
    assert set(kept) < set(blocks(*range(60)))
    assert after.points == 180
    assert after.lost.get("corrupt_store", 0) + after.backlog_points + after.delivered_points == 180
    assert f"saved {len(kept)} readings ({3 * len(kept)} points" in told
    assert f"lost {after.lost.get('corrupt_store', 0)} points that waited" in told
    assert f"the damaged file is spool.db.corrupt-{STAMP}" in told
    assert aside(tmp_path) == [f"spool.db.corrupt-{STAMP}"]
    assert told in caplog.messages


def test_a_damaged_page_above_the_readings_costs_none(tmp_path: Path) -> None:
    filled(tmp_path)
    with sqlite3.connect(tmp_path / "spool.db") as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'tick'").fetchone()
    db.close()
    assert (tmp_path / "spool.db").read_bytes()[(root - 1) * PAGE] == 5  # an interior page
    scribble(tmp_path / "spool.db", (root - 1) * PAGE, PAGE)
    with opened(tmp_path) as spool:
        after = spool.contents()
        assert spool.facts()["a"] == "1"
    assert history(tmp_path) == blocks(*range(60))
    assert (after.ticks, after.points, after.delivered_points) == (60, 180, 60)
    assert (after.backlog_points, after.lost) == (120, {})


def test_what_cannot_be_told_delivered_from_waiting_is_sent_again_and_counted_once(
    tmp_path: Path,
) -> None:
    filled(tmp_path)
    scribble(tmp_path / "spool.db", (leaf_of(tmp_path, "pending") - 1) * PAGE, PAGE)
    with opened(tmp_path) as spool:
        after = spool.contents()
    assert (after.points, after.backlog_points, after.delivered_points) == (180, 180, 0)
    assert after.lost == {}


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_file_costs_what_was_cut_off(tmp_path: Path, keep: float) -> None:
    filled(tmp_path)
    path = tmp_path / "spool.db"
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * keep) // PAGE * PAGE + 100)
    with opened(tmp_path) as spool:
        account(spool.contents())
        spool.append(reading(60), 60)
        assert lines(leased(spool, newest=True)) == reading(60)
    kept = history(tmp_path)
    assert set(kept) <= set(blocks(*range(61)))
    assert keep < 0.5 or len(kept) > 20
    assert aside(tmp_path) == [f"spool.db.corrupt-{STAMP}"]


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


@pytest.mark.parametrize(("offset", "size"), [(0, 100), (0, 16), (16, 2), (60, 4), (0, PAGE)])
def test_a_broken_header_costs_nothing(tmp_path: Path, offset: int, size: int) -> None:
    filled(tmp_path)
    scribble(tmp_path / "spool.db", offset, size, seed=3)
    with opened(tmp_path) as spool:
        after = spool.contents()
    assert (after.points, after.delivered_points, after.backlog_points) == (180, 60, 120)
    assert after.lost == {}
    assert history(tmp_path) == blocks(*range(60))


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


@pytest.mark.parametrize("main", ["missing", "empty", "noise in its header"])
def test_a_leftover_log_is_read_though_the_main_file_is_broken(tmp_path: Path, main: str) -> None:
    filled(tmp_path)
    abandoned(tmp_path)
    path = tmp_path / "spool.db"
    if main == "missing":
        path.unlink()
    elif main == "empty":
        path.write_bytes(b"")
    else:
        scribble(path, 0, 100)
    with opened(tmp_path) as spool:
        after = spool.contents()
        account(after)
        # The newest readings are in the log; and so are the counters, which know of the others.
        assert lines(leased(spool, newest=True)) == reading(67)
    kept = history(tmp_path)
    assert set(kept) >= set(blocks(*range(62, 68)))
    assert after.points == 204
    if main == "noise in its header":
        assert kept == blocks(*range(68))
        assert after.lost == {}
    assert (
        tmp_path / f"{aside(tmp_path)[0].removesuffix('-shm').removesuffix('-wal')}-wal"
    ).exists()


def test_a_leftover_log_of_a_whole_file_is_no_damage(tmp_path: Path) -> None:
    filled(tmp_path)
    abandoned(tmp_path)
    with opened(tmp_path) as spool:
        assert spool.contents().points == 204
    assert aside(tmp_path) == []


@pytest.mark.parametrize(
    ("where", "size", "most_lost"),
    [(0.5, 200, 6), (0, 32, 0), (0, 40, 6)],
    ids=["middle", "header", "header-and-first-page-number"],
)
def test_noise_in_the_log_loses_no_commit_after_it(
    tmp_path: Path, where: float, size: int, most_lost: int
) -> None:
    filled(tmp_path)
    abandoned(tmp_path)
    log = tmp_path / "spool.db-wal"
    # SQLite itself would forget all from there on, without a word.
    scribble(log, int(log.stat().st_size * where), size)
    with opened(tmp_path) as spool:
        after = spool.contents()
        assert "its write-ahead log is damaged" in spool.facts()[Fact.SALVAGE]
        assert lines(leased(spool, newest=True)) == reading(67)
    account(after)
    assert after.points == 204
    assert after.lost.get("corrupt_store", 0) <= most_lost
    assert most_lost or history(tmp_path) == blocks(*range(68))


@pytest.mark.parametrize("cut", [1, 5000, 20_000])
def test_a_log_whose_end_is_missing_is_no_damage_for_it_was_not_committed(
    tmp_path: Path, cut: int
) -> None:
    filled(tmp_path)
    abandoned(tmp_path)
    log = tmp_path / "spool.db-wal"
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - cut)
    with opened(tmp_path) as spool:
        account(spool.contents())
        assert Fact.SALVAGE not in spool.facts()


def test_refused_lines_facts_and_losses_are_salvaged_too(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.append(["m f=1i 1", "m f=2i 1"], 1, {"tick_missed": 4})
        spool.queue().settle(leased(spool), NOW, [Refusal("m f=1i 1", "no")])
        spool.append(["m f=3i 3"], 3)
        before = spool.contents()
    scribble(tmp_path / "spool.db", 0, 100)
    with opened(tmp_path) as spool:
        assert spool.contents() == before
        with SpoolReader(tmp_path) as reader:
            (refused,) = reader.rejected(9)
    assert (refused.time_ns, refused.reason, refused.line) == (NOW, "no", "m f=1i 1")


def test_no_id_comes_back_after_a_salvage(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.append(["m f=1i 1"], 1)
        batch = leased(spool)
        spool.aging.remove(0, 2, count=True)
    scribble(tmp_path / "spool.db", 0, PAGE)
    with opened(tmp_path) as spool:
        spool.append(["m f=2i 2"], 2)
        spool.queue().settle(batch, NOW)
        assert lines(leased(spool)) == ["m f=2i 2"]


def test_no_id_of_a_refused_line_comes_back_after_a_salvage(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.append(["m f=1i 1", "m f=2i 1"], 1)
        spool.queue().settle(
            leased(spool), NOW, [Refusal("m f=1i 1", "no"), Refusal("m f=2i 1", "no")]
        )
        drop_rejected(tmp_path, [2])
    scribble(tmp_path / "spool.db", 0, 100)
    with opened(tmp_path) as spool, SpoolReader(tmp_path) as reader:
        assert spool.contents().rejected_points == 1
        spool.append(["m f=3i 3"], 3)
        spool.queue().settle(leased(spool), NOW, [Refusal("m f=3i 3", "no")])
        newer, older = reader.rejected(9)
    assert older.id == 1
    assert newer.id > 2


def test_without_its_counters_the_account_begins_anew_and_says_so(tmp_path: Path) -> None:
    filled(tmp_path)
    scribble(tmp_path / "spool.db", (leaf_of(tmp_path, "counter") - 1) * PAGE, PAGE)
    with opened(tmp_path) as spool:
        after = spool.contents()
        assert "lost at least 0 points: how many waited" in spool.facts()[Fact.SALVAGE]
    account(after)
    assert (after.ticks, after.points, after.backlog_points) == (60, 180, 180)


@pytest.mark.parametrize(
    ("table", "use"),
    [
        ("counter", lambda spool, _: spool.append(reading(200), 200)),
        ("pending", lambda spool, _: spool.queue().lease(9)),
        ("pending", lambda spool, batch: spool.queue().settle(batch, NOW)),
        ("pending", lambda spool, _: spool.queue().give_up(9)),
        ("pending", lambda spool, _: spool.restamp(range(9), 9, 1)),
        ("fact", lambda spool, _: spool.note({"b": "2"})),
        ("fact", lambda spool, _: spool.facts()),
        ("gap", lambda spool, _: spool.gaps()),
        ("counter", lambda spool, _: spool.contents()),
        ("tick_time", lambda spool, _: spool.has(1)),
        ("tick_time", lambda spool, _: spool.aging.oldest(0, 1)),
        ("tick", lambda spool, _: spool.aging.remove(0, 150, Age(1, "m"), count=True)),
        ("tick", lambda spool, _: spool.check()),
    ],
    ids=[
        *("append", "lease", "settle", "give_up", "restamp", "note", "facts", "gaps", "contents"),
        *("has", "oldest", "remove", "check"),
    ],
)
def test_damage_that_is_found_while_running_is_mended_without_a_restart(
    tmp_path: Path,
    table: str,
    use: Callable[[Spool, Batch], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    filled(tmp_path, ticks=200, delivered=0)
    with opened(tmp_path) as spool:
        batch = leased(spool, 300)
        with spool._database.connection() as db:  # so that it reads the file, and not its memory
            db.execute("PRAGMA cache_size = 0")
            db.execute("PRAGMA shrink_memory")
        scribble(tmp_path / "spool.db", (leaf_of(tmp_path, table) - 1) * PAGE, PAGE)
        use(spool, batch)
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


def test_a_damaged_reading_costs_itself_and_holds_back_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as spool:
        for number in range(5):
            spool.append(reading(number), number)
        cut = "UPDATE tick SET lines = substr(lines, 1, 200) || x'00' WHERE time_ns = 1"
        sql(tmp_path, cut)  # which makes a text of it
        sql(tmp_path, "UPDATE tick SET lines = zeroblob(length(lines)) WHERE time_ns IN (3, 4)")
        with SpoolReader(tmp_path) as reader:
            assert list(reader.history(0)) == blocks(0, 2)
        assert caplog.messages == [f"3 readings in {tmp_path}/spool.db are damaged and left out"]
        with SpoolReader(tmp_path) as reader:
            assert list(reader.history(0, 3)) == blocks(0, 2)  # of 0, 2 and 4
        caplog.clear()
        assert lines(leased(spool, newest=True)) == reading(2)
        assert lines(leased(spool)) == reading(0) + reading(2)
        assert caplog.messages == [f"{tmp_path}/spool.db was damaged, 6 points in it are lost"]
        assert spool.contents().lost == {"corrupt_store": 9}
        spool.queue().settle(leased(spool), NOW)
        after = spool.contents()
    assert (after.delivered_points, after.backlog_points) == (6, 0)
    assert after.lost == {"corrupt_store": 9}
    account(after)


def test_the_newest_readings_may_be_damaged_in_any_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as spool:
        for number in range(500):
            spool.append([f"m f={number}i {number}"], number)
        sql(tmp_path, "UPDATE tick SET lines = x'00' WHERE time_ns > 3")
        assert lines(leased(spool, newest=True)) == ["m f=3i 3"]
        assert spool.contents().lost == {"corrupt_store": 496}
        assert len(caplog.messages) == 1


def test_where_all_that_waits_is_damaged_nothing_waits_any_more(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.append(reading(0), 0)
        sql(tmp_path, "UPDATE tick SET lines = x'00'")
        assert spool.queue().lease(100) is None
        assert spool.contents().lost == {"corrupt_store": 3}


def test_damaged_files_do_not_pile_up(tmp_path: Path) -> None:
    filled(tmp_path, ticks=3, delivered=0)
    for hour in (3, 1, 5, 2, 4):  # the clock is set, now and then
        scribble(tmp_path / "spool.db", 0, 100)
        salvaged(Spool(tmp_path, MB, ManualClock(NOW + hour * 3600 * 10**9))).close()
    assert len(aside(tmp_path)) == 3
    assert "spool.db.corrupt-20231115T021320Z" in aside(tmp_path)  # the last one made
    assert history(tmp_path) == blocks(0, 1, 2)


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    foreign = sqlite3.connect(path)
    foreign.executescript("CREATE TABLE theirs (x); PRAGMA user_version = 1;")
    foreign.close()
    before = path.read_bytes()
    for use in (opened, SpoolReader):
        with pytest.raises(SpoolError, match=r"spool\.db is another program's database; move it"):
            use(tmp_path)
    assert path.read_bytes() == before


def test_a_newer_format_is_left_alone_even_when_it_is_damaged(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "spool.db"
    with path.open("r+b") as file:
        file.seek(60)
        file.write((99).to_bytes(4, "big"))
    for damage in (0, 20 * PAGE):
        scribble(path, 10 * PAGE, damage)
        before = path.read_bytes()
        with pytest.raises(SpoolError, match="has format 99, this version reads"):
            opened(tmp_path)
        assert path.read_bytes() == before
        assert aside(tmp_path) == []
    with pytest.raises(SpoolError, match="has format 99"):
        SpoolReader(tmp_path)


def test_a_reader_of_a_damaged_store_says_so_in_a_sentence(tmp_path: Path) -> None:
    filled(tmp_path)
    scribble(tmp_path / "spool.db", 0, 100)
    with pytest.raises(
        SpoolError, match=r"spool\.db is damaged \(file is not a database\); the agent"
    ):
        SpoolReader(tmp_path)


def test_a_salvage_that_is_killed_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    filled(origin, ticks=6, delivered=2)
    abandoned(origin, ticks=2)
    scribble(origin / "spool.db", 0, 100)
    moment, killings = 1, 0
    while True:
        folder = tmp_path / str(moment)
        shutil.copytree(origin, folder)
        if not killed_at(moment, partial(opened, folder)):
            break
        killings += 1
        # A reader in the midst of it says that there is nothing, or what there is; and the agent
        # that comes next may be killed as well.
        killed_at(moment // 2 + 1, partial(opened, folder))
        with opened(folder) as spool:
            after = spool.contents()
            account(after)
            assert (after.points, after.delivered_points, after.lost) == (24, 6, {}), moment
        assert history(folder) == blocks(*range(6), 60, 61), moment
        assert not [*folder.glob("*.new"), *folder.glob("*.salvaged-*")]
        shutil.rmtree(folder)
        moment += max(1, moment // 12)
    assert killings > 40


def test_what_aged_without_an_influxdb_is_no_noise_in_the_account(tmp_path: Path) -> None:
    filled(tmp_path, ticks=9, delivered=0)
    with opened(tmp_path) as spool:
        assert spool.aging.remove(0, 4, count=False) == 12
        before = spool.contents()
    scribble(tmp_path / "spool.db", 0, 100)
    with opened(tmp_path) as spool:
        after = spool.contents()
    assert (after.points, after.backlog_points, after.lost) == (27, 15, {})
    assert (after.points, after.delivered_points) == (before.points, before.delivered_points)


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
    if log:
        abandoned(folder, ticks=4)
    path = folder / ("spool.db-wal" if log and cut % 2 else "spool.db")
    size = path.stat().st_size
    for offset, length in noise:
        scribble(path, offset % size, length, seed=offset)
    if cut % 3 == 0:
        with path.open("r+b") as file:
            file.truncate(cut % size)
    with opened(folder) as spool:
        account(spool.contents())
        spool.append(["m f=1i 99"], 99)
        assert lines(leased(spool, newest=True)) == ["m f=1i 99"]
        while (batch := spool.queue().lease(1000)) is not None:
            spool.queue().settle(batch, NOW)
        account(spool.contents())
        spool.check()
    kept = history(folder)
    assert set(kept) <= {*blocks(*range(20), *range(60, 64)), "m f=1i 99\n"}
    assert len(set(kept)) == len(kept)
