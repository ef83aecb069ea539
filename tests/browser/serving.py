"""The page on a store of a day, as the endpoint serves it."""

import dataclasses
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.endpoint import Endpoint, routes
from pipeline.health import Health
from pipeline.settings import Settings
from pipeline.spool import DirectoryLock
from tests.clocks import START_NS, ManualClock
from tests.histories import SECOND, fill


@dataclasses.dataclass
class Agent:
    """What the endpoint knows of an agent."""

    settings: Settings
    health: Health | None = None

    def try_start(self) -> str:
        """Do nothing: the history is all that there is."""
        return ""


@contextmanager
def served(folder: Path, names: dict[str, str] | None = None) -> Iterator[str]:
    """Serve a page of a day with a gap in it, as of an agent that runs; yield its address."""
    fill(folder, hours=24, step_s=120, names=names, gap=(3.5, 2.5))
    settings = Settings(data_dir=folder, host="web-1.example", collection_interval_ms=120_000)
    clock = ManualClock(START_NS + 12 * SECOND)
    lock = DirectoryLock(folder, clock)
    try:
        with closing(Endpoint(0, routes(Agent(settings), clock))) as endpoint:
            yield f"http://127.0.0.1:{endpoint.port}/"
    finally:
        lock.release()
