"""Readings are packed with dictionaries, and read again whatever became of those around them."""

import sqlite3
import tempfile
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pipeline.spool import Aging, Spool, SpoolReader
from pipeline.spool.block import WINDOW, pack, unpack
from tests.spool.stores import MB, NOW, account, aside, leased, lines, scribble


def reading(number: int, points: int = 30) -> list[str]:
    """Lines as a host has them: from one reading to the next, little changes."""
    return [
        f"disk,path=/{hash((n, 1)) & 2**64 - 1:x} free={7**n}i,n={number}i {number}"
        for n in range(points)
    ]


def text(tick: list[str]) -> str:
    return "".join(f"{line}\n" for line in tick)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as db:
        found = db.execute(query).fetchall()
    db.close()
    return found


class Held(RuleBasedStateMachine):
    """Whatever happens in whatever order: what is held is what was committed."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.spool = Spool(self.path, 100 * MB)
        self.now = 0
        self.held: dict[int, list[str]] = {}
        self.waiting: list[int] = []

    @rule(readings=st.integers(1, 40), points=st.integers(1, 3))
    def append(self, readings: int, points: int) -> None:
        for _ in range(readings):
            self._append(reading(self.now + 1, points))

    @rule()
    def append_what_no_dictionary_serves(self) -> None:
        self._append([f'm t="{"x" * WINDOW}" {self.now}'])

    def _append(self, tick: list[str]) -> None:
        self.now += 1
        self.spool.append(tick, self.now)
        self.held[self.now] = tick
        self.waiting.append(self.now)

    @rule(size=st.integers(1, 60), newest=st.booleans())
    def deliver(self, size: int, newest: bool) -> None:
        batch = self.spool.lease(size, newest=newest)
        if batch is None:
            assert not self.waiting
            return
        sent = self.waiting[-1:] if newest else self.waiting[: len(batch.ids)]
        assert lines(batch) == [line for time in sent for line in self.held[time]]
        self.spool.settle(batch, self.now)
        self.waiting = [time for time in self.waiting if time not in sent]

    @rule(age=st.integers(-1, 50), whole=st.booleans(), beside=st.booleans())
    def age(self, age: int, whole: bool, beside: bool) -> None:
        stop = self.now - age
        kept = None if whole else lambda block: block.splitlines()[1:]
        if beside:
            with Aging(self.path) as aging:
                aging.remove(0, stop, kept, count=True)
        else:
            self.spool.remove(0, stop, kept, count=True)
        for time in [time for time in self.held if time < stop]:
            self.held[time] = [] if whole else self.held[time][1:]
            if not self.held[time]:
                del self.held[time]
        self.waiting = [time for time in self.waiting if time in self.held]

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self.spool = Spool(self.path, 100 * MB)

    @invariant()
    def is_held(self) -> None:
        expected = [text(tick) for tick in self.held.values()]
        assert list(self.spool.history(0)) == expected
        with SpoolReader(self.path) as reader:
            assert list(reader.history(0)) == expected
        account(self.spool.contents())

    @invariant()
    def no_dictionary_outlives_what_it_is_for(self) -> None:
        used = rows(
            self.spool.path,
            "SELECT DISTINCT (SELECT max(id) FROM dictionary WHERE id <= tick.id) FROM tick "
            "WHERE substr(lines, 1, 1) <> x'1f'",
        )
        held = rows(self.spool.path, "SELECT id FROM dictionary ORDER BY id")
        assert set(held) - set(used) <= set(held[-1:])

    def teardown(self) -> None:
        self.spool.close()
        self.folder.cleanup()


TestHeld = Held.TestCase
TestHeld.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)


def test_readings_that_are_alike_take_little_room(tmp_path: Path) -> None:
    with Spool(tmp_path, 100 * MB) as spool:
        for number in range(64):
            spool.append(reading(number), number)
        alone = len(zlib.compress(text(reading(0)).encode(), 9))
        (packed,) = rows(spool.path, "SELECT sum(length(lines)) FROM tick")
        (shared,) = rows(spool.path, "SELECT sum(length(lines)), count(*) FROM dictionary")
        assert packed[0] + shared[0] < 64 * alone / 3
        assert shared[1] == 4


def test_a_batch_is_one_member_whatever_it_was_packed_with(tmp_path: Path) -> None:
    with Spool(tmp_path, 100 * MB) as spool:
        for number in range(40):
            spool.append(reading(number), number)
        batch = leased(spool)
    member = zlib.decompressobj(31)
    whole = member.decompress(batch.body).decode()
    assert (member.eof, member.unused_data) == (True, b"")
    assert whole == "".join(text(reading(number)) for number in range(40))


def test_a_reader_has_what_was_committed_after_it_was_opened(tmp_path: Path) -> None:
    with Spool(tmp_path, 100 * MB) as spool:
        spool.append(reading(0), 0)
        with SpoolReader(tmp_path) as reader:
            for number in range(1, 40):
                spool.append(reading(number), number)
                assert list(reader.history(number)) == [text(reading(number))]


@pytest.mark.parametrize("harm", ["x'1f8b'", "zeroblob(length(lines))", "'text'"])
def test_a_damaged_dictionary_costs_the_readings_that_it_is_for(tmp_path: Path, harm: str) -> None:
    with Spool(tmp_path, 100 * MB) as spool:
        for number in range(40):
            spool.append(reading(number), number)
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.execute(f"UPDATE dictionary SET lines = {harm} WHERE id = 17")  # noqa: S608  # above
    db.close()
    left = [*range(16), *range(32, 40)]
    with Spool(tmp_path, 100 * MB) as spool:
        assert list(spool.history(0)) == [text(reading(number)) for number in left]
        assert lines(leased(spool)) == [line for number in left for line in reading(number)]
        assert spool.contents().lost == {"corrupt_store": 16 * 30}
        account(spool.contents())
        assert rows(spool.path, "SELECT id FROM dictionary") == [(1,), (33,)]


def test_a_damaged_store_is_salvaged_with_its_dictionaries(tmp_path: Path) -> None:
    with Spool(tmp_path, 100 * MB) as spool:
        for number in range(40):
            spool.append(reading(number), number)
        spool.remove(0, 16, count=True)
        spool.settle(leased(spool, 30), NOW)
        with spool._writing() as db:  # neither is any tick's
            block = pack(b"m f=1i 1\n")
            db.executemany("INSERT INTO dictionary VALUES (?, ?)", [(5, block), (10**9, block)])
    with (tmp_path / "spool.db").open("r+b") as file:
        file.write(bytes(100))
    with Spool(tmp_path, 100 * MB) as spool:
        assert len(aside(tmp_path)) == 1
        assert list(spool.history(0)) == [text(reading(number)) for number in range(16, 40)]
        assert spool.contents().lost == {"expired": 16 * 30}
        account(spool.contents())
        spool.append(reading(40), 40)
        assert lines(leased(spool, newest=True)) == reading(40)
        ids = [number for (number,) in rows(spool.path, "SELECT id FROM dictionary ORDER BY id")]
        assert ids[:2] == [17, 33]
        assert len(ids) == 3
        assert ids[2] > 10**9  # no id comes back


def test_what_was_rolled_back_is_no_dictionary(tmp_path: Path) -> None:
    with Spool(tmp_path, 100 * MB) as spool:
        with pytest.raises(OverflowError):
            spool.append(reading(1), 2**70)  # beyond what SQLite takes
        spool.append(reading(2), 2)
        spool.append(reading(3), 3)
        assert list(spool.history(0)) == [text(reading(2)), text(reading(3))]


def test_what_was_removed_by_age_stays_in_no_dictionary_and_makes_room(tmp_path: Path) -> None:
    def rest(block: str) -> list[str]:
        return [line for line in block.splitlines() if not line.startswith("disk,path=/0 ")]

    with Spool(tmp_path, 100 * MB) as spool:
        for number in range(400):
            spool.append([f"disk,path=/0 n={number}i {number}", *reading(number)], number)
        (before,) = rows(spool.path, "SELECT sum(length(lines)) FROM tick")
        # As hour by hour: each time, some readings more of a dictionary are old.
        for stop in range(25, 400, 25):
            spool.remove(0, stop, rest, count=True)
        (after,) = rows(spool.path, "SELECT sum(length(lines)) FROM tick")
        assert after[0] < 1.3 * before[0]  # packed alone, it would be 4.6 times
        assert list(spool.history(0)) == [
            *(text(reading(number)) for number in range(375)),
            *(f"disk,path=/0 n={n}i {n}\n{text(reading(n))}" for n in range(375, 400)),
        ]
        held = rows(spool.path, "SELECT id, lines FROM dictionary ORDER BY id")
        aged = [(number, b"path=/0 " in unpack(lines)) for number, lines in held]
        assert len(aged) == 25
        # Two are for readings that are younger, or not all so old.
        assert [number for number, has in aged if has] == [369, 385]
        account(spool.contents())


def test_after_a_mended_store_the_dictionary_of_before_is_not_relied_on(tmp_path: Path) -> None:
    with Spool(tmp_path, 100 * MB) as spool:
        for number in range(4):
            spool.append(reading(number), number)
        with sqlite3.connect(spool.path) as db:
            db.execute("UPDATE dictionary SET lines = x'00'")
        db.close()
        scribble(spool.path, 0, 100)
        spool.check()
        assert len(aside(tmp_path)) == 1
        for number in range(4, 9):
            spool.append(reading(number), number)
        assert list(spool.history(0)) == [text(reading(number)) for number in range(4, 9)]


def test_a_reading_beyond_the_window_begins_no_dictionary(tmp_path: Path) -> None:
    with Spool(tmp_path, 100 * MB) as spool:
        spool.append([f'm t="{"x" * WINDOW}" 1'], 1)
        assert rows(spool.path, "SELECT id FROM dictionary") == []


def test_the_newest_readings_may_be_damaged_in_any_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Spool(tmp_path, 100 * MB) as spool:
        for number in range(1500):
            spool.append([f"m f={number}i {number}"], number)
        with sqlite3.connect(spool.path) as db:
            db.execute("UPDATE tick SET lines = x'00' WHERE time_ns > 3")
        db.close()
        assert lines(leased(spool, newest=True)) == ["m f=3i 3"]
        assert spool.contents().lost == {"corrupt_store": 1496}
        assert len(caplog.messages) == 1


def test_a_large_batch_is_packed_as_it_is_read(tmp_path: Path) -> None:
    with Spool(tmp_path, 100 * MB) as spool:
        for number in range(400):
            spool.append(reading(number, 100), number)
        size = sum(len(text(reading(number, 100))) for number in range(400))
        tracemalloc.start()
        try:
            leased(spool)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < size / 2
