"""A store that is taken away or fails while it is in use: told, counted, and made anew."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest

from pipeline.spool import Aging, Fact, Gap, Spool, SpoolError, SpoolReader
from tests.clocks import ManualClock
from tests.machine import fill_up, tiny_disk
from tests.spool.stores import (
    FILES,
    MB,
    NOW,
    PAGE,
    USES,
    account,
    blocks,
    contents,
    filled,
    history,
    killed,
    leased,
    lines,
    reading,
    remove,
    salvaged,
    scribble,
    sql,
)

READINGS, DELIVERED = 6, 2
each_use = pytest.mark.parametrize("use", [use for _, use in USES.values()], ids=USES)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    filled(tmp_path, READINGS, DELIVERED)
    return Spool(tmp_path, 100 * MB, ManualClock(NOW))


@pytest.mark.parametrize(
    "noise",
    [
        "UPDATE counter SET name = x'ff' WHERE name = 'waiting'",
        "UPDATE counter SET value = 'ab' WHERE name = 'waiting'",
    ],
)
def test_noise_in_an_account_keeps_no_store_from_being_made_anew(
    spool: Spool, tmp_path: Path, noise: str
) -> None:
    with spool:
        spool.append(reading(READINGS), READINGS)
        sql(tmp_path, noise)
        remove(tmp_path, *FILES)
        spool.append(reading(999), 999)
        assert (spool.contents().backlog_points, len(history(tmp_path))) == (3, 1)


@pytest.mark.slow
@each_use
def test_a_store_that_is_removed_is_made_anew_and_what_waited_is_lost(
    spool: Spool, tmp_path: Path, use: Callable[[Spool], object], caplog: pytest.LogCaptureFixture
) -> None:
    with spool:
        spool.append(reading(READINGS), READINGS)
        before = spool.contents()
        remove(tmp_path, *FILES)
        use(spool)
        spool.append(reading(999), 999)
        after = spool.contents()
        account(after)
        lost = 3 * (READINGS + 1 - DELIVERED)
        assert after.lost == {"corrupt_store": lost}
        assert after.delivered_points == before.delivered_points
        assert spool.gaps() == [Gap("corrupt_store", DELIVERED, READINGS, READINGS + 1 - DELIVERED)]
        told = (
            f"{tmp_path}/spool.db was removed while it was in use, lost {lost} points that waited"
        )
        assert spool.facts()[Fact.SALVAGE] == told
        assert spool.facts()["a"] == "1"
        assert caplog.messages == [told]
        assert lines(leased(spool, newest=True)) == reading(999)
    assert history(tmp_path)[-1] == "".join(f"{line}\n" for line in reading(999))
    account(after)


@pytest.mark.parametrize("order", [*permutations(FILES)], ids=",db".join)
def test_the_account_stays_exact_while_one_file_after_the_other_is_removed(
    spool: Spool, tmp_path: Path, order: tuple[str, ...]
) -> None:
    with spool:
        gone = False
        for number, ending in enumerate(order, READINGS):
            remove(tmp_path, ending)
            gone |= ending == ""
            spool.append(reading(number), number)
            after = spool.contents()
            account(after)
            assert (after.ticks, after.points) == (number + 1, 3 * (number + 1))
            assert after.delivered_points == 3 * DELIVERED
            assert bool(after.lost) == gone
            assert contents(tmp_path) == after
            assert history(tmp_path)[-1:] == blocks(number)
    assert contents(tmp_path) == after


def test_what_is_in_a_log_that_is_removed_is_saved_though_somebody_reads_in_it(
    spool: Spool, tmp_path: Path
) -> None:
    with spool, SpoolReader(tmp_path) as reader:
        held = reader.history(0)
        next(held)
        spool.append(reading(READINGS), READINGS)
        remove(tmp_path, "-wal")
        assert len(list(held)) == READINGS - 1
        spool.append(reading(999), 999)
        assert history(tmp_path)[READINGS:] == blocks(READINGS, 999)
        account(spool.contents())


WRITE = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.execute("UPDATE fact SET value = '2' WHERE name = 'a'")
"""


@pytest.mark.parametrize("ending", ["-wal", "-shm"])
def test_what_comes_after_a_removed_log_survives_a_kill_and_is_shared_with_commands(
    tmp_path: Path, ending: str
) -> None:
    filled(tmp_path, READINGS, DELIVERED)

    def work() -> None:
        spool = Spool(tmp_path, 100 * MB)
        spool.append(reading(READINGS), READINGS)
        remove(tmp_path, ending)
        spool.append(reading(997), 997)
        command = (sys.executable, "-c", WRITE, tmp_path / "spool.db")
        subprocess.run(command, timeout=60, check=True)
        spool.append(reading(998), 998)

    killed(work)
    with Spool(tmp_path, 100 * MB) as again:
        assert again.facts()["a"] == "2"
        assert again.contents().lost == {}
        assert history(tmp_path)[READINGS:] == blocks(READINGS, 997, 998)
        account(again.contents())


def test_a_batch_under_way_is_settled_though_the_log_is_removed_meanwhile(
    spool: Spool, tmp_path: Path
) -> None:
    with spool:
        batch = leased(spool, 3)
        remove(tmp_path, "-wal")
        assert spool.queue().holds(batch)
        spool.queue().settle(batch, NOW)
        assert spool.contents().delivered_points == 3 * (DELIVERED + 1)


def test_a_store_that_is_damaged_and_loses_its_log_is_salvaged(tmp_path: Path) -> None:
    filled(tmp_path, ticks=300)  # more than is held in memory
    with Spool(tmp_path, 100 * MB) as spool:
        scribble(tmp_path / "spool.db", 20 * PAGE, 2 * PAGE)
        remove(tmp_path, "-wal")
        spool.append(reading(999), 999)
        assert spool.salvaging
        account(salvaged(spool).contents())
        assert history(tmp_path)[-1:] == blocks(999)


@pytest.mark.parametrize("ending", FILES)
def test_a_store_that_goes_again_while_it_is_made_anew_keeps_its_account(
    spool: Spool, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def rename_and_lose(file: Path, name: Path) -> Path:
        monkeypatch.undo()
        renamed = rename(file, name)
        renamed.unlink()
        return renamed

    with spool:
        remove(tmp_path, ending)
        monkeypatch.setattr(Path, "rename", rename_and_lose)
        with pytest.raises(SpoolError):
            spool.append(reading(998), 998)
        spool.append(reading(999), 999)
        after = spool.contents()
        account(after)
        assert (after.ticks, after.delivered_points) == (READINGS + 1, 3 * DELIVERED)
        assert after.lost == {"corrupt_store": 3 * (READINGS - DELIVERED)}


@pytest.mark.parametrize("left", [(), ("-wal", "-shm")])
def test_a_store_that_is_replaced_is_looked_at_and_used(
    spool: Spool, tmp_path: Path, left: tuple[str, ...]
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    filled(copy, ticks=3, delivered=0)
    with spool:
        for number in range(READINGS, 20):  # its log has another content for each page
            spool.append(reading(number), number)
        (copy / "spool.db").replace(tmp_path / "spool.db")
        remove(tmp_path, *({"-wal", "-shm"} - {*left}))
        spool.append(reading(999), 999)
        after = spool.contents()
        account(after)
        assert (after.points, after.lost) == (12, {})
        assert history(tmp_path) == blocks(0, 1, 2, 999)


@each_use
def test_without_its_folder_every_failure_is_a_spool_error_until_it_is_there_again(
    spool: Spool, tmp_path: Path, use: Callable[[Spool], object]
) -> None:
    with spool:
        shutil.rmtree(tmp_path)
        for _ in range(2):
            if use is not USES["check"][1]:  # which leaves it to the next one
                with pytest.raises(SpoolError, match=r"spool\.db cannot be "):
                    use(spool)
        tmp_path.mkdir()
        spool.append(reading(999), 999)
        after = spool.contents()
        account(after)
        assert after.lost == {"corrupt_store": 3 * (READINGS - DELIVERED)}


@pytest.mark.slow
@each_use
@pytest.mark.parametrize("number", [errno.EIO, errno.EDQUOT, errno.ESTALE, errno.EACCES])
def test_whatever_the_system_calls_say_the_failure_is_a_spool_error(
    spool: Spool,
    use: Callable[[Spool], object],
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with spool:
        with monkeypatch.context() as patched:
            for name in ("statvfs", "posix_fallocate", "stat", "unlink"):
                patched.setattr(os, name, fails)
            for name in ("stat", "unlink", "exists"):
                patched.setattr(Path, name, fails)
            with pytest.raises(SpoolError):
                use(spool)
            for beside in (SpoolReader, Aging.beside):
                with pytest.raises(SpoolError, match=f"be opened: {os.strerror(number)}"):
                    beside(spool.path.parent)
        spool.append(reading(999), 999)
        account(spool.contents())
        assert spool.contents().lost == {}


def test_on_a_full_disk_a_store_that_is_removed_is_made_when_there_is_room(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", 4096) as disk:
        filled(disk, READINGS, DELIVERED)
        with Spool(disk, 64 * MB) as spool:
            remove(disk, *FILES, ".reserve")
            ballast = fill_up(disk)
            for _ in range(2):
                with pytest.raises(SpoolError):
                    spool.append(reading(99), 99)
            ballast.unlink()
            spool.append(reading(99), 99)
            after = spool.contents()
        account(after)
        assert after.points == 3 * (READINGS + 1)


FILL = """
import sys
from pathlib import Path
from pipeline.spool import Spool
from tests.spool.stores import MB, account, reading
folder = Path(sys.argv[1])
with Spool(folder, 64 * MB) as spool:
    for number in range(300):
        spool.append(reading(number), number)
    (folder / "quota").touch()
    for number in range(300, 1000):
        spool.append(reading(number), number)
    assert spool.pressure == f"the disk of {folder} is full, make room on it"
    assert spool.contents().lost["spool_full"] > 0
    account(spool.contents())
    (folder / "quota").unlink()
    spool.append(reading(1000), 1000)
    assert (spool.contents().ticks, spool.pressure) == (1001, None)
"""


@pytest.mark.slow
def test_a_quota_that_is_used_up_is_a_full_disk(tmp_path: Path) -> None:
    library, folder = tmp_path / "quota.so", tmp_path / "data"
    folder.mkdir()
    source = Path(__file__).with_name("quota.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    quota = {"LD_PRELOAD": str(library), "QUOTA_FOLDER": str(folder), "QUOTA_BYTES": str(2 * MB)}
    program = [sys.executable, "-c", FILL, str(folder)]
    subprocess.run(program, env={**os.environ, **quota}, timeout=60, check=True)
    assert not (folder / "spool.db.probe").exists()
