"""The bound, and a real disk that is full: the oldest makes room, is counted, and nothing stops."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from pipeline.spool import Refusal, Spool, SpoolError, SpoolReader
from tests.machine import fill_up, tiny_disk
from tests.spool.stores import (
    MB,
    NOW,
    account,
    aside,
    contents,
    filled,
    history,
    leased,
    lines,
    reading,
    salvaged,
    scribble,
)

pytestmark = pytest.mark.slow  # much to write, and to break


def on_disk(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())


def appended(spool: Spool, numbers: range) -> None:
    for number in numbers:
        spool.append(reading(number), number)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tiny_disk(tmp_path / "disk", 4096) as folder:
        yield folder


def test_what_is_on_the_disk_stays_below_the_bound_the_log_included(tmp_path: Path) -> None:
    with Spool(tmp_path, MB) as spool:
        for number in range(1200):
            spool.append(reading(number), number)
            assert on_disk(tmp_path) <= MB, number
            if number % 100 == 50:
                spool.queue().settle(leased(spool, 30), NOW)
        spool.aging.remove(0, 1100, count=True)
        assert on_disk(tmp_path) <= MB
        account(spool.contents())
        assert spool.contents().lost["spool_full"] > 0
    assert on_disk(tmp_path) > MB // 8


def test_refused_lines_make_room_before_a_reading_that_waits(tmp_path: Path) -> None:
    with Spool(tmp_path, MB) as spool:
        for number in range(40):
            spool.append(reading(number, 50), number)
            batch = leased(spool)
            spool.queue().settle(batch, NOW, [Refusal(line, "no") for line in lines(batch)])
        appended(spool, range(100, 200))
        assert on_disk(tmp_path) <= MB
        after = spool.contents()
        account(after)
    assert (after.backlog_points, after.lost) == (300, {"rejected": 2000})
    with SpoolReader(tmp_path) as reader:
        kept = reader.rejected(10_000)
    assert 0 < len(kept) == after.rejected_points < 1000
    assert kept[0].line == reading(39, 50)[-1]


def test_another_bound_holds_at_once_for_all_that_lies_on_the_disk(tmp_path: Path) -> None:
    with Spool(tmp_path, 16 * MB) as spool:
        appended(spool, range(2000))
        assert on_disk(tmp_path) > 2 * MB
        spool.set_bound(2 * MB)
        assert on_disk(tmp_path) <= 2 * MB
        appended(spool, range(2000, 2200))
        assert on_disk(tmp_path) <= 2 * MB
        lost = spool.contents().lost
        assert lost["spool_full"] > 0
        spool.set_bound(16 * MB)
        appended(spool, range(2200, 2900))
        assert spool.contents().lost == lost
        assert spool.pressure is None
    with Spool(tmp_path, MB) as spool:  # lowered before the start
        assert lines(leased(spool, newest=True)) == reading(2899)
        account(spool.contents())
    assert on_disk(tmp_path) <= MB


def test_delivered_readings_go_first_and_that_is_no_pressure(tmp_path: Path) -> None:
    with Spool(tmp_path, MB) as spool:
        for number in range(1000):
            spool.append(reading(number), number)
            if number >= 100 and number % 10 == 9:
                spool.queue().settle(leased(spool, 30), NOW)
        after = spool.contents()
        assert (after.lost, after.backlog_points, after.delivered_points) == ({}, 300, 2700)
        assert len(history(tmp_path)) < 700
        assert spool.pressure is None
        appended(spool, range(1000, 1800))
        assert spool.pressure == f"{tmp_path}/spool.db has reached its bound, spool_max_mb"
        lost = spool.contents().lost["spool_full"]
        assert lost > 0
        spool.queue().settle(leased(spool), NOW)
        appended(spool, range(1800, 2000))
        assert spool.pressure is None
        assert spool.contents().lost["spool_full"] == lost
        account(spool.contents())


def test_on_a_full_disk_the_oldest_readings_make_room(disk: Path) -> None:
    with Spool(disk, 64 * MB) as spool:
        appended(spool, range(300))
        spool.queue().settle(leased(spool, 150), NOW)
        assert spool.pressure is None
        for number in range(300, 700):
            ballast = fill_up(disk)  # whatever is given back is gone at once
            spool.append(reading(number), number)
            if number == 320:
                assert spool.contents().lost == {}  # the delivered ones went first
        assert spool.pressure == f"the disk of {disk} is full, make room on it"
        after = spool.contents()
        account(after)
        assert (after.points, after.delivered_points) == (2100, 150)
        assert after.lost["spool_full"] > 0
        # Each takes the place of one before it, and the log's end costs none.
        assert after.backlog_points > 900
        assert lines(leased(spool, newest=True)) == reading(699)
        spool.queue().settle(leased(spool, 30), NOW)
        spool.note({"last_error": "full"})
        for bound in (2 * MB, 64 * MB):
            spool.set_bound(bound)
        ballast.unlink()
        appended(spool, range(700, 703))
        assert spool.pressure is None
        assert spool.contents().lost == after.lost
        account(spool.contents())


@pytest.mark.parametrize("before", ["nothing", "a store", "a damaged store"])
def test_a_full_disk_at_the_start_is_waited_for(disk: Path, before: str) -> None:
    if before != "nothing":
        filled(disk)
        if before == "a damaged store":
            scribble(disk / "spool.db", 0, 100)
    (disk / "spool.db.reserve").unlink(missing_ok=True)
    ballast = fill_up(disk)
    with Spool(disk, 64 * MB) as spool:
        for use in (
            lambda: spool.append(reading(99), 99),
            lambda: spool.queue().lease(9),
            spool.contents,
        ):
            with pytest.raises(SpoolError, match=r"spool\.db cannot be opened: .*room on the disk"):
                use()
        assert spool.pressure == f"the disk of {disk} is full, make room on it"
        spool.check()  # which has nothing to check
        ballast.unlink()
        spool.append(reading(99), 99)
        assert spool.pressure is None
        assert lines(leased(spool, newest=True)) == reading(99)
        salvaged(spool)
    assert len(history(disk)) == (1 if before == "nothing" else 61)
    account(contents(disk))


def test_a_reserve_is_enough_to_start_on_a_full_disk(disk: Path) -> None:
    filled(disk)
    ballast = fill_up(disk)
    with Spool(disk, 64 * MB) as spool:
        appended(spool, range(60, 90))
        assert spool.contents().ticks == 90
        assert spool.pressure is not None
    assert ballast.exists()


@pytest.mark.parametrize(
    ("written", "size"),
    [(0, 0), (100, 100), (0, MB), (2 * MB, 2 * MB)],
    ids=["empty", "small", "a hole", "of another bound"],
)
def test_a_reserve_that_holds_no_room_or_too_much_is_made_anew(
    tmp_path: Path, written: int, size: int
) -> None:
    Spool(tmp_path, 16 * MB).close()
    reserve = tmp_path / "spool.db.reserve"
    reserve.write_bytes(bytes(written))
    os.truncate(reserve, size)
    Spool(tmp_path, 16 * MB).close()
    found = reserve.stat()
    assert found.st_size == MB
    assert found.st_blocks * 512 >= MB


@pytest.mark.parametrize(("number", "is_full"), [(errno.EOPNOTSUPP, False), (errno.ENOSPC, True)])
def test_where_no_room_can_be_reserved_there_is_no_reserve(
    tmp_path: Path, number: int, is_full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", mock.Mock(side_effect=OSError(number, "no")))
    with Spool(tmp_path, MB) as spool:
        spool.append(["m f=1i 1"], 1)
        assert (spool.pressure is not None) == is_full
    assert not (tmp_path / "spool.db.reserve").exists()


@pytest.mark.parametrize("read", [True, False])
def test_on_a_full_disk_a_damaged_store_is_deleted_once_it_is_read(disk: Path, read: bool) -> None:
    filled(disk)
    scribble(disk / "spool.db", 0, 100)
    with Spool(disk, 64 * MB) as spool:
        if read:
            salvaged(spool)
            assert len(aside(disk)) == 1
        ballast = fill_up(disk)
        appended(spool, range(60, 100))
        account(spool.contents())
        assert aside(disk) == []
        ballast.unlink()
        after = salvaged(spool).contents()
    account(after)
    assert after.points == 300
    assert read or len(history(disk)) == 100 - after.lost.get("spool_full", 0) // 3
