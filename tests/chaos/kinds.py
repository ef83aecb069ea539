"""What can happen. A new kind is a function here, and a place in the list at the end.

A kind breaks something, and has it work again when it returns. The log of a run has its name.
"""

import time
from collections.abc import Callable

from tests.agents import eventually
from tests.chaos.chaos import Chaos
from tests.chaos.proxy import FAULTS, HANG_QUERIES, PASS, REFUSE

Kind = Callable[[Chaos], None]
_REFUSED_SERIES = 3
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
    chaos.influx.stop()
    chaos.live_a_while(0.1, 3.0)
    chaos.influx.start()


def kill_the_server(chaos: Chaos) -> None:
    chaos.influx.kill()
    chaos.live_a_while(0.1, 3.0)
    chaos.influx.start()


def stop_the_agent(chaos: Chaos) -> None:
    chaos.stop()
    chaos.start()


def kill_the_agent(chaos: Chaos) -> None:
    chaos.kill()
    chaos.start()


def revoke_the_token(chaos: Chaos) -> None:
    chaos.revoke_the_token()
    chaos.live_a_while(0.5, 3.0)
    chaos.rotate_the_token()


def change_the_url_with_a_backlog(chaos: Chaos) -> None:
    chaos.proxy.fault = chaos.chance.choice((REFUSE, "hang", "503 Service Unavailable"))
    chaos.live_a_while(0.5, 2.0)
    former = chaos.go_the_other_way()
    eventually(lambda: chaos.proxy.writes, "readings come by the new way")
    former.fault, writes = PASS, former.writes
    chaos.live(1.0)
    assert former.writes == writes, "what waited went to the former server"
    chaos.proxy.writes = 0


def break_a_type(chaos: Chaos) -> None:
    chaos.write_own("chaos", 'value="text"')
    chaos.live_a_while(0.1, 0.5)
    chaos.write_own("chaos", "value=1i")


def refuse_series_in_each_reading(chaos: Chaos) -> None:
    chaos.write_own("refused", 'value="text"', series=_REFUSED_SERIES)
    chaos.live_a_while(1.0, 4.0)
    chaos.write_own("refused", "value=1i", series=_REFUSED_SERIES)


def hang_at_a_count(chaos: Chaos) -> None:
    """The one before `enforce` shortens the bucket's rule."""
    rule = {"retentionRules": [{"type": "expire", "everySeconds": 0}]}
    chaos.bucket.server.call("PATCH", f"/api/v2/buckets/{chaos.bucket.id}", rule).expect(200)
    chaos.proxy.fault = HANG_QUERIES
    chaos.set(bucket_retention="enforce")
    eventually(lambda: chaos.proxy.hanging, "a count hangs")
    before = chaos.agent.status()["delivered_points"]
    chaos.agent.until(lambda s: s["delivered_points"] > before, "readings wait for no count")
    chaos.live_a_while()
    chaos.proxy.fault = PASS
    chaos.set(bucket_retention="extend")


def use_commands(chaos: Chaos) -> None:
    """All that read or change what the agent has, or had."""
    for words in QUESTIONS:
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


def fill_the_spool(chaos: Chaos) -> None:
    """Not one of the list: it takes long."""
    until = time.monotonic() + 270
    chaos.proxy.fault = chaos.chance.choice((REFUSE, "503 Service Unavailable"))
    chaos.tell(f"  {chaos.proxy.fault}")
    while not chaos.agent.status()["lost"].get("spool_full") and time.monotonic() < until:
        chaos.live(1.0)
    chaos.proxy.fault = PASS


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
    use_commands,
    use_commands_beside_a_stopped_store,
)
