"""A random sequence of faults, and then the account: made = delivered + each cause of loss.

`make chaos` runs it for as long as CHAOS_SECONDS says, from the seed CHAOS_SEED; otherwise it is a
smoke test of some seconds, always the same.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import AgentProcess, environment
from tests.chaos.ledger import Ledger
from tests.chaos.proxy import FAULTS, PASS, REFUSE, Proxy
from tests.influxd import api
from tests.influxd.process import InfluxProcess

SECONDS = float(os.environ.get("CHAOS_SECONDS", "4"))
SEED = os.environ.get("CHAOS_SEED", "1")
# Enough for the spool to be full: it takes about 40 kB of readings a second.
FILLING_S = 60.0
CAUSES = {"spool_full", "rejected"}


class Chaos:
    """The agent, the server, what lies between them, and what can happen to each."""

    def __init__(self, influx: InfluxProcess, folder: Path) -> None:
        self.chance = random.Random(SEED)  # noqa: S311  # chance that comes back is wanted
        self.influx = influx
        self.bucket = api.create_bucket(influx.server, "metrics")
        self.proxy = Proxy(influx.server.url)
        self.folder = folder
        self.data_dir = folder / "data"
        self.ledger = Ledger(self.chance)
        self.story: list[str] = []
        (folder / "settings.toml").write_text("")
        (folder / "own").mkdir()
        self._write_own("1i")
        self._token_id = ""
        self._rotate()
        self.agent = self._start()

    def _start(self) -> AgentProcess:
        env = environment(
            self.data_dir,
            self.bucket,
            influxdb_url=self.proxy.url,
            influxdb_timeout_s=2,
            collection_interval_ms=20,
            spool_max_mb=1,
            cleanup_interval_minutes=1,
            collectors__file__directory=self.folder / "own",
        )
        del env["METRICS_INFLUXDB_TOKEN"]
        return AgentProcess(env, self.folder)

    def run(self) -> None:
        """Make faults until the time is over."""
        end = time.monotonic() + SECONDS
        faults: list[Callable[[], None]] = [
            self.stop_the_server, self.kill_the_server, self.kill_the_agent, self.stop_the_agent,
            self.revoke_the_token, self.break_a_type, *[self.fail] * 6,
        ]  # fmt: skip
        self.chance.shuffle(faults)
        self.live(1.0)
        full = SECONDS < FILLING_S
        while time.monotonic() < end:
            if not full and time.monotonic() > end - 0.7 * SECONDS:
                full = True
                self.fill_the_spool()
            fault = faults.pop(0)
            faults.append(fault)
            fault()
            self.live(self.chance.uniform(0.1, 2.0))

    def live(self, seconds: float) -> None:
        """Let time go by; the ledger keeps up with the agent."""
        until = time.monotonic() + seconds
        while True:
            self.ledger.read(self.data_dir)
            left = until - time.monotonic()
            if left <= 0:
                return
            assert self.agent.process.poll() is None, f"the agent ended: {self.agent.log}"
            time.sleep(min(left, 0.5))

    def tell(self, what: str) -> None:
        self.story.append(what)
        print(f"  {what}", flush=True)  # noqa: T201  # `make chaos` shows it

    def fail(self, fault: str | None = None, seconds: float | None = None) -> None:
        self.proxy.fault = fault or self.chance.choice(FAULTS)
        seconds = seconds or self.chance.uniform(0.3, 3.0)
        self.tell(f"{self.proxy.fault}, for {seconds:.1f} s")
        self.live(seconds / 2)
        if self.chance.random() < 0.3:
            self.kill_the_agent()
        self.live(seconds / 2)
        self.proxy.fault = PASS

    def fill_the_spool(self) -> None:
        seconds, until = 0.0, time.monotonic() + 0.5 * SECONDS
        self.proxy.fault = self.chance.choice((REFUSE, "503 Service Unavailable"))
        self.tell(f"{self.proxy.fault}, until the spool is full")
        while not self.agent.status()["lost"].get("spool_full") and time.monotonic() < until:
            self.live(1.0)
            seconds += 1.0
        self.proxy.fault = PASS

    def stop_the_server(self) -> None:
        self.tell("influxd gets SIGTERM")
        self.influx.stop()
        self.live(self.chance.uniform(0.1, 3.0))
        self.influx.start()

    def kill_the_server(self) -> None:
        self.tell("influxd gets SIGKILL")
        self.influx.kill()
        self.live(self.chance.uniform(0.1, 3.0))
        self.influx.start()

    def kill_the_agent(self) -> None:
        self.tell("the agent gets SIGKILL")
        self.agent.kill()
        self.agent = self._start()

    def stop_the_agent(self) -> None:
        self.tell("the agent gets SIGTERM")
        # One that gets it before it runs has nothing to keep, and ends as any program does.
        assert self.agent.stop() == (0 if self.agent.log else -signal.SIGTERM), self.agent.log
        self.ledger.read(self.data_dir)
        self.agent = self._start()

    def revoke_the_token(self) -> None:
        self.tell("the token is revoked, and the new one comes later")
        path = f"/api/v2/authorizations/{self._token_id}"
        self.bucket.server.call("DELETE", path).expect(204)
        self.live(self.chance.uniform(0.5, 3.0))
        self._rotate()

    def break_a_type(self) -> None:
        self.tell("a field changes its type, and changes back")
        self._write_own('"text"')
        self.live(self.chance.uniform(0.1, 0.5))
        self._write_own("1i")

    def settle(self) -> dict[str, Any]:
        """Let all work, and the agent deliver what waits; return its account."""
        self.tell("all works again")
        self.stop_the_agent()
        waiting = self.agent.until(lambda s: s["delivered_points"] and not s["last_error"], "life")
        self.agent.until(lambda s: s["ticks"] > waiting["ticks"], "readings")
        # One that gets it before it runs has nothing to keep, and ends as any program does.
        assert self.agent.stop() == (0 if self.agent.log else -signal.SIGTERM), self.agent.log
        for _ in range(10):
            self.ledger.read(self.data_dir)
            status = self.agent.status()
            if not status["backlog_points"]:
                break
            self.agent = self._start()
            self.live(5.0)
            # One that gets it before it runs has nothing to keep, and ends as any program does.
        assert self.agent.stop() == (0 if self.agent.log else -signal.SIGTERM), self.agent.log
        return status

    def close(self) -> None:
        self.agent.kill()
        self.proxy.close()

    def _write_own(self, value: str) -> None:
        new = self.folder / "own" / ".chaos.lp"
        new.write_text(f"chaos value={value},always=true\n")
        new.rename(self.folder / "own" / "chaos.lp")

    def _rotate(self) -> None:
        bucket = self.bucket
        org = api.org_id(bucket.server)
        resource = {"type": "buckets", "id": bucket.id, "orgID": org}
        wanted = {
            "orgID": org,
            "permissions": [
                {"action": action, "resource": resource} for action in ("read", "write")
            ],
        }
        made = bucket.server.call("POST", "/api/v2/authorizations", wanted).expect(201).json()
        self._token_id = made["id"]
        secrets = self.folder / ".secrets.toml"
        secrets.write_text(f'influxdb_token = "{made["token"]}"\n')


@pytest.fixture
def chaos(influx_process: InfluxProcess, tmp_path: Path) -> Iterator[Chaos]:
    one = Chaos(influx_process, tmp_path)
    yield one
    one.close()


def test_whatever_happens_every_point_made_is_delivered_or_counted_as_lost(chaos: Chaos) -> None:
    print(f"\nCHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}", flush=True)  # noqa: T201  # to run again
    chaos.run()
    status = chaos.settle()
    lost = {cause: n for cause, n in status["lost"].items() if cause != "tick_missed"}
    missing = chaos.ledger.missing(chaos.bucket)
    gone = sum(missing.values())
    print(  # noqa: T201  # the account
        f"  made {status['points']} = delivered {status['delivered_points']} + lost {lost};"
        f" in InfluxDB {status['points'] - gone}"
    )
    # The ledger beside the agent, and the agent's own account, agree; and nothing is unaccounted.
    assert sum(chaos.ledger.lines.values()) == status["points"] > 0
    assert status["backlog_points"] == 0
    assert status["points"] == status["delivered_points"] + sum(lost.values())
    assert lost.keys() <= CAUSES
    assert lost.get("rejected", 0) == status["rejected_points"]
    # What InfluxDB does not hold is what was counted as lost. It may hold some of that, too: what
    # the bound took off the queue may have been on its way, and the answer lost.
    assert gone <= sum(lost.values()), missing
    if "spool_full" not in lost:
        assert gone == sum(lost.values())
        assert {measurement for measurement, n in missing.items() if n} <= {"chaos"}
    if not lost:
        assert chaos.ledger.check_samples(chaos.bucket) == 0
    else:
        chaos.ledger.check_samples(chaos.bucket)
    assert "Traceback" not in "".join(log.read_text() for log in chaos.folder.glob("agent-*.log"))
