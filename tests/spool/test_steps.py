"""A salvage goes beside readings, in steps: each may be the last one of its process."""

from pathlib import Path

import pytest

from pipeline.spool import MAIN, Fact, Refusal, Rejected, Spool, SpoolReader, drop_rejected
from tests.clocks import ManualClock
from tests.spool.stores import (
    FILES,
    MB,
    NOW,
    PAGE,
    account,
    aside,
    blocks,
    contents,
    filled,
    history,
    leaf_of,
    leased,
    lines,
    reading,
    remove,
    salvaged,
    scribble,
    served,
    sql,
)

pytestmark = pytest.mark.slow  # much to write, and to break

TICKS, DELIVERED, MIRRORED, NEW = 200, 50, 30, 1000


def opened(directory: Path) -> Spool:
    return Spool(directory, 100 * MB, ManualClock(NOW))


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A store without its header, all of which can be read; a mirror got other readings."""
    filled(tmp_path, TICKS, DELIVERED)
    with served(opened(tmp_path), "b") as spool:
        spool.queue("b").settle(leased(spool, 3 * MIRRORED, server="b"), NOW)
        spool.queue("b").note({"bucket_drift": "a drift"})
    scribble(tmp_path / "spool.db", 0, 100)
    return tmp_path


def is_over(spool: Spool) -> bool:
    """Take one step; tell whether there was none left."""
    return next(spool.salvage(), True) is True


@pytest.mark.parametrize("restarts", [False, True])
def test_readings_go_on_between_the_steps_and_the_account_is_exact_after_each(
    broken: Path, restarts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    spool, number = opened(broken), NEW
    while spool.salvaging:
        spool.append(reading(number), number)
        assert lines(leased(spool, newest=True)) == reading(number)
        number += 1
        if not is_over(spool):
            assert f"{broken}/spool.db was damaged" in spool.facts()[Fact.SALVAGE]
        found = contents(broken)  # as a command sees it
        account(found)
        assert found.backlog_points >= 3 * (number - NEW)
        if restarts:
            spool.close()
            spool = opened(broken)
    with spool:
        after, there = spool.contents(), spool.queue("b").contents()
        assert spool.queue("b").facts() == {"bucket_drift": "a drift"}
    assert number - NEW > 4
    assert history(broken) == blocks(*range(TICKS), *range(NEW, number))
    assert (after.ticks, after.points) == (TICKS + number - NEW, 3 * (TICKS + number - NEW))
    assert (after.delivered_points, after.lost) == (3 * DELIVERED, {})
    account(there)
    assert (there.points, there.delivered_points, there.lost) == (after.points, 3 * MIRRORED, {})
    assert [m for m in caplog.messages if "saved" in m] == [
        f"{broken}/spool.db was damaged (file is not a database), 2023-11-14T22:13:20Z: saved "
        f"{TICKS} readings ({3 * TICKS} points, {3 * (TICKS - DELIVERED)} of them to be "
        f"delivered), lost 0 points that waited; for mirror b {3 * (TICKS - MIRRORED)} points, "
        f"lost 0 points that waited; the damaged file is {aside(broken)[0]}"
    ]


def test_what_is_delivered_meanwhile_is_counted_once(broken: Path) -> None:
    with opened(broken) as spool:
        while spool.salvaging:
            is_over(spool)
            while (batch := spool.queue().lease(100)) is not None:
                spool.queue().settle(batch, NOW)
        after = spool.contents()
    account(after)
    assert (after.points, after.delivered_points, after.lost) == (3 * TICKS, 3 * TICKS, {})


def test_what_is_too_old_meanwhile_is_counted_once(broken: Path) -> None:
    with opened(broken) as spool:
        while spool.salvaging:
            is_over(spool)
            spool.aging.remove(0, 100, count=True)
            account(spool.contents())
        after = spool.contents()
    assert after.lost == {"expired": 3 * (100 - DELIVERED)}
    assert (after.points, after.delivered_points) == (3 * TICKS, 3 * DELIVERED)
    assert history(broken) == blocks(*range(100, TICKS))


@pytest.mark.parametrize("steps", [0, 1, 3, 5])
def test_a_store_that_is_damaged_while_it_is_filled_loses_nothing_that_can_be_read(
    broken: Path, steps: int
) -> None:
    with served(opened(broken), "b") as spool:
        for number in range(steps):
            spool.append(reading(NEW + number), NEW + number)
            is_over(spool)
    scribble(broken / "spool.db", 0, 100)
    with served(opened(broken), "b") as spool:
        is_over(spool)
        spool.append(reading(2 * NEW), 2 * NEW)
        salvaged(spool)
        after, there = spool.contents(), spool.queue("b").contents()
    account(after)
    account(there)
    assert history(broken) == blocks(*range(TICKS), *range(NEW, NEW + steps), 2 * NEW)
    assert (after.delivered_points, after.lost) == (3 * DELIVERED, {})
    assert (there.delivered_points, there.lost) == (3 * MIRRORED, {})
    assert after.points == there.points == 3 * (TICKS + steps + 1)
    assert len({name.removesuffix("-wal").removesuffix("-shm") for name in aside(broken)}) == 2


def lose_facts(directory: Path) -> None:
    """Damage a closed store, so that it must be salvaged, and its table `fact` is gone."""
    scribble(directory / "spool.db", (leaf_of(directory, "fact") - 1) * PAGE, PAGE)
    scribble(directory / "spool.db", 0, 100)


@pytest.mark.parametrize("steps", [2, 3])
def test_what_a_salvage_had_not_copied_is_lost_and_counted_if_its_progress_is_damaged_itself(
    broken: Path, steps: int
) -> None:
    with opened(broken) as spool:
        spool.append(reading(NEW), NEW)
        for _ in range(steps):
            is_over(spool)
        assert spool.salvaging
        waiting = spool.contents().backlog_points
        delivered = spool.contents().delivered_points
        ((expected,),) = sql(broken, "SELECT sum(points) FROM salvage WHERE server = 'main'")
    lose_facts(broken)
    with salvaged(opened(broken)) as spool:
        after, told, gaps = spool.contents(), spool.facts()[Fact.SALVAGE], spool.gaps()
    account(after)
    assert after.lost == {"corrupt_store": expected}
    assert expected > 0
    assert (after.delivered_points, after.backlog_points) == (delivered, waiting)
    assert {gap.cause for gap in gaps} == {"corrupt_store"}
    assert [gap.readings for gap in gaps if gap.server != "b"] == [expected // 3]
    assert aside(broken)[0] in told
    assert f"lost at least {expected} points that waited" in told
    with opened(broken) as spool:
        assert spool.contents() == after
        assert spool.facts()[Fact.SALVAGE] == told


def test_a_salvage_that_is_over_is_not_taken_for_one_whose_progress_is_damaged(
    broken: Path,
) -> None:
    with opened(broken) as spool:
        is_over(spool)
    scribble(broken / "spool.db", 0, 100)
    with opened(broken) as spool:
        while "saved" not in spool.facts()[Fact.SALVAGE]:  # the newer one ends first
            assert not is_over(spool)
        assert spool.salvaging
    with salvaged(opened(broken)) as spool:
        assert spool.contents().lost == {}
        assert "at least" not in spool.facts()[Fact.SALVAGE]
    assert sql(broken, "SELECT * FROM fact WHERE name GLOB 'salvage:*'") == []


def test_a_damaged_store_of_whose_salvage_nothing_is_known_is_told_once(broken: Path) -> None:
    with opened(broken) as spool:
        is_over(spool)
    (broken / "spool.db").unlink()
    for _ in range(2):
        with opened(broken) as spool:
            told = spool.facts()[Fact.SALVAGE]
            account(spool.contents())
    assert told.count("lost at least 0 points that waited") == 1
    assert aside(broken)[0] in told


def test_a_damaged_store_that_is_removed_before_it_is_read_counts_as_lost(broken: Path) -> None:
    with opened(broken) as spool:
        while spool.contents().delivered_points == 0:  # until what waits is known
            is_over(spool)
        for file in broken.glob("spool.db.damaged-*"):
            file.unlink()
        spool.append(reading(NEW), NEW)
    with salvaged(opened(broken)) as spool:
        after, there = spool.contents(), spool.queue("b").contents()
        lacking = {(gap.cause, gap.server): gap.readings for gap in spool.gaps()}
    account(after)
    assert after.points == 3 * (TICKS + 1)
    assert after.lost == {"corrupt_store": 3 * (TICKS - DELIVERED)}
    assert there.lost == {"corrupt_store": 3 * (TICKS - MIRRORED)}
    assert lacking == {
        ("corrupt_store", MAIN): TICKS - DELIVERED,
        ("corrupt_store", "b"): TICKS - MIRRORED,
    }


@pytest.mark.parametrize("done", [0, 2, 7])
def test_a_salvage_goes_on_though_the_store_that_it_fills_is_removed(
    broken: Path, done: int
) -> None:
    with opened(broken) as spool:
        for _ in range(done):
            is_over(spool)
        copied = spool.contents().backlog_points
        batch = spool.queue().lease(6)
        remove(broken, *FILES)
        spool.append(reading(NEW), NEW)
        if batch is not None:
            spool.queue().settle(batch, NOW)
        after = salvaged(spool).contents()
    account(after)
    assert after.points == 3 * (TICKS + 1)
    assert after.delivered_points == 3 * DELIVERED
    assert after.lost == ({"corrupt_store": copied} if copied else {})
    assert after.backlog_points == 3 * (TICKS + 1 - DELIVERED) - copied


def test_refused_lines_keep_their_ids_and_what_is_refused_meanwhile_gets_others(
    tmp_path: Path,
) -> None:
    filled(tmp_path, ticks=TICKS, delivered=0)
    with opened(tmp_path) as spool:
        spool.append([], 1, {"tick_missed": 4})
        batch = leased(spool, 6)
        spool.queue().settle(batch, NOW, [Refusal(line, "no") for line in lines(batch)])
        drop_rejected(tmp_path, [6])
        before, counted = rejected(tmp_path), spool.contents()
    scribble(tmp_path / "spool.db", 0, 100)
    with opened(tmp_path) as spool:
        spool.append(["m f=1i 1"], 1)
        spool.queue().settle(leased(spool, newest=True), NOW, [Refusal("m f=1i 1", "no")])
        after = salvaged(spool).contents()
        assert after.lost == {**counted.lost, "rejected": 7}
        assert (after.backlog_points, after.rejected_points) == (counted.backlog_points, 6)
    newest, *others = rejected(tmp_path)
    assert (newest.line, others) == ("m f=1i 1", before)
    assert newest.id > 6  # that of one which was dropped does not come back


def rejected(directory: Path) -> list[Rejected]:
    with SpoolReader(directory) as reader:
        return reader.rejected(99)


def test_what_names_readings_of_before_finds_these_and_no_others(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.append(["m f=1i 1"], 1)
        batch = leased(spool)
        with spool._database.connection() as db:  # so that it reads the file, and not its memory
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("PRAGMA cache_size = 0")
            db.execute("PRAGMA shrink_memory")
        scribble(tmp_path / "spool.db", 0, PAGE)
        spool.append(["m f=2i 2"], 2)
        assert spool.salvaging
        salvaged(spool)
        assert spool.restamp(range(batch.ids[0], spool.next_id), NOW, 5)[0] == 2
        assert lines(leased(spool)) == ["m f=1i 6", "m f=2i 7"]
        spool.queue().settle(batch, NOW)
        assert lines(leased(spool)) == ["m f=2i 7"]
