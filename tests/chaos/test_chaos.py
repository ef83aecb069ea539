"""A random sequence of faults, and then, of each server: made = delivered + each cause of loss.

`make chaos` runs it for as long as CHAOS_SECONDS says, from the seed CHAOS_SEED; otherwise it is a
smoke test of some seconds, always the same.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.settings import MAIN
from pipeline.spool import COMMITTED
from tests.chaos.chaos import MIRROR, SECONDS, SEED, Chaos, Place
from tests.chaos.kinds import KINDS, fill_the_spool
from tests.influxd.process import InfluxProcess, running

# Enough for the spool to be full: it takes about 40 kB of readings a second.
FILLING_S = 60.0


@pytest.fixture
def chaos(influx_process: InfluxProcess, influxd_binary: Path, tmp_path: Path) -> Iterator[Chaos]:
    folder = tmp_path / "influxd-b"
    folder.mkdir()
    with running(influxd_binary, folder) as mirror:
        one = Chaos({MAIN: influx_process, MIRROR: mirror}, tmp_path)
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
        chaos.place = chaos.chance.choice([*chaos.places.values()])
        chaos.tell(f"{kind.__name__.replace('_', ' ')} ({chaos.place.name})")
        kind(chaos)
        chaos.live_a_while()
        if kind is not fill_the_spool:
            kinds.append(kind)


def test_whatever_happens_every_point_made_is_delivered_or_counted_as_lost(chaos: Chaos) -> None:
    print(f"\nCHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}", flush=True)  # noqa: T201  # to run again
    run(chaos)
    status = chaos.settle()
    for place in chaos.places.values():
        settle(chaos, place, status["servers"][place.name])
    # Commands may have deleted refused lines, damage too, and the bound before readings that wait.
    if not chaos.salvages:
        servers = status["servers"].values()
        refused = sum(one["lost"].get("rejected", 0) for one in servers)
        assert sum(one["rejected_points"] for one in servers) <= refused - chaos.dropped
    assert "Traceback" not in chaos.logs


def settle(chaos: Chaos, place: Place, account: dict[str, Any]) -> None:
    """Compare a server's account with what was made, and with what is there."""
    ledger, made = chaos.ledger, chaos.ledger.lines
    lost = {cause: n for cause, n in account["lost"].items() if cause in COMMITTED}
    missing = ledger.missing(place.bucket)
    gone = sum(missing.values())
    is_filled = place.name in chaos.filled
    is_exact = chaos.is_exact and not is_filled
    print(  # noqa: T201  # the account
        f"  {place.name}: made {made}, {account['points']} = delivered"
        f" {account['delivered_points']} + lost {lost};"
        f" in InfluxDB {made - gone}{'' if is_exact else '; not to be compared'};"
        f" missing {missing}"
    )
    # The account of the agent is whole; the ledger beside it agrees, unless the counters were lost.
    assert account["backlog_points"] == 0
    assert account["points"] == account["delivered_points"] + sum(lost.values()) > 0
    assert made == account["points"] or not is_exact
    assert made >= account["points"] or is_filled
    assert "expired" not in lost
    # What InfluxDB does not hold is what was counted as lost. It may hold some of that, too: what
    # was taken off the queue may have been on its way, and the answer lost.
    if is_exact:
        assert gone <= sum(lost.values()), missing
    if is_exact and lost.keys() <= {"rejected"}:
        assert gone == sum(lost.values()), missing
    # Nothing but refused lines is missing that did not wait at such a moment; the point of a gap
    # waits with a reading that is later than its time.
    late = {"metrics_gap"} if ledger.at_risk[place.name] else set()
    safe = ledger.safe(place.name)
    assert ledger.missing(place.bucket, safe).keys() <= {"chaos"} | late
    absent = ledger.check_samples(place.bucket)
    assert absent == 0 or lost or not is_exact
