"""Lines that the server refused: list, retry, drop, beside an agent and without one."""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.settings import MAIN
from pipeline.spool import (
    Refusal,
    Rejected,
    Spool,
    SpoolReader,
    UnknownLineError,
    drop_rejected,
    retry_rejected,
)
from tests.spool.stores import NOW, account, leased, lines, sql


def refuse(spool: Spool, *lines: str, among: int = 0) -> None:
    """Let the server refuse lines of one reading, and take as many others."""
    spool.append([*lines, *(f"ok f={n}i {NOW}" for n in range(among))], NOW)
    batch = leased(spool, 1_000_000)
    spool.queue().settle(batch, NOW + 1, [Refusal(line, f"no {line}") for line in lines])


def kept(directory: Path) -> list[Rejected]:
    with SpoolReader(directory) as reader:
        return reader.rejected(1000)


def waiting(spool: Spool) -> list[str]:
    batch = spool.queue().lease(1_000_000)
    return lines(batch) if batch else []


@pytest.mark.slow
def test_the_newest_10000_of_each_server_are_kept(spool: Spool, tmp_path: Path) -> None:
    deque(spool.serve(["b"]), maxlen=0)
    sql(
        tmp_path,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 2 FROM n WHERE i < 19999) "
        "INSERT INTO rejected "
        "SELECT i, 1, 'no', 'm f=1i ' || i, 'main' FROM n",  # some were dropped
    )
    sql(tmp_path, "INSERT INTO rejected SELECT id - 1, 1, 'no', line, 'b' FROM rejected")
    refuse(spool, "a f=1i 1", "b f=1i 2", "c f=1i 3")
    with SpoolReader(tmp_path) as reader:
        listed = reader.rejected(30_000)
    of_main, of_mirror = ([one for one in listed if one.server == name] for name in ("main", "b"))
    assert [one.line for one in of_main[:3]] == ["c f=1i 3", "b f=1i 2", "a f=1i 1"]
    assert (len(of_main), of_main[-1].line) == (10_000, "m f=1i 7")
    assert spool.contents().rejected_points == 10_000
    assert (len(of_mirror), of_mirror[-1].line) == (10_000, "m f=1i 1")


def test_retried_lines_wait_again_and_are_lost_no_more(spool: Spool, tmp_path: Path) -> None:
    refuse(spool, f"a f=1i {NOW}", f"b f=1i {NOW}", f"c f=1i {NOW - 5}", among=4)
    before = spool.contents()
    wanted = [one.id for one in kept(tmp_path) if one.line[0] in "ac"]
    assert retry_rejected(tmp_path, wanted) == (2, 0)
    after = spool.contents()
    assert (before.lost, after.lost) == ({"rejected": 3}, {"rejected": 1})
    assert (after.points, after.ticks) == (before.points, before.ticks)
    assert (after.backlog_points, after.rejected_points) == (2, 1)
    assert waiting(spool) == [f"c f=1i {NOW - 5}", f"a f=1i {NOW}"]
    assert sql(tmp_path, "SELECT time_ns FROM tick ORDER BY id") == [(NOW,), (NOW - 5,), (NOW,)]
    account(spool.contents())


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE rejected SET line = CAST(line AS BLOB), server = CAST(server AS BLOB)",
        "UPDATE rejected SET reason = CAST(reason AS BLOB), time_ns = 'x'",
        "UPDATE rejected SET reason = CAST(x'6e6f80' AS TEXT)",
    ],
)
def test_a_damaged_row_is_listed_and_retried_as_far_as_it_can_be_read(
    spool: Spool, tmp_path: Path, damage: str
) -> None:
    """A flipped bit makes another type of a value, which SQLite does not notice, or no text."""
    refuse(spool, f"a f=1i {NOW}", "b f=1i")
    sql(tmp_path, damage)
    assert [one.line for one in kept(tmp_path)] == ["b f=1i", f"a f=1i {NOW}"]
    assert retry_rejected(tmp_path) == (2, 0)
    assert sorted(waiting(spool)) == [f"a f=1i {NOW}", "b f=1i"]
    account(spool.contents())


def test_a_line_can_be_refused_retried_and_delivered_in_the_end(
    spool: Spool, tmp_path: Path
) -> None:
    refuse(spool, f"a f=1i {NOW}", f"b f=1i {NOW}")
    for refused in ([Refusal(f"a f=1i {NOW}", "again no")], []):
        assert retry_rejected(tmp_path) == (2 if refused else 1, 0)
        spool.queue().settle(leased(spool, 10), NOW + 2, refused)
        account(spool.contents())
    contents = spool.contents()
    assert (contents.delivered_points, contents.rejected_points, contents.lost) == (2, 0, {})


def test_a_line_whose_time_cannot_be_read_gets_that_of_its_refusal(
    spool: Spool, tmp_path: Path
) -> None:
    refuse(spool, "rubbish", f"m f=1i {9 * 10**18 + 3 * 10**17}")
    retry_rejected(tmp_path)
    with SpoolReader(tmp_path) as reader:
        assert reader.times(NOW + 1) == [NOW + 1]
    assert len(waiting(spool)) == 2


def test_dropped_lines_are_gone_and_stay_lost_and_no_id_comes_back(
    spool: Spool, tmp_path: Path
) -> None:
    refuse(spool, "a f=1i 1", "b f=1i 2", "c f=1i 3")
    assert kept(tmp_path) == [
        Rejected(number, NOW + 1, f"no {line}", line, MAIN)
        for number, line in ((3, "c f=1i 3"), (2, "b f=1i 2"), (1, "a f=1i 1"))
    ]
    assert drop_rejected(tmp_path, [3]) == 1
    refuse(spool, "d f=1i 4")
    assert [one.id for one in kept(tmp_path)] == [4, 2, 1]
    assert drop_rejected(tmp_path) == 3
    assert drop_rejected(tmp_path) == 0
    assert spool.contents().lost == {"rejected": 4}
    account(spool.contents())


@pytest.mark.parametrize("change", [retry_rejected, drop_rejected])
def test_an_unknown_id_changes_nothing(
    spool: Spool, tmp_path: Path, change: Callable[[Path, list[int]], object]
) -> None:
    refuse(spool, "a f=1i 1")
    before = (spool.contents(), kept(tmp_path))
    with pytest.raises(UnknownLineError, match="no rejected line has the id 7, 9;"):
        change(tmp_path, [before[1][0].id, 9, 7])
    assert (spool.contents(), kept(tmp_path)) == before


@pytest.mark.parametrize("lost", ["as expired", "with the counters"])
def test_a_line_that_is_not_counted_as_refused_keeps_the_account_exact(
    spool: Spool, tmp_path: Path, lost: str
) -> None:
    spool.append([f"a f=1i {NOW}"], NOW)
    batch = leased(spool, 10)
    spool.aging.remove(0, NOW + 1, count=True)  # while it is on its way
    spool.queue().settle(batch, NOW, [Refusal(f"a f=1i {NOW}", "no")])
    if lost == "with the counters":  # as after a salvage
        kept = "name NOT LIKE 'waiting%' AND name <> 'rejected_kept'"
        sql(tmp_path, f"DELETE FROM counter WHERE {kept}")  # noqa: S608  # above
    else:
        assert spool.contents().lost == {"expired": 1}
    assert retry_rejected(tmp_path) == (1, 0)
    assert spool.contents().backlog_points == 1
    account(spool.contents())


@pytest.mark.slow
def test_a_change_waits_for_the_agent_and_the_agent_for_it(spool: Spool, tmp_path: Path) -> None:
    refuse(spool, *(f"r{n} f=1i {NOW + n}" for n in range(50)))
    together = threading.Barrier(2, timeout=60)  # or one could keep the other out for long

    def agent() -> None:
        for n in range(50):
            together.wait()
            spool.append([f"m f=1i {NOW + n}"], NOW + n)

    thread = threading.Thread(target=agent)
    thread.start()
    for one in kept(tmp_path):
        together.wait()
        retry_rejected(tmp_path, [one.id])
    thread.join()
    assert spool.contents().backlog_points == 100
    account(spool.contents())
