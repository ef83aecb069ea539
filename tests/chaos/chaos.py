"""The agent, the server, what lies between them, and the time in which things happen to them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.settings import MAIN
from pipeline.spool import SpoolError, SpoolReader
from tests.agents import AgentProcess, environment, eventually
from tests.chaos.ledger import Ledger
from tests.chaos.proxy import PASS, Proxy
from tests.cli.commands import Done, finish
from tests.influxd import api
from tests.influxd.process import InfluxProcess

SECONDS = float(os.environ.get("CHAOS_SECONDS", "4"))
SEED = os.environ.get("CHAOS_SEED", "1")


MIRROR = "b"
_COUNTERS_LOST = "how many waited cannot be read any more"
_READS_S = 0.5  # the ledger reads so often while the agent runs
_OFF = ("kernel", "pressure", "nstat", "conntrack", "linux_sysctl_fs")


class Place:
    """A server, and two ways to it.

    Attributes:
        name: Its name in the settings.
        influx: The server.
        bucket: Where readings go.
        proxy: The way to the server that the settings name.
        other: The other one.
        token: What the agent shows.
    """

    def __init__(self, name: str, influx: InfluxProcess) -> None:
        self.name = name
        self.influx = influx
        self.bucket = api.create_bucket(influx.server, "metrics")
        self.proxy, self.other = Proxy(influx.server.url), Proxy(influx.server.url)
        self._token_id = self.token = ""
        self.rotate_the_token()

    def revoke_the_token(self) -> None:
        path = f"/api/v2/authorizations/{self._token_id}"
        self.bucket.server.call("DELETE", path).expect(204)

    def rotate_the_token(self) -> None:
        org = api.org_id(self.bucket.server)
        resource = {"type": "buckets", "id": self.bucket.id, "orgID": org}
        actions = ("read", "write")
        permissions = [{"action": action, "resource": resource} for action in actions]
        wanted = {"orgID": org, "permissions": permissions}
        made = self.bucket.server.call("POST", "/api/v2/authorizations", wanted).expect(201).json()
        self._token_id, self.token = made["id"], made["token"]


class Chaos:
    """What a kind of fault is given to break.

    Attributes:
        chance: The source of all that is random.
        places: The servers by their names.
        place: The one that is broken now.
        folder: Where the agent runs; its settings are there.
        data_dir: The agent's data.
        agent: The agent that runs now.
        ledger: What it made.
        salvages: Whether a store was damaged or removed.
        filled: The servers that got all that was held once more.
        dropped: How many refused lines a command has deleted.
    """

    def __init__(self, servers: Mapping[str, InfluxProcess], folder: Path) -> None:
        self.chance = random.Random(SEED)  # noqa: S311  # chance that comes back is wanted
        self.places = {name: Place(name, influx) for name, influx in servers.items()}
        self.place = self.places[MAIN]
        self.folder = folder
        self.data_dir = folder / "data"
        self.ledger = Ledger(self.chance, servers)
        self.salvages = False
        self.filled: set[str] = set()
        self.dropped = 0
        self._own = folder / "own"
        self._own.mkdir()
        self._settings: dict[str, str | int] = {}
        self._mirrors = servers.keys() - {MAIN}
        self._named = self.places
        self.write_own("chaos", "value=1i")
        self._env = environment(
            self.data_dir,
            self.place.bucket,
            collection_interval_ms=20,
            cleanup_interval_minutes=1,
            collectors__file__directory=self._own,
            # Readings so small that the ledger has read them before the bound takes them.
            **{f"collectors__{name}__enabled": False for name in _OFF},
        )
        for name in ("TOKEN", "URL"):
            del self._env[f"METRICS_INFLUXDB_{name}"]
        self._write_settings(influxdb_timeout_s=2, spool_max_mb=1)
        self.agent = self.another()
        self.agent.until(
            lambda s: all(self.of(name, s)["delivered_points"] for name in self.places),
            "the first readings, and their types",
        )

    @property
    def proxy(self) -> Proxy:
        """The way to the server that is broken now."""
        return self.place.proxy

    def of(self, name: str, status: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the status, now or as given, says of a server."""
        servers: dict[str, dict[str, Any]] = (status or self.agent.status())["servers"]
        return servers.get(name, {"delivered_points": 0, "lost": {}})

    def another(self) -> AgentProcess:
        """Start an agent, beside the one that may be running."""
        return AgentProcess(self._env, self.folder)

    def start(self) -> None:
        self.agent = self.another()

    def stop(self) -> None:
        # One that gets it before it runs has nothing to keep, and ends as any program does.
        assert self.agent.stop() == (0 if self.agent.log else -signal.SIGTERM), self.agent.log
        self._compare()

    def kill(self) -> None:
        self.agent.kill()
        self._compare()

    @property
    def is_exact(self) -> bool:
        """Whether the agent still knows what it made: damage may have cost it its counters."""
        return _COUNTERS_LOST not in self.logs

    def _compare(self) -> None:
        """Compare the agent's account with the ledger, but not in the midst of a salvage."""
        self.ledger.read(self.data_dir)
        if self.is_exact and not list(self.data_dir.glob("spool.db.damaged-*")):
            with suppress(SpoolError), SpoolReader(self.data_dir) as reader:
                for name in self.places:
                    if name not in self.filled:
                        made = reader.contents(name).points
                        lines = self.ledger.lines
                        assert made == lines, f"{made} made for {name}, {lines} in the ledger"

    def command(self, *words: str) -> Done:
        """Run a command beside the agent; whatever it says, it is no traceback."""
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *words],
            env=self._env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with ThreadPoolExecutor(1) as thread:
            finished = thread.submit(finish, process)
            while wait([finished], _READS_S).not_done:
                if self.agent.process.poll() is None:
                    self.ledger.read(self.data_dir)
        done = finished.result()
        assert "Traceback" not in done.out + done.err, done
        return done

    def tell(self, what: str) -> None:
        print(f"  {what}", flush=True)  # noqa: T201  # `make chaos` shows it

    def lose_what_waits(self) -> None:
        """Expect that what waits may be lost."""
        for name in self.places:
            self.ledger.risk(name)
        self.salvages = True

    def wait_for_readings(self) -> None:
        """Wait until the agent takes readings, whatever it found or finds of its data."""
        before = time.time_ns()

        def takes_them() -> bool:
            assert self.agent.process.poll() is None, f"the agent ended: {self.agent.log}"
            try:
                with SpoolReader(self.data_dir) as reader:
                    return (reader.contents().last_ns or 0) > before
            except SpoolError:
                return False

        eventually(takes_them, "readings")

    def live(self, seconds: float) -> None:
        """Let time go by; the ledger keeps up with the agent."""
        until = time.monotonic() + seconds
        while True:
            self.ledger.read(self.data_dir)
            left = until - time.monotonic()
            if left <= 0:
                return
            assert self.agent.process.poll() is None, f"the agent ended: {self.agent.log}"
            time.sleep(min(left, _READS_S))

    def live_a_while(self, shortest: float = 0.1, longest: float = 2.0) -> float:
        """Let a random time go by; return how long."""
        seconds = self.chance.uniform(shortest, longest)
        self.live(seconds)
        return seconds

    def set(self, **settings: str | int) -> None:
        """Change settings of the running agent."""
        self._write_settings(**settings)
        if self.agent.log:  # before that it would end the agent
            self.agent.process.send_signal(signal.SIGHUP)

    def go_the_other_way(self) -> Proxy:
        """Let the settings name another way to the server; return the former one."""
        place = self.place
        place.proxy, place.other = place.other, place.proxy
        self.set()
        return place.other

    def rotate_the_token(self) -> None:
        self.place.rotate_the_token()
        self._write_settings()

    def remove_the_mirrors(self) -> None:
        self._mirrors = set()
        self.filled |= self.places.keys() - {MAIN}
        self.set()

    def add_the_mirrors(self) -> None:
        self._mirrors = self.places.keys() - {MAIN}
        self.set()

    def exchange(self) -> None:
        """Let each server have the other one's name; the second time, its own again."""
        self._named = dict(zip(self._named, reversed(self._named.values()), strict=True))
        self.filled |= self._named.keys()
        self.set()

    def write_own(self, name: str, fields: str, *, series: int = 1) -> None:
        """Give the agent readings of a file's; they have a field `always`."""
        new = self._own / f".{name}"
        lines = (f"chaos,file={name},n={n} {fields},always=true\n" for n in range(series))
        new.write_text("".join(lines))
        new.rename(self._own / f"{name}.lp")

    def settle(self) -> dict[str, Any]:
        """Let all work, and the agent deliver what waits; return its account."""
        self.tell("all works again")
        for place in self.places.values():
            place.proxy.fault = place.other.fault = PASS
        self._write_settings(influxdb_timeout_s=60)  # a server on a busy machine is late, not gone
        self.stop()
        self.start()
        self.wait_for_readings()
        waiting = self.agent.until(lambda s: s["delivered_points"] and not s["last_error"], "life")
        self.agent.until(lambda s: s["ticks"] > waiting["ticks"], "readings")
        self.stop()
        for _ in range(10):
            status = self.agent.status()
            waits = [one["backlog_points"] for one in status["servers"].values()]
            if not (any(waits) or list(self.data_dir.glob("spool.db.damaged-*"))):
                break
            self.start()
            self.live(5.0)
            self.stop()
        return status

    @property
    def logs(self) -> str:
        """What all agents said."""
        return "".join(log.read_text() for log in sorted(self.folder.glob("agent-*.log")))

    def close(self) -> None:
        self.agent.kill()
        for place in self.places.values():
            place.proxy.close()
            place.other.close()

    def _write_settings(self, **settings: str | int) -> None:
        self._settings |= settings
        main = self._named[MAIN]
        given, secrets = {"influxdb_url": main.proxy.url}, {"influxdb_token": main.token}
        text, secret = _toml(self._settings | given), _toml(secrets)
        for name in sorted(self._mirrors):
            place = self._named[name]
            server = place.bucket.server
            own: dict[str, str | int] = {
                "url": place.proxy.url,
                "org": server.org,
                "bucket": place.bucket.name,
            }
            own["timeout_s"] = self._settings["influxdb_timeout_s"]
            text += f"[mirrors.{name}]\n{_toml(own)}"
            secret += f"[mirrors.{name}]\n{_toml({'token': place.token})}"
        # The token first: a file of settings without it would end an agent that starts now.
        for file, whole in ((".secrets.toml", secret), ("settings.toml", text)):
            new = self.folder / f".new-{file}"
            new.write_text(whole)
            new.rename(self.folder / file)


def _toml(values: Mapping[str, str | int]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
