"""The queue of a server: what is leased, what became of it, and what is given up."""

import zlib
from pathlib import Path

import pytest

from pipeline.spool import Batch, Gap, Refusal, Spool, SpoolReader
from tests.clocks import ManualClock
from tests.spool.stores import (
    FILES,
    MB,
    NOW,
    account,
    history,
    leased,
    lines,
    many,
    remove,
    served,
    sql,
)


def test_a_batch_holds_whole_readings_up_to_its_size_as_one_gzip_member(spool: Spool) -> None:
    for tick in range(4):
        spool.append([f"m f={n}i {tick}" for n in range(2)] + [f'm s="ü" {tick}'], tick)
    batch = leased(spool, 7)
    member = zlib.decompressobj(31)
    text = "".join(f'm f=0i {tick}\nm f=1i {tick}\nm s="ü" {tick}\n' for tick in range(2))
    assert member.decompress(batch.body).decode() == text
    assert (member.eof, member.unused_data) == (True, b"")
    assert batch == Batch((1, 2), 6, batch.body, oldest_ns=0, more=True)
    assert leased(spool, 7) == batch  # until it is settled
    assert leased(spool, 1).ids == (1,)  # one that is larger comes alone
    following = spool.queue().lease(7, after=batch.ids[-1])
    assert following is not None
    assert (following.ids, following.more) == ((3, 4), False)
    spool.queue().settle(batch, NOW)
    assert (leased(spool, 6).ids, leased(spool, 6).more) == ((3, 4), False)
    newest = leased(spool, 6, newest=True)
    assert (newest.ids, newest.oldest_ns, newest.more) == ((4,), 3, True)
    spool.queue().settle(newest, NOW)
    assert leased(spool).ids == (3,)


@pytest.mark.slow
def test_a_batch_of_large_readings_is_small(spool: Spool) -> None:
    for number, size in enumerate((3 * MB, 3 * MB, 3 * MB, 9 * MB)):
        spool.append([f'm t="{"x" * size}" {number}'], number)
    for ids, more in (
        ((1, 2), True),
        ((3,), True),
        ((4,), False),
    ):  # one that is larger comes alone
        batch = leased(spool, 5_000)
        assert (batch.ids, batch.more) == (ids, more)
        spool.queue().settle(batch, NOW)


@pytest.mark.parametrize("aged", [False, True])
@pytest.mark.parametrize(
    ("refused", "expired", "counted"),
    [
        (0, 0, (4, {})),
        (1, 2, (1, {"rejected": 1, "expired": 2})),
        (1, 9, (0, {"rejected": 1, "expired": 3})),
        (5, 0, (0, {"rejected": 4})),
    ],
)
def test_what_became_of_a_batch_is_counted_once_and_no_other_is_settled(
    spool: Spool, refused: int, expired: int, counted: tuple[int, dict[str, int]], aged: bool
) -> None:
    queue = served(spool, "b").queue("b")
    spool.append([f"m f={n}i 1" for n in range(4)], 1)
    batch = leased(spool, server="b")
    if aged:  # the only reading, and so the newest
        spool.aging.remove(0, 2, count=True)
    spool.append(["m f=9i 2"], 2)
    refusals = [Refusal(f"m f={n}i 1", "no") for n in range(refused)]
    queue.settle(batch, NOW, refusals, expired)
    contents = queue.contents()
    account(contents)
    assert (contents.delivered_points, contents.lost) == ((0, {"expired": 4}) if aged else counted)
    assert (contents.rejected_points, contents.backlog_points) == (refused, 1)
    with SpoolReader(spool.path.parent) as reader:
        kept = reader.rejected(9)
    assert {(one.time_ns, one.server) for one in kept} == ({(NOW, "b")} if refused else set())
    assert lines(leased(spool, server="b")) == ["m f=9i 2"]
    assert spool.contents().backlog_points == (1 if aged else 5)


def test_each_server_has_facts_of_its_own(spool: Spool) -> None:
    spool.queue("b").note({"a": "1", "b": "2"})
    spool.queue().note({"a": "3"})
    spool.queue("b").note({"b": None})
    assert (spool.queue("b").facts(), spool.queue().facts()) == ({"a": "1"}, {"a": "3"})


def test_what_the_server_would_refuse_as_too_old_is_not_sent_and_stays_here(tmp_path: Path) -> None:
    many(tmp_path, 100, 800, mirrors=["b"])
    before = NOW + 550 * 10**9
    with Spool(tmp_path, 100 * MB) as spool:
        queue = spool.queue("b")
        assert queue.give_up(before) == 449
        assert queue.give_up(before) == 0
        assert leased(spool, 1, server="b").ids == (550,)
        assert (queue.contents().lost, spool.contents().lost) == ({"expired": 449}, {})
        account(queue.contents())
        # It ends where the queue has none for a while.
        sql(tmp_path, "UPDATE tick SET time_ns = 0 WHERE id = 900")
        assert queue.give_up(before) == 0
    assert len(history(tmp_path)) == 900


@pytest.mark.parametrize(
    ("damaged", "newest", "left"),
    [
        ("> 3", True, (3,)),
        ("<= 500", False, (501,)),
        ("> 0", False, ()),
        ("= 2", False, (1, *range(3, 102))),
    ],
)
def test_any_number_of_readings_may_be_damaged(
    tmp_path: Path,
    damaged: str,
    newest: bool,
    left: tuple[int, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    many(tmp_path, 0, 501)
    cut = sql(tmp_path, f"UPDATE tick SET lines = x'00' WHERE id {damaged} RETURNING 1")  # noqa: S608  # above
    with Spool(tmp_path, 100 * MB) as spool:
        batch = spool.queue().lease(100, newest=newest)
        assert (batch.ids if batch else ()) == left
        assert spool.contents().lost == {"corrupt_store": len(cut)}
        account(spool.contents())
    assert caplog.messages == [f"{tmp_path}/spool.db was damaged, {len(cut)} points in it are lost"]


def test_damage_that_comes_and_goes_is_told_once_an_hour(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    with Spool(tmp_path, MB, clock) as spool:
        for number, hours in enumerate((0, 0.9, 0.2), 1):
            clock.advance(hours * 3600)
            spool.append(["m f=1i 1"], number)
            sql(tmp_path, "UPDATE tick SET lines = x'00'")
            assert spool.queue().lease(1) is None  # damaged
            assert spool.queue().lease(1) is None  # empty
    assert len(caplog.messages) == 2


def test_batches_of_a_store_that_was_made_anew_are_not_those_of_the_one_before(
    tmp_path: Path,
) -> None:
    with Spool(tmp_path, MB) as spool:
        spool.append(["m f=1i 1"], 1)
        before = leased(spool)
        remove(tmp_path, *FILES)
        for number in range(4):
            spool.append([f"m f={number}i 2"], 2)
        assert not spool.queue().holds(before)
        spool.queue().settle(before, NOW)
        assert (spool.contents().delivered_points, spool.contents().backlog_points) == (0, 4)
        first = leased(spool, 1)
        following = spool.queue().lease(1, after=first.ids[0])
        assert following is not None
        assert lines(following) == ["m f=1i 2"]
        spool.queue().settle(first, NOW)
        assert (spool.contents().delivered_points, spool.contents().backlog_points) == (1, 3)
        sql(tmp_path, "UPDATE tick SET lines = x'00' WHERE id IN (2, 3)")
        assert lines(leased(spool)) == ["m f=3i 2"]
        assert spool.contents().lost == {"corrupt_store": 1 + 2}
        assert spool.gaps() == [Gap("corrupt_store", 1, 2, 3)]
        account(spool.contents())
