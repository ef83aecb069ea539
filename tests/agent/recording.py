"""A recorder on a store, with collectors that give what a test says."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.agent.recorder import Recorder
from pipeline.clock import Tick
from pipeline.collectors import Collector, Guard, Silence
from pipeline.health import Health
from pipeline.point import Line, Point, decode
from pipeline.retention import TrustedClock
from pipeline.settings import CollectorOptions
from pipeline.spool import Spool
from tests.agents import times
from tests.clocks import START_NS, ManualClock
from tests.spool.stores import history

SECOND = 10**9
MINUTE = 60 * SECOND


class Stub(Collector):
    """Gives one point for each name, or fails."""

    series_tag = "id"

    def __init__(self, name: str, *ids: str) -> None:
        self.name = name
        self.ids = ids
        self.failure: Exception | None = None
        self.silences: list[Silence] = []

    def collect(self) -> Iterable[Point | Silence]:
        if self.failure is not None:
            raise self.failure
        return [*self.silences, *(Point(self.name, {"f": 1}, {"id": each}) for each in self.ids)]


class Recording:
    """A recorder, its store and its clock, which says 1970 for as long as `behind_ns` is set."""

    def __init__(
        self, directory: Path, *stubs: Stub, max_series: int = 10, max_bytes: int = 2**24
    ) -> None:
        self.clock = ManualClock()
        self.spool = Spool(directory, max_bytes)
        self.health = Health(self.clock, 60, self.spool.note)
        self.oldest_ns = self.behind_ns = 0
        options = CollectorOptions(max_series=max_series)
        guards = [Guard(stub, options, self.clock) for stub in stubs]
        self.recorder = Recorder(
            guards, self.spool, self.clock, {"host": "h1"}, self.health, lambda: self.oldest_ns
        )
        self._trusted = TrustedClock(self.clock, self.spool, self.health, 7 * 86_400)
        self._number = 0

    def record(self, missed: int = 0) -> dict[str, str]:
        """Take a reading in the next second of 1970."""
        self._number += 1
        return self.recorder.record(Tick(self._number * SECOND, missed))

    def beat(self, minute: float, missed: int = 0, jumped_ns: int = 0) -> None:
        """Take the reading of a minute."""
        self.clock.wall_ns = START_NS + round(minute * MINUTE) - self.behind_ns
        tick = Tick(self.clock.wall_ns, missed, jumped_ns)
        self._trusted.look(tick)
        self.recorder.record(tick)

    def set_the_clock(self, minute: float) -> None:
        """Take the reading of a minute, before which a clock that said 1970 was put right."""
        by_ns, self.behind_ns = self.behind_ns, 0
        self.beat(minute, jumped_ns=by_ns)

    def commit(self) -> None:
        """Commit what is held, as a stop does."""
        self.recorder.close(within_s=1)

    @property
    def seconds(self) -> list[int]:
        """The times of the readings in the spool, in order."""
        return [time // SECOND for time in times(self.spool.path.parent)]

    @property
    def lost(self) -> dict[str, int]:
        return dict(self.spool.contents().lost)

    @property
    def gaps(self) -> list[Line]:
        """The points of gaps that were written."""
        lines = [line for block in history(self.spool.path.parent) for line in decode(block)]
        return [line for line in lines if line.point.measurement == "metrics_gap"]
