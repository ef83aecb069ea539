import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.spool import Gap, Refusal, Spool, SpoolError, SpoolReader, joined, pack, unpack
from tests.spool.stores import MB, NOW, account, history, leased, lines, peak_of, sql


def test_the_account_is_kept(spool: Spool) -> None:
    spool.append(["m f=1i 10", "m f=2i 10"], 10, {"collector_failed": 3})
    with pytest.raises(OverflowError):
        spool.append(["m f=1i 1"], 2**70)  # beyond what SQLite takes: nothing of it is there
    spool.append([], 11, {"collector_failed": 1})
    first = leased(spool)
    spool.append(["m f=3i 12"], 12)
    spool.queue().settle(first, NOW, [Refusal("m f=1i 10", "no")])
    contents = spool.contents()
    assert (contents.ticks, contents.points) == (2, 3)
    assert contents.delivered_points == 1
    assert (contents.backlog_points, contents.backlog_oldest_ns) == (1, 12)
    assert contents.backlog_bytes > 0
    assert contents.rejected_points == 1
    assert contents.lost == {"collector_failed": 4, "rejected": 1}
    assert (contents.first_ns, contents.last_ns) == (10, 12)
    assert len(history(spool.path.parent)) == 2


def test_everything_outlives_the_process_and_a_reader_sees_it_at_once(tmp_path: Path) -> None:
    with Spool(tmp_path, MB) as spool, SpoolReader(tmp_path) as reader:
        spool.append(["m f=1i 1"], 1)
        spool.append(["m f=2i 2"], 2)
        spool.note({"a": "1", "b": "2"})
        spool.note({"b": None})
        assert reader.contents() == spool.contents()
        assert list(reader.history(2)) == ["m f=2i 2\n"]
        before = spool.contents()
    with pytest.raises(SpoolError, match="closed"):
        spool.append(["m f=1i 1"], 1)
    with Spool(tmp_path, MB) as spool:
        assert (spool.contents(), spool.facts()) == (before, {"a": "1"})
        assert lines(leased(spool)) == ["m f=1i 1", "m f=2i 2"]


@pytest.mark.slow
def test_readings_get_another_time_some_at_a_time(spool: Spool) -> None:
    texts = [f'm t="{os.urandom(5_000).hex()}"' for _ in range(300)]
    for number, text in enumerate(texts):
        spool.append([f"{text} {number}"], number)

    moved: list[int] = []

    def restamp() -> None:
        left = range(spool.next_id)
        while left:
            number, left = spool.restamp(left, 250, NOW)
            moved.append(number)

    assert peak_of(restamp) < MB  # of 2.9
    assert moved == [200, 50]
    times = [*(NOW + number for number in range(250)), *range(250, 300)]
    with SpoolReader(spool.path.parent) as reader:
        assert reader.times(0) == sorted(times)
    sent = [f"{text} {time}" for text, time in zip(texts, times, strict=True)]
    assert lines(leased(spool)) == sent
    account(spool.contents())


def test_readings_of_before_keep_their_time(tmp_path: Path) -> None:
    with Spool(tmp_path, MB) as spool:
        spool.append(["m f=1i 1"], 1)
    with Spool(tmp_path, MB) as spool:
        spool.append(["m f=2i 2"], 2)
        assert spool.restamp(range(spool.next_id), 9, 40) == (1, range(3, 3))
        assert lines(leased(spool)) == ["m f=1i 1", "m f=2i 42"]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r"))))
def test_any_text_comes_back_as_it_was(lines: list[str]) -> None:
    block = pack(joined(lines))
    assert unpack(block) == gzip.decompress(block).decode() == "".join(f"{x}\n" for x in lines)


@pytest.mark.parametrize(
    "noise",
    [
        "UPDATE tick SET time_ns = 'ab' WHERE id = 2",
        "UPDATE tick SET time_ns = x'0102' WHERE id = 2",
        "UPDATE fact SET name = x'ff' WHERE name = 'b'",
        "UPDATE fact SET value = x'ff' WHERE name = 'b'",
        "INSERT INTO counter VALUES ('main', x'ff', 1)",
        "UPDATE counter SET value = 'ab' WHERE name = 'ticks'",
        "UPDATE gap SET cause = x'ff' WHERE readings = 2",
        "UPDATE gap SET stop_ns = 'ab' WHERE readings = 2",
    ],
)
def test_a_value_that_noise_gave_another_type_holds_up_nothing(tmp_path: Path, noise: str) -> None:
    gaps = [Gap("tick_missed", 1, 2, 1), Gap("agent_down", 3, 4, 2)]
    with Spool(tmp_path, MB) as spool:
        for number in range(3):
            spool.append([f"m f={number}i {number + 7}"], number + 7, gaps=gaps * (number == 0))
        spool.note({"a": "1", "b": "2"})
        sql(tmp_path, noise)
    with Spool(tmp_path, MB) as spool:
        assert (spool.contents().first_ns, spool.contents().last_ns) == (7, 9)
        assert spool.contents().ticks in (0, 3)
        assert spool.facts()["a"] == "1"
        assert spool.gaps()[0] == gaps[0]
        spool.queue().settle(leased(spool, 10), 10)
        assert spool.contents().delivered_points == 3
