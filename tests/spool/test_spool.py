import os
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pipeline.settings import Age
from pipeline.spool import Aging, Refusal, Spool, SpoolError, SpoolReader
from tests.spool.stores import MB, NOW, account, history, leased, lines, peak_of, sql


def test_a_reading_is_leased_as_it_was_appended(spool: Spool) -> None:
    spool.append(["m f=1i 1", 'm s="ü" 1'], 1)
    spool.append(["m f=2i 2"], 2)
    batch = leased(spool)
    assert lines(batch) == ["m f=1i 1", 'm s="ü" 1', "m f=2i 2"]
    assert (batch.points, len(batch.ids)) == (3, 2)


def test_a_batch_is_one_gzip_member(spool: Spool) -> None:
    for tick in range(3):
        spool.append([f"m f={tick}i {tick}"], tick)
    member = zlib.decompressobj(31)
    assert member.decompress(leased(spool).body) == b"m f=0i 0\nm f=1i 1\nm f=2i 2\n"
    assert (member.eof, member.unused_data) == (True, b"")


def test_of_a_reading_that_could_not_be_committed_nothing_is_there(spool: Spool) -> None:
    with pytest.raises(OverflowError):
        spool.append(["m f=1i 1"], 2**70)  # beyond what SQLite takes
    spool.append(["m f=2i 2"], 2)
    assert history(spool.path.parent) == ["m f=2i 2\n"]
    assert (spool.contents().points, spool.contents().ticks) == (1, 1)


def test_what_is_not_settled_is_leased_again(spool: Spool) -> None:
    spool.append(["m f=1i 1"], 1)
    assert leased(spool) == leased(spool)
    spool.queue().settle(leased(spool), NOW)
    assert spool.queue().lease(100) is None


def test_a_batch_holds_whole_readings_up_to_its_size(spool: Spool) -> None:
    for tick in range(4):
        spool.append([f"m f={n}i {tick}" for n in range(3)], tick)
    assert len(leased(spool, 7).ids) == 2
    assert len(leased(spool, 1).ids) == 1  # one that is larger comes alone


def test_the_newest_reading_can_be_leased_alone(spool: Spool) -> None:
    for tick in range(3):
        spool.append([f"m f=1i {tick}"], tick)
    newest = leased(spool, newest=True)
    assert lines(newest) == ["m f=1i 2"]
    spool.queue().settle(newest, NOW)
    assert lines(leased(spool)) == ["m f=1i 0", "m f=1i 1"]


def test_the_account_is_kept(spool: Spool) -> None:
    spool.append(["m f=1i 10", "m f=2i 10"], 10, {"collector_failed": 3})
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


def test_everything_outlives_the_process(tmp_path: Path) -> None:
    with Spool(tmp_path, MB) as spool:
        spool.append(["m f=1i 1"], 1)
        spool.note({"a": "1", "b": "2"})
        spool.note({"b": None})
    with Spool(tmp_path, MB) as spool:
        assert lines(leased(spool)) == ["m f=1i 1"]
        assert spool.facts() == {"a": "1"}


def test_a_reader_sees_what_the_writer_commits(spool: Spool, tmp_path: Path) -> None:
    with SpoolReader(tmp_path) as reader:
        spool.append(["m f=1i 1"], 1)
        spool.append(["m f=2i 2"], 2)
        assert reader.contents().points == 2
        assert list(reader.history(2)) == ["m f=2i 2\n"]


def test_what_is_older_than_the_age_goes_and_is_counted_if_it_waited(spool: Spool) -> None:
    for tick in range(5):
        spool.append([f"m f=1i {tick}"], tick)
    spool.queue().settle(leased(spool, 2), NOW)  # 0 and 1 are delivered
    assert spool.aging.remove(0, 3, count=True) == 3
    assert history(spool.path.parent) == ["m f=1i 3\n", "m f=1i 4\n"]
    assert spool.contents().lost == {"expired": 1}
    assert spool.aging.remove(0, 4, count=False) == 1
    assert spool.contents().lost == {"expired": 1}
    assert spool.aging.remove(0, 4, count=True) == 0


def test_what_the_server_would_refuse_as_too_old_is_not_sent_and_stays_here(spool: Spool) -> None:
    for tick in range(4):
        spool.append([f"m f=1i {tick}"], tick)
    spool.queue().settle(leased(spool, 1), NOW)
    assert spool.queue().give_up(3) == 2
    assert lines(leased(spool)) == ["m f=1i 3"]
    assert spool.contents().lost == {"expired": 2}
    assert len(history(spool.path.parent)) == 4


def test_expiry_gives_the_space_back_to_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with Spool(tmp_path, 100 * MB) as spool:
        for tick in range(300):
            spool.append([os.urandom(2_000).hex()], tick)
    full = path.stat().st_size
    with Spool(tmp_path, 100 * MB) as spool:
        assert spool.aging.remove(0, 299, count=False) == 299
    assert path.stat().st_size < full / 10


@pytest.mark.parametrize("refused", [[], [Refusal("m f=1i 1", "no")]])
def test_a_reading_that_the_age_took_under_way_is_not_counted_twice(
    spool: Spool, refused: list[Refusal]
) -> None:
    spool.append(["m f=1i 1", "m f=2i 1"], 1)
    batch = leased(spool)
    spool.aging.remove(0, 2, count=True)
    spool.queue().settle(batch, NOW, refused)
    contents = spool.contents()
    assert (contents.delivered_points, contents.lost) == (0, {"expired": 2})


def test_a_batch_on_its_way_never_settles_a_later_reading(spool: Spool) -> None:
    spool.append(["m f=1i 1"], 1)
    on_its_way = leased(spool)
    spool.aging.remove(0, 2, count=True)  # the only reading, and so the newest
    spool.append(["m f=2i 2"], 2)
    spool.queue().settle(on_its_way, NOW)
    assert lines(leased(spool)) == ["m f=2i 2"]


def test_a_closed_spool_says_so(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MB)
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        spool.append(["m f=1i 1"], 1)


@pytest.mark.slow
def test_readings_get_another_time_some_at_a_time(spool: Spool) -> None:
    texts = [f'm t="{os.urandom(5_000).hex()}"' for _ in range(600)]
    for number, text in enumerate(texts):
        spool.append([f"{text} {number}"], number)

    moved: list[int] = []

    def restamp() -> None:
        left = range(spool.next_id)
        while left:
            number, left = spool.restamp(left, 500, NOW)
            moved.append(number)

    assert peak_of(restamp) < MB  # of 5.8
    assert moved == [200, 200, 100]
    found = [*(number for number in range(500, 600)), *(NOW + number for number in range(500))]
    with SpoolReader(spool.path.parent) as reader:
        assert reader.times(0) == found
    times = [*(NOW + number for number in range(500)), *range(500, 600)]
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


@pytest.mark.slow
def test_what_is_too_old_to_send_is_counted_without_being_held(spool: Spool) -> None:
    spool.append(["m f=1i 200000"], 200_000)
    sql(
        spool.path.parent,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) "
        "INSERT INTO tick (time_ns, points, lines) SELECT i, 1, x'00' FROM n",
    )
    sql(spool.path.parent, "INSERT INTO pending SELECT 'main', id, 1, 1 FROM tick WHERE id > 1")
    expired: list[int] = []
    assert peak_of(lambda: expired.append(spool.queue().give_up(200_000))) < MB
    assert expired == [30_000]
    assert spool.contents().backlog_points == 1


class Held(RuleBasedStateMachine):
    """Whatever happens in whatever order: what is held is what was committed.

    And what was committed is delivered, waits or is lost, to the point.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.spool = Spool(self.path, 100 * MB)
        self.now = 0
        self.held: dict[int, list[str]] = {}
        self.waiting: list[int] = []

    @rule(readings=st.integers(1, 40), points=st.integers(0, 3))
    def append(self, readings: int, points: int) -> None:
        for _ in range(readings):
            self.now += 1
            reading = [
                f"{'net' if n else 'disk'},n={n} free={7**n}i,n={self.now}i {self.now}"
                for n in range(points)
            ]
            self.spool.append(reading, self.now)
            if reading:
                self.held[self.now] = reading
                self.waiting.append(self.now)

    @rule(size=st.integers(1, 60), newest=st.booleans(), refused=st.booleans())
    def deliver(self, size: int, newest: bool, refused: bool) -> None:
        batch = self.spool.queue().lease(size, newest=newest)
        if batch is None:
            assert not self.waiting
            return
        sent = self.waiting[-1:] if newest else self.waiting[: len(batch.ids)]
        assert lines(batch) == [line for time in sent for line in self.held[time]]
        refusals = [Refusal(lines(batch)[0], "no")] if refused else []
        self.spool.queue().settle(batch, self.now, refusals)
        self.waiting = [time for time in self.waiting if time not in sent]

    @rule(age=st.integers(-1, 50), whole=st.booleans(), beside=st.booleans())
    def age(self, age: int, whole: bool, beside: bool) -> None:
        stop = self.now - age
        old = None if whole else Age(1, "disk")
        if beside:
            with Aging.beside(self.path) as aging:
                aging.remove(0, stop, old, count=True)
        else:
            self.spool.aging.remove(0, stop, old, count=True)
        for time in [time for time in self.held if time < stop]:
            left = [line for line in self.held[time] if not whole and line.startswith("net")]
            self.held[time] = left
            if not self.held[time]:
                del self.held[time]
        self.waiting = [time for time in self.waiting if time in self.held]

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self.spool = Spool(self.path, 100 * MB)

    @invariant()
    def is_held(self) -> None:
        expected = ["".join(f"{line}\n" for line in reading) for reading in self.held.values()]
        assert history(self.path) == expected
        account(self.spool.contents())

    @invariant()
    def is_counted(self) -> None:
        """What triggers count is what a count finds."""
        found = self.spool.contents()
        counted = "SELECT coalesce(sum(points), 0), coalesce(sum(bytes), 0) FROM pending"
        assert sql(self.path, counted) == [(found.backlog_points, found.backlog_bytes)]
        assert sql(self.path, "SELECT count(*) FROM rejected") == [(found.rejected_points,)]
        behind = (
            "SELECT id FROM tick WHERE id > (SELECT min(id) FROM pending) EXCEPT SELECT id FROM {}"
        )
        overtaken = sql(self.path, behind.format("pending"))
        assert set(overtaken) <= set(sql(self.path, "SELECT id FROM ahead"))
        waiting = "SELECT id FROM ahead WHERE id IN (SELECT id FROM pending)"
        assert sql(self.path, waiting) == []

    def teardown(self) -> None:
        self.spool.close()
        self.folder.cleanup()


TestHeld = Held.TestCase
TestHeld.settings = settings(max_examples=15, stateful_step_count=15)


@given(
    st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r"))), max_size=5)
)
@settings(max_examples=25)
def test_any_text_comes_back_as_it_was(ticks: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Spool(Path(folder), MB) as spool:
        for number, tick in enumerate(ticks):
            spool.append(tick, number)
        assert history(spool.path.parent) == [
            "".join(f"{line}\n" for line in t) for t in ticks if t
        ]


@pytest.mark.parametrize("noise", ["'ab'", "x'0102'"])
def test_a_time_that_noise_made_a_text_holds_up_nothing(tmp_path: Path, noise: str) -> None:
    with Spool(tmp_path, MB) as spool:
        for number in range(3):
            spool.append([f"m f={number}i {number + 7}"], number + 7)
        sql(tmp_path, f"UPDATE tick SET time_ns = {noise} WHERE id = 2")  # noqa: S608  # above
    with Spool(tmp_path, MB) as spool:
        assert (spool.contents().first_ns, spool.contents().last_ns) == (7, 9)
        batch = leased(spool, 10)
        spool.queue().settle(batch, 10)
        assert spool.contents().delivered_points == 3
