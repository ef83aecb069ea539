"""Whatever happens in whatever order: what is held, and what each server has of it, adds up."""

import random
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pipeline.settings import MAIN, Age
from pipeline.spool import Aging, Refusal, Spool, SpoolReader, queues
from tests.spool.stores import MB, account, history, lines, salvaged, scribble, sql

pytestmark = pytest.mark.slow  # much to write

SERVERS = (MAIN, "b", "c")
named = st.sampled_from(SERVERS)
mirrors = st.sets(st.sampled_from(SERVERS[1:]))


class Held(RuleBasedStateMachine):
    """What was committed for a server is delivered, waits or is lost, to the point."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        # Small parts, so that there are many of them.
        self.parts = mock.patch.object(queues, "_AT_ONCE", 9)
        self.parts.start()
        self.spool = Spool(self.path, 100 * MB)
        self.now = 0
        self.held: dict[int, list[str]] = {}
        self.waiting: dict[str, list[int]] = {MAIN: []}
        self.delivered: Counter[str] = Counter()
        self.lost: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def reopen(self) -> None:
        self.spool.close()
        self.spool = Spool(self.path, 100 * MB)

    def loses(self, server: str, cause: str, times: list[int]) -> None:
        self.lost[server][cause] += sum(len(self.held[time]) for time in times)
        self.waiting[server] = [time for time in self.waiting[server] if time not in times]

    @rule(readings=st.integers(1, 20), points=st.integers(0, 3))
    def append(self, readings: int, points: int) -> None:
        for _ in range(readings):
            self.now += 1
            noise = random.Random(self.now).randbytes(60).hex()  # noqa: S311  # chance that comes back
            reading = [
                f'{"net" if n else "disk"},n={n} free={7**n}i,n="{noise}" {self.now}'
                for n in range(points)
            ]
            self.spool.append(reading, self.now)
            if reading:
                self.held[self.now] = reading
                for waiting in self.waiting.values():
                    waiting.append(self.now)

    @rule(server=named, size=st.integers(1, 60), newest=st.booleans(), refused=st.booleans())
    def deliver(self, server: str, size: int, newest: bool, refused: bool) -> None:
        waiting = self.waiting.get(server, [])
        queue = self.spool.queue(server)
        batch = queue.lease(size, newest=newest)
        if batch is None:
            assert not waiting
            return
        sent = waiting[-1:] if newest else waiting[: len(batch.ids)]
        assert lines(batch) == [line for time in sent for line in self.held[time]]
        refusals = [Refusal(lines(batch)[0], "no")] if refused else []
        queue.settle(batch, self.now, refusals)
        self.waiting[server] = [time for time in waiting if time not in sent]
        self.delivered[server] += batch.points - refused
        self.lost[server]["rejected"] += refused

    @rule(server=named, age=st.integers(0, 50))
    def give_up(self, server: str, age: int) -> None:
        old = [time for time in self.waiting.get(server, []) if time < self.now - age]
        given_up = self.spool.queue(server).give_up(self.now - age)
        assert given_up == sum(len(self.held[time]) for time in old)
        if old:
            self.loses(server, "expired", old)

    @rule(age=st.integers(-1, 50), whole=st.booleans(), beside=st.booleans())
    def age(self, age: int, whole: bool, beside: bool) -> None:
        stop = self.now - age
        some = None if whole else Age(1, "disk")
        if beside:
            with Aging.beside(self.path) as aging:
                aging.remove(0, stop, some, count=True)
        else:
            self.spool.aging.remove(0, stop, some, count=True)
        for time in [time for time in self.held if time < stop]:
            left = [line for line in self.held[time] if not whole and line.startswith("net")]
            for server, waiting in self.waiting.items():
                if time in waiting:
                    self.lost[server]["expired"] += len(self.held[time]) - len(left)
                    if not left:
                        waiting.remove(time)
            self.held[time] = left
            if not left:
                del self.held[time]

    @rule(pages=st.integers(12, 40))
    def bound(self, pages: int) -> None:
        """The oldest that nobody waits for go first, then the oldest of all."""
        self.spool.set_bound(3 * 2**16 + pages * 4096)
        self.spool.set_bound(100 * MB)
        with SpoolReader(self.path) as reader:
            left = reader.times(0)
        gone = [time for time in self.held if time not in left]
        wanted = {time for waiting in self.waiting.values() for time in waiting}
        if not wanted.isdisjoint(gone):
            assert wanted.issuperset(left[:-1])
        for which in (wanted, set(self.held) - wanted):
            assert (
                sorted(which.intersection(gone)) == sorted(which)[: len(which.intersection(gone))]
            )
        for server, waiting in self.waiting.items():
            self.loses(server, "spool_full", [time for time in waiting if time in gone])
        for time in gone:
            del self.held[time]

    @rule(before=st.none() | mirrors, parts=st.integers(1, 12), wanted=mirrors)
    def serve(self, before: set[str] | None, parts: int, wanted: set[str]) -> None:
        """Other mirrors; perhaps a process ended while it took others again."""
        begun = set()
        if before is not None:
            begun = self.waiting.keys() - before - {MAIN}
            for _, _step in zip(range(parts), self.spool.serve(before), strict=False):
                self.adds_up()
            self.reopen()
            self.adds_up()
        for _ in self.spool.serve(wanted):
            self.adds_up()
        for server in (self.waiting.keys() | begun) - {MAIN} - wanted:
            self.waiting.pop(server, None)
        for server in wanted:
            found = self.queued(server)
            kept = self.waiting.get(server)
            assert found == list(self.held) or (found == kept and server in self.waiting)
            assert server in begun or kept is None or found == kept
            self.waiting[server] = found
        for server in SERVERS[1:]:  # how much was given up depends on the moment of the end
            gone = self.spool.queue(server).contents().lost.get("mirror_removed", 0)
            assert gone >= self.lost[server]["mirror_removed"]
            self.lost[server]["mirror_removed"] = gone

    def queued(self, server: str) -> list[int]:
        query = "SELECT time_ns FROM pending JOIN tick USING (id) WHERE server = ? ORDER BY id"
        return [time for (time,) in sql(self.path, query, server)]

    @rule(damaged=st.booleans())
    def restart(self, damaged: bool) -> None:
        self.spool.close()
        if damaged:
            scribble(self.path / "spool.db", 0, 100)
        self.spool = Spool(self.path, 100 * MB)
        for _ in self.spool.serve(self.waiting.keys() - {MAIN}):
            assert not damaged
        salvaged(self.spool)

    @invariant()
    def is_held(self) -> None:
        expected = ["".join(f"{line}\n" for line in reading) for reading in self.held.values()]
        assert history(self.path) == expected
        with SpoolReader(self.path) as reader:
            assert set(reader.servers()) == self.waiting.keys()
        for server in SERVERS:
            found = self.spool.queue(server).contents()
            waiting = self.waiting.get(server, [])
            assert found.delivered_points == self.delivered[server]
            assert found.backlog_points == sum(len(self.held[time]) for time in waiting)
            assert found.backlog_oldest_ns == next(iter(waiting), None)
            assert found.lost == {cause: n for cause, n in self.lost[server].items() if n}

    @invariant()
    def adds_up(self) -> None:
        """What triggers count is what a count finds."""
        for server in SERVERS:
            found = self.spool.queue(server).contents()
            account(found)
            query = (
                "SELECT coalesce(sum(points), 0), coalesce(sum(bytes), 0) "
                "FROM pending WHERE server = ?"
            )
            counted = (found.backlog_points, found.backlog_bytes)
            assert sql(self.path, query, server) == [counted]
            query = "SELECT count(*) FROM rejected WHERE server = ?"
            assert sql(self.path, query, server) == [(found.rejected_points,)]
        behind = (
            "SELECT id FROM tick WHERE id > (SELECT min(id) FROM pending) "
            "EXCEPT SELECT id FROM pending"
        )
        assert set(sql(self.path, behind)) <= set(sql(self.path, "SELECT id FROM ahead"))
        waiting = "SELECT id FROM ahead WHERE id IN (SELECT id FROM pending)"
        assert sql(self.path, waiting) == []

    def teardown(self) -> None:
        self.parts.stop()
        self.spool.close()
        self.folder.cleanup()


def test_whatever_is_done_what_is_held_and_each_account_add_up() -> None:
    run_state_machine_as_test(Held, settings=settings(max_examples=15, stateful_step_count=15))
