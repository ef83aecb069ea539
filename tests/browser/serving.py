"""The page as the endpoint serves it, of a made day or of a store that there is."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.clock import Clock
from pipeline.endpoint import Endpoint, routes
from pipeline.health import Health
from pipeline.settings import Settings
from pipeline.spool import DirectoryLock, Fact, Spool
from tests.clocks import START_NS, ManualClock
from tests.histories import SECOND, fill

_ERROR = "InfluxDB at http://influxdb.example.com:8086 cannot be reached: connection refused"


@dataclasses.dataclass
class Agent:
    """What the endpoint knows of an agent."""

    settings: Settings
    health: Health | None = None

    def try_start(self) -> str:
        """Do nothing: the history is all that there is."""
        return ""


@contextmanager
def served(
    folder: Path, names: dict[str, str] | None = None, interval_s: int = 120
) -> Iterator[str]:
    """Serve a page of a day with a gap, as of an agent that runs badly; yield its address."""
    fill(folder, hours=24, step_s=120, names=names, gap=(3.5, 2.5))
    with Spool(folder, 2**30) as spool:
        high = ("mem,host=h1 used_percent=98", "disk,host=h1,path=/backup used_percent=91")
        spool.append(
            [f"{line} {START_NS}" for line in high], START_NS, {"expired": 7, "tick_missed": 2}
        )
        spool.note({Fact.LAST_ERROR: _ERROR, Fact.TROUBLES: json.dumps({"delivery": _ERROR})})
    clock = ManualClock(START_NS + 12 * SECOND)
    lock = DirectoryLock(folder, clock)
    try:
        with of_store(folder, clock, interval_s) as address:
            yield address
    finally:
        lock.release()


@contextmanager
def of_store(folder: Path, clock: Clock, interval_s: int) -> Iterator[str]:
    """Serve a page of a store as it is; yield its address."""
    settings = Settings(
        data_dir=folder, host="web-1.example", collection_interval_ms=interval_s * 1000
    )
    with closing(Endpoint(0, routes(Agent(settings), clock))) as endpoint:
        yield f"http://127.0.0.1:{endpoint.port}/"
