"""What can happen. A new kind is a function here, and a place in the list at the end.

A kind breaks something, and has it work again when it returns. The log of a run has its name.
"""

import os
import signal
import time
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from random import Random

from pipeline.spool import holder
from tests.agents import eventually
from tests.chaos.chaos import MIRROR, SECONDS, Chaos
from tests.chaos.proxy import FAULTS, HANG_COUNTS, PASS, REFUSE
from tests.spool.stores import PAGE, scribble

Kind = Callable[[Chaos], None]
_REFUSED_SERIES = 3
_LOG_HEADER, _FRAME = 32, 24  # bytes of SQLite's log, and before each page in it
QUESTIONS = (("status",), ("show",), ("rejected", "list"), ("retention", "plan"))
CHANGES = (("rejected", "drop", "--all"), ("rejected", "retry", "--all"), ("retention", "apply"))


def fail_on_the_way(chaos: Chaos) -> None:
    chaos.proxy.fault = chaos.chance.choice(FAULTS)
    chaos.tell(f"  {chaos.proxy.fault}")
    chaos.live_a_while(0.1, 1.5)
    if chaos.chance.random() < 0.3:
        kill_the_agent(chaos)
    chaos.live_a_while(0.1, 1.5)
    chaos.proxy.fault = PASS


def stop_the_server(chaos: Chaos) -> None:
    chaos.place.influx.stop()
    chaos.live_a_while(0.1, 3.0)
    chaos.place.influx.start()


def kill_the_server(chaos: Chaos) -> None:
    chaos.place.influx.kill()
    chaos.live_a_while(0.1, 3.0)
    chaos.place.influx.start()


def stop_the_agent(chaos: Chaos) -> None:
    chaos.stop()
    chaos.start()


def kill_the_agent(chaos: Chaos) -> None:
    chaos.kill()
    chaos.start()


def revoke_the_token(chaos: Chaos) -> None:
    chaos.place.revoke_the_token()
    chaos.live_a_while(0.5, 3.0)
    chaos.rotate_the_token()


def change_the_url_with_a_backlog(chaos: Chaos) -> None:
    chaos.proxy.fault = chaos.chance.choice((REFUSE, "hang", "503 Service Unavailable"))
    chaos.live_a_while(0.5, 2.0)
    chaos.place.other.writes = 0
    former = chaos.go_the_other_way()
    eventually(lambda: chaos.proxy.writes, "readings come by the new way")
    # What hangs there is sent once more, as its connection is dropped now.
    most = former.writes + former.hanging
    former.fault = PASS
    chaos.live(1.0)
    assert former.writes <= most, "what waited went to the former server"


def break_a_type(chaos: Chaos) -> None:
    chaos.write_own("chaos", 'value="text"')
    chaos.live_a_while(0.1, 0.5)
    chaos.write_own("chaos", "value=1i")


def refuse_series_in_each_reading(chaos: Chaos) -> None:
    chaos.write_own("refused", 'value="text"', series=_REFUSED_SERIES)
    chaos.live_a_while(1.0, 2.0)  # what is kept of it leaves less room for readings
    chaos.write_own("refused", "value=1i", series=_REFUSED_SERIES)


def hang_at_a_count(chaos: Chaos) -> None:
    """The one before `enforce` shortens the bucket's rule."""
    rule = {"retentionRules": [{"type": "expire", "everySeconds": 0}]}
    chaos.place.bucket.server.call(
        "PATCH", f"/api/v2/buckets/{chaos.place.bucket.id}", rule
    ).expect(200)
    chaos.proxy.fault = HANG_COUNTS
    chaos.set(bucket_retention="enforce")
    eventually(lambda: chaos.proxy.hanging, "a count hangs")
    name = chaos.place.name
    before = chaos.of(name)["delivered_points"]
    chaos.agent.until(
        lambda s: chaos.of(name, s)["delivered_points"] > before, "readings wait for no count"
    )
    chaos.live_a_while()
    chaos.proxy.fault = PASS
    chaos.set(bucket_retention="extend")


def remove_the_mirror(chaos: Chaos) -> None:
    """And add it again: it gets all that is held."""
    chaos.remove_the_mirrors()
    chaos.live_a_while()
    if chaos.chance.random() < 0.3:
        kill_the_agent(chaos)
    chaos.live_a_while()
    chaos.add_the_mirrors()
    chaos.ledger.leave_out(MIRROR, chaos.data_dir)


def exchange_the_servers(chaos: Chaos) -> None:
    """While readings wait for one of them; then let each have its own name again."""
    chaos.proxy.fault = chaos.chance.choice((REFUSE, "hang", "503 Service Unavailable"))
    for _ in range(2):
        chaos.live_a_while()
        if chaos.chance.random() < 0.3:
            kill_the_agent(chaos)
        chaos.exchange()
    chaos.proxy.fault = PASS
    for name in chaos.places:
        chaos.ledger.leave_out(name, chaos.data_dir)


def use_commands(chaos: Chaos) -> None:
    """All that read or change what the agent has, or had."""
    for words in chaos.chance.sample(QUESTIONS, 2):
        done = chaos.command(*words)
        assert done.status == 0, (words, done)
    change = chaos.chance.choice(CHANGES)
    done = chaos.command(*change)
    assert done.status == 0, (change, done)
    if "drop" in change:
        chaos.dropped += int(done.out.split()[0])


def use_commands_beside_a_stopped_store(chaos: Chaos) -> None:
    chaos.chance.choice((chaos.stop, chaos.kill))()
    use_commands(chaos)
    chaos.start()


def damage_the_store(chaos: Chaos) -> None:
    """While the agent is down; commands find it first, and those that only read change nothing."""
    chaos.chance.choice((chaos.stop, chaos.kill))()
    damage = chaos.chance.choice(DAMAGES)
    chaos.tell(f"  {damage.__name__.replace('_', ' ')}")
    damage(chaos.data_dir, chaos.chance)
    chaos.lose_what_waits()
    before = _files(chaos.data_dir)
    for words in (*chaos.chance.sample(QUESTIONS, 2), chaos.chance.choice(CHANGES)):
        done = chaos.command(*words)
        assert done.status == 0 or str(chaos.data_dir) in done.err, (words, done)
        assert words in CHANGES or _files(chaos.data_dir) == before, words
    chaos.start()
    chaos.wait_for_readings()


def remove_the_data(chaos: Chaos) -> None:
    """With its folder, while the agent runs; what it commits until it notices is read, too."""
    chaos.wait_for_readings()
    rest = chaos.folder / f"removed-{time.monotonic_ns()}"
    chaos.data_dir.rename(rest)
    chaos.wait_for_readings()
    chaos.ledger.read(rest)
    chaos.lose_what_waits()


def remove_the_lock(chaos: Chaos) -> None:
    """And start another agent, which gets the data if it is faster."""
    chaos.wait_for_readings()
    one, other_is_faster = chaos.agent, chaos.chance.random() < 0.5
    if other_is_faster:
        one.process.send_signal(signal.SIGSTOP)
    (chaos.data_dir / "agent.lock").unlink()
    other = chaos.another()

    def has_it() -> bool:
        assert other.process.poll() is None, f"the other agent ended: {other.log}"
        return holder(chaos.data_dir) == other.process.pid

    if other_is_faster:
        eventually(has_it, "the other has the lock")
        one.process.send_signal(signal.SIGCONT)
    chaos.agent, former = (other, one) if other_is_faster else (one, other)
    assert former.ended() == 1, former.log
    assert str(chaos.data_dir) in former.log, former.log


def _files(directory: Path) -> dict[str, bytes]:
    """What a store is made of; readers share its index."""
    return {
        path.name: path.read_bytes()
        for path in directory.glob("spool.db*")
        if not path.name.endswith("-shm")
    }


def _header(directory: Path, chance: Random) -> None:
    scribble(directory / "spool.db", 0, 100, chance.randrange(2**32))


def _pages(directory: Path, chance: Random) -> None:
    file = directory / "spool.db"
    at = chance.randrange(file.stat().st_size // PAGE) * PAGE
    scribble(file, at, chance.randint(1, 4) * PAGE, chance.randrange(2**32))


def _cut(directory: Path, chance: Random) -> None:
    file = directory / "spool.db"
    os.truncate(file, int(file.stat().st_size * chance.random()))


def _empty(directory: Path, _: Random) -> None:
    os.truncate(directory / "spool.db", 0)


def _log(directory: Path, chance: Random) -> None:
    """One that a killed agent has left, but for its end: that looks as if it was half written."""
    log = directory / "spool.db-wal"
    data = log.read_bytes() if log.exists() else b""
    frames = (data[at : at + _FRAME] for at in range(_LOG_HEADER, len(data), _FRAME + PAGE))
    in_use = takewhile(lambda frame: frame[8:16] == data[16:24], frames)
    commits = [number for number, frame in enumerate(in_use, 1) if any(frame[4:8])]
    if len(commits) > 2:
        end = _LOG_HEADER + commits[-3] * (_FRAME + PAGE)
        at, size = chance.randrange(end), chance.choice((1, 500))
        scribble(log, at, min(size, end - at), chance.randrange(2**32))


DAMAGES = (_header, _pages, _cut, _empty, _log)


def fill_the_spool(chaos: Chaos) -> None:
    """Not one of the list: it takes long."""
    until = time.monotonic() + 0.5 * SECONDS
    chaos.proxy.fault = chaos.chance.choice((REFUSE, "503 Service Unavailable"))
    chaos.tell(f"  {chaos.proxy.fault}")
    while not chaos.of(chaos.place.name)["lost"].get("spool_full") and time.monotonic() < until:
        chaos.live(1.0)
    # The newest reading is delivered first, and would make room before the ledger has read it.
    chaos.set(spool_max_mb=2)
    eventually(lambda: "Setting spool_max_mb" in chaos.agent.log, "there is more room")
    chaos.proxy.fault = PASS
    few = 500
    chaos.agent.until(
        lambda s: chaos.of(chaos.place.name, s)["backlog_points"] < few, "what waited is delivered"
    )
    chaos.live(0.0)
    chaos.set(spool_max_mb=1)


KINDS: tuple[Kind, ...] = (
    *[fail_on_the_way] * 6,
    stop_the_server,
    kill_the_server,
    stop_the_agent,
    kill_the_agent,
    revoke_the_token,
    change_the_url_with_a_backlog,
    break_a_type,
    refuse_series_in_each_reading,
    hang_at_a_count,
    remove_the_mirror,
    exchange_the_servers,
    damage_the_store,
    remove_the_data,
    remove_the_lock,
    use_commands,
    use_commands_beside_a_stopped_store,
)
