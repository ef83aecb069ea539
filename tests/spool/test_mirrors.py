"""Several servers: each has a queue and an account of its own, whatever becomes of the others."""

from pathlib import Path

import pytest

from pipeline.settings import MAIN
from pipeline.spool import (
    Contents,
    Gap,
    Refusal,
    Spool,
    SpoolError,
    SpoolReader,
    drop_rejected,
    queues,
    retry_rejected,
)
from tests.spool.stores import (
    FILES,
    MB,
    NOW,
    PAGE,
    account,
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

TICKS, DELIVERED, NEW = 40, 10, 1000
BOTH = (MAIN, "b")


def opened(directory: Path) -> Spool:
    return Spool(directory, 100 * MB)


def appended(spool: Spool, *numbers: int) -> None:
    for number in numbers:
        spool.append(reading(number), number)


def of(spool: Spool, server: str) -> Contents:
    found = spool.queue(server).contents()
    account(found)
    return found


def drained(spool: Spool, server: str) -> list[str]:
    """Deliver all that waits for a server."""
    taken = []
    while (batch := spool.queue(server).lease(60)) is not None:
        spool.queue(server).settle(batch, NOW)
        taken += lines(batch)
    return taken


def all_of(*numbers: int) -> list[str]:
    return [line for number in numbers for line in reading(number)]


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A closed store: main got the first 10 readings, the mirror b the first 5."""
    with served(opened(tmp_path), "b") as spool:
        appended(spool, *range(TICKS))
        spool.queue().settle(leased(spool, 3 * DELIVERED), NOW)
        spool.queue("b").settle(leased(spool, 15, server="b"), NOW)
        spool.note({"bucket_age_s": "1", "last_error": "no answer"})
        spool.queue("b").note({"bucket_age_s": "2", "bucket_drift": "a drift"})
    return tmp_path


def test_a_new_mirror_gets_all_that_is_held_and_one_that_is_gone_gives_up_what_waits(
    two: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with served(opened(two), "b", "c") as spool:
        on_its_way = leased(spool, 6, server="b")
        assert drained(spool, "c") == all_of(*range(TICKS))
        assert (of(spool, "c").points, of(spool, "c").delivered_points) == (120, 120)
        spool.queue("b").settle(leased(spool, 3, server="b"), NOW, [Refusal("m f=1i 1", "no")])
        served(spool, "c")
        assert caplog.messages == [
            "Mirror b is no longer in the settings: 102 points that waited for it are given up"
        ]
        assert of(spool, "b").lost == {"rejected": 1, "mirror_removed": 102}
        spool.queue("b").settle(on_its_way, NOW, [Refusal("m f=2i 1", "no")])
        assert spool.queue("b").lease(9) is None
        assert (of(spool, "b").delivered_points, of(spool, "b").rejected_points) == (17, 0)
        assert (spool.queue("b").facts(), spool.facts()["bucket_age_s"]) == ({}, "1")
        appended(spool, TICKS)
        assert of(spool, "b").points == 120
        served(spool, "b", "c")
        assert drained(spool, "b") == all_of(*range(TICKS + 1))
        assert of(spool, "b").points == 120 + 123
        assert len(caplog.messages) == 1
    with SpoolReader(two) as reader:
        assert reader.servers() == (MAIN, "c", "b")
        assert reader.contents("b").lost == {"rejected": 1, "mirror_removed": 102}
        assert reader.contents().backlog_points == 3 * (TICKS + 1 - DELIVERED)


def test_nothing_is_leased_for_a_mirror_before_its_queue_is_whole(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "_AT_ONCE", 9)
    with opened(two) as spool:
        oldest = []
        for _ in spool.serve(["b", "c"]):
            oldest.append(of(spool, "c").backlog_oldest_ns)
            if of(spool, "c").backlog_points < 120:
                assert spool.queue("c").lease(9) is None
        assert oldest == [None, 31, 22, 13, 4, 0, 0]
        assert lines(leased(spool, 3, server="c")) == reading(0)


def test_at_the_bound_what_every_server_has_goes_first_and_then_the_oldest_is_lost_for_some(
    tmp_path: Path,
) -> None:
    with served(Spool(tmp_path, MB), "b") as spool:
        appended(spool, *range(200))
        spool.queue().settle(leased(spool), NOW)
        spool.queue("b").settle(leased(spool, 3 * 50, server="b"), NOW)
        for _ in range(20):  # b was back for a moment, and got the newest first
            spool.queue("b").settle(leased(spool, newest=True, server="b"), NOW)
        spool.set_bound(spool.path.stat().st_size + 3 * 2**16)  # beside the database
        number = 200
        while not of(spool, "b").lost:  # b is unreachable; main gets each at once
            assert spool.pressure is None
            spool.append(reading(number), number)
            spool.queue().settle(leased(spool), NOW)
            number += 1
        assert "has reached its bound" in str(spool.pressure)
        assert of(spool, "b").backlog_oldest_ns > 49  # type: ignore[operator]  # some wait
        lost = of(spool, "b").lost["spool_full"]
        assert number > 240
        assert of(spool, MAIN).lost == {}
        with SpoolReader(tmp_path) as reader:
            assert set(reader.times(0)).isdisjoint({*range(50), *range(180, 200)})
        assert spool.gaps() == [Gap("spool_full", 50, 49 + lost // 3, lost // 3, "b")]
        while not of(spool, MAIN).lost:  # now none is reachable
            spool.append(reading(number), number)
            number += 1
        assert of(spool, MAIN).backlog_points <= of(spool, "b").backlog_points
        (everywhere,) = [gap for gap in spool.gaps() if not gap.server]
        assert everywhere.readings == of(spool, MAIN).lost["spool_full"] // 3


def test_a_damaged_reading_is_lost_for_each_server_that_lacked_it(two: Path) -> None:
    sql(two, "UPDATE tick SET lines = x'00' WHERE time_ns IN (7, 20)")
    with opened(two) as spool:
        drained(spool, "b")
        assert of(spool, "b").lost == {"corrupt_store": 6}
        assert of(spool, MAIN).lost == {"corrupt_store": 3}
        assert spool.gaps() == [
            Gap("corrupt_store", 7, 7, 1, "b"),
            Gap("corrupt_store", 20, 20, 1),
        ]


def test_a_refused_line_is_queued_again_for_the_server_that_refused_it(two: Path) -> None:
    with opened(two) as spool:
        for server in BOTH:
            refused = [Refusal(f"m,server={server} f={n}i 99", "no") for n in range(2)]
            batch = leased(spool, 3, server=server)
            spool.queue(server).settle(batch, NOW, refused)
    with SpoolReader(two) as reader:
        kept = reader.rejected(9)
        assert [(line.id, line.server) for line in kept] == [
            (4, "b"),
            (3, "b"),
            (2, MAIN),
            (1, MAIN),
        ]
        assert (reader.contents().rejected_points, reader.contents("b").rejected_points) == (2, 2)
    assert drop_rejected(two, [1]) == 1
    assert retry_rejected(two) == (3, 0)
    with opened(two) as spool:
        assert (of(spool, MAIN).lost, of(spool, "b").lost) == ({"rejected": 1}, {})
        for server, numbers in ((MAIN, [1]), ("b", [0, 1])):
            again = [f"m,server={server} f={n}i 99" for n in numbers]
            assert lines(leased(spool, newest=True, server=server)) == again


def test_a_reading_that_waits_anywhere_gets_its_right_time(two: Path) -> None:
    with opened(two) as spool:
        appended(spool, NEW, NEW + 1)
        spool.queue().settle(leased(spool), NOW)
        appended(spool, NEW + 2)
        spool.queue("b").settle(leased(spool, newest=True, server="b"), NOW)
        assert spool.restamp(range(spool.next_id), 10**9, 5)[0] == 3
        assert drained(spool, MAIN)[-1].endswith(f" {NEW + 7}")
        assert drained(spool, "b")[-1].endswith(f" {NEW + 6}")
        for server in BOTH:
            assert of(spool, server).backlog_bytes == 0


@pytest.mark.parametrize("table", ["server", "pending", "counter"])
def test_where_what_a_mirror_has_cannot_be_read_all_that_is_held_goes_to_it_again(
    two: Path, table: str
) -> None:
    with served(opened(two), "b") as spool:
        spool.queue("b").settle(leased(spool, 3, server="b"), NOW, [Refusal("m f=1i 1", "no")])
    scribble(two / "spool.db", (leaf_of(two, table) - 1) * PAGE, PAGE)
    scribble(two / "spool.db", 0, 100)
    with opened(two) as spool:
        spool.append(reading(NEW), NEW)
        served(spool, "b")
        salvaged(spool)
        assert of(spool, "b").lost == ({} if table == "counter" else {"rejected": 1})
        assert drained(spool, "b") == all_of(*range(TICKS), NEW)
        assert of(spool, MAIN).lost == {}
        first = DELIVERED if table == "server" else 0
        assert drained(spool, MAIN) == all_of(*range(first, TICKS), NEW)
        kept = int(table != "server")  # the lines of a mirror that is not known any more are not
        assert of(spool, "b").rejected_points == kept
        assert retry_rejected(two) == (kept, 0)
        assert drained(spool, "b") == ["m f=1i 1"] * kept
        assert of(spool, "b").lost == ({} if kept else {"rejected": 1})


@pytest.mark.parametrize(
    ("begun", "wanted"), [(0, ("b", "c")), (3, ("b", "c")), (0, ("c",)), (3, ("c",))]
)
def test_mirrors_that_come_or_go_during_a_salvage_do_so_at_its_end(
    two: Path, begun: int, wanted: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "_AT_ONCE", 9)
    with opened(two) as spool:  # a part of a queue may be filled when the store breaks
        for _, _part in zip(range(begun), spool.serve(["b", "c"]), strict=False):
            pass
    scribble(two / "spool.db", 0, 100)
    with opened(two) as spool:
        assert list(spool.serve(wanted)) == []
        appended(spool, NEW)
        assert spool.queue("c").lease(9) is None
        for _ in spool.salvage():
            for server in (MAIN, "b", "c"):
                of(spool, server)
        assert of(spool, "c").points == 3 * (TICKS + 1)
        assert drained(spool, "c") == all_of(*range(TICKS), NEW)
        waited = 3 * (TICKS + 1 - 5)
        assert of(spool, "b").backlog_points == (waited if "b" in wanted else 0)
        assert of(spool, "b").lost == ({} if "b" in wanted else {"mirror_removed": waited})


def test_a_change_of_servers_is_logged_and_counted_once_though_it_failed_before(
    two: Path, caplog: pytest.LogCaptureFixture
) -> None:
    again = ": all readings that are held go there once more"
    exchanged = [
        f"the main server is now at y, where mirror b was{again}",
        f"mirror b is now at x, where the main server was{again}",
    ]
    gone = "Mirror b is no longer in the settings: 120 points that waited for it are given up"
    with opened(two) as spool:
        assert list(spool.serve(["b"], {MAIN: "x", "b": "y"})) == []
        for refused, mirrors, places, told in (
            ("UPDATE ON server WHEN new.name = 'b'", ["b"], {MAIN: "y", "b": "x"}, exchanged),
            ("DELETE ON server", [], {MAIN: "y"}, [gone]),
        ):
            trigger = f"BEFORE {refused} BEGIN SELECT RAISE(FAIL, 'not now'); END"
            sql(two, f"CREATE TRIGGER refusal {trigger}")
            for _ in range(2):
                with pytest.raises(SpoolError):
                    list(spool.serve(mirrors, places))
            assert caplog.messages == []
            sql(two, "DROP TRIGGER refusal")
            for _ in range(2):
                list(spool.serve(mirrors, places))
            assert caplog.messages == told
            caplog.clear()
        assert of(spool, "b").lost == {"mirror_removed": 120}
        assert drained(spool, MAIN) == all_of(*range(TICKS))


def test_servers_that_are_exchanged_during_a_salvage_get_all_that_is_held_at_its_end(
    two: Path,
) -> None:
    own, exchanged = {MAIN: "x", "b": "y"}, {MAIN: "y", "b": "x"}
    with opened(two) as spool:
        assert list(spool.serve(["b"], own)) == []
    scribble(two / "spool.db", 0, 100)
    with opened(two) as spool:
        for places in (exchanged, own):  # what is delivered meanwhile goes to the wrong one
            assert list(spool.serve(["b"], places)) == []
        salvaged(spool)
        for server in BOTH:
            assert drained(spool, server) == all_of(*range(TICKS))
            of(spool, server)


def test_a_store_that_is_removed_is_made_anew_with_the_account_of_each_server(two: Path) -> None:
    with opened(two) as spool:
        waited = {server: of(spool, server).backlog_points for server in BOTH}
        remove(two, *FILES)
        appended(spool, NEW)
        for server in BOTH:
            assert of(spool, server).lost == {"corrupt_store": waited[server]}
            assert drained(spool, server) == reading(NEW)
        assert {gap.server for gap in spool.gaps()} == {MAIN, "b"}
        assert spool.queue("b").facts()["bucket_age_s"] == "2"
