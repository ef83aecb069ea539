"""A random sequence of faults, and then the account: made = delivered + each cause of loss.

`make chaos` runs it for as long as CHAOS_SECONDS says, from the seed CHAOS_SEED; otherwise it is a
smoke test of some seconds, always the same.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.spool.schema import COMMITTED
from tests.chaos.chaos import SECONDS, SEED, Chaos
from tests.chaos.kinds import KINDS, fill_the_spool
from tests.influxd.process import InfluxProcess

# Enough for the spool to be full: it takes about 40 kB of readings a second.
FILLING_S = 60.0


@pytest.fixture
def chaos(influx_process: InfluxProcess, tmp_path: Path) -> Iterator[Chaos]:
    one = Chaos(influx_process, tmp_path)
    yield one
    one.close()


def run(chaos: Chaos) -> None:
    """Make faults until the time is over, of each kind as often as the list has it."""
    end = time.monotonic() + SECONDS
    kinds = list(KINDS)
    chaos.chance.shuffle(kinds)
    full = SECONDS < FILLING_S
    while time.monotonic() < end:
        if not full and time.monotonic() > end - 0.7 * SECONDS:
            full = True
            kinds.insert(0, fill_the_spool)
        kind = kinds.pop(0)
        chaos.tell(kind.__name__.replace("_", " "))
        kind(chaos)
        chaos.live_a_while()
        if kind is not fill_the_spool:
            kinds.append(kind)


def test_whatever_happens_every_point_made_is_delivered_or_counted_as_lost(chaos: Chaos) -> None:
    print(f"\nCHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}", flush=True)  # noqa: T201  # to run again
    run(chaos)
    status = chaos.settle()
    ledger, made = chaos.ledger, chaos.ledger.lines
    lost = {cause: n for cause, n in status["lost"].items() if cause in COMMITTED}
    missing = ledger.missing(chaos.bucket)
    gone = sum(missing.values())
    is_exact = chaos.is_exact
    print(  # noqa: T201  # the account
        f"  made {made} = delivered {status['delivered_points']} + lost {lost};"
        f" in InfluxDB {made - gone}{'' if is_exact else '; the counters were lost'};"
        f" missing {missing}"
    )
    # The account of the agent is whole; the ledger beside it agrees, unless the counters were lost.
    assert status["backlog_points"] == 0
    assert status["points"] == status["delivered_points"] + sum(lost.values()) > 0
    assert made == status["points"] or (made > status["points"] and not is_exact)
    assert "expired" not in lost
    # Commands may have deleted refused lines, damage too, and the bound before readings that wait.
    if not chaos.salvages:
        assert status["rejected_points"] <= lost.get("rejected", 0) - chaos.dropped
    # What InfluxDB does not hold is what was counted as lost. It may hold some of that, too: what
    # was taken off the queue may have been on its way, and the answer lost.
    if is_exact:
        assert gone <= sum(lost.values()), missing
    if is_exact and lost.keys() <= {"rejected"}:
        assert gone == sum(lost.values()), missing
    # Nothing but refused lines is missing that did not wait at such a moment; the point of a gap
    # waits with a reading that is later than its time.
    late = {"metrics_gap"} if ledger.at_risk else set()
    assert ledger.missing(chaos.bucket, ledger.safe()).keys() <= {"chaos"} | late
    if not lost and is_exact:
        assert ledger.check_samples(chaos.bucket) == 0
    else:
        ledger.check_samples(chaos.bucket)
    assert "Traceback" not in chaos.logs
