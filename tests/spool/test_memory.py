"""No operation holds more in memory than a part of what it goes through."""

import os
from pathlib import Path

import pytest

from pipeline.settings import Age
from pipeline.spool import Refusal, Spool, drop_rejected, retry_rejected
from tests.spool.stores import MB, NOW, account, history, leased, lines, peak_of

pytestmark = pytest.mark.slow

SECOND = 10**9


def noise(size: int) -> str:
    """Text that does not become much smaller when it is packed."""
    return os.urandom(size // 2).hex()


def test_a_batch_of_large_readings_is_small(spool: Spool) -> None:
    texts = [f'm t="{noise(3 * MB)}" {number}' for number in range(3)]
    for number, text in enumerate(texts):
        spool.append([text], number)
    sent = []
    for _ in range(2):
        batch = leased(spool, 5_000)
        sent.append(lines(batch))
        spool.queue().settle(batch, NOW)
    assert sent == [texts[:2], texts[2:]]
    spool.append([f'm t="{"x" * 9 * MB}" 9'], 9)
    assert leased(spool, 5_000).points == 1  # one that is larger comes alone


def test_readings_that_lose_lines_are_packed_anew_in_parts(spool: Spool) -> None:
    for second in range(40):
        text = noise(MB // 8)
        spool.append([f"cpu f=1i {second}", f'mem t="{text}" {second}'], second * SECOND)

    def remove() -> None:
        spool.aging.remove(0, 40 * SECOND, Age(1, "cpu"), count=True)

    assert peak_of(remove) < 3 * MB  # of 5
    assert spool.contents().lost == {"expired": 40}
    assert all(block.startswith("mem ") for block in history(spool.path.parent))


def test_rejected_lines_are_taken_in_parts(spool: Spool, tmp_path: Path) -> None:
    texts = [f'm t="{noise(4_000)}" {NOW + number}' for number in range(1_200)]
    spool.append([f"m f=1i {NOW}"], NOW)
    spool.queue().settle(leased(spool), NOW, [Refusal(text, "no") for text in texts])
    taken: list[int] = []
    spool.set_bound(100 * MB)  # so that there is no log to look at
    assert peak_of(lambda: taken.append(retry_rejected(tmp_path, range(1, 601))[0])) < 1.5 * MB
    spool.set_bound(100 * MB)
    assert peak_of(lambda: taken.append(drop_rejected(tmp_path))) < 1.5 * MB  # of 2.4
    assert taken == [600, 600]
    assert (spool.contents().backlog_points, spool.contents().rejected_points) == (600, 0)
    assert lines(leased(spool)) == texts[:600]
    account(spool.contents())
