"""A target, with all that it learns and asks for in a test's hands."""

import gzip
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from pipeline.influx.buckets import Rule
from pipeline.influx.target import Target
from pipeline.settings import Settings, SettingsError
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influxd.api import Bucket

BODY = gzip.compress(f"m f=1i {time.time_ns()}".encode())


class Settled:
    """A target, the rules that it told of, and the settings that it finds when it reloads."""

    def __init__(self, settings: Settings) -> None:
        self.rules: list[Rule] = []
        self.found: Settings | SettingsError = settings
        self.dates: list[float] = []
        self.obstacle = ""
        self.drifts: list[str] = []
        self.left_alone: list[str] = []
        self.clock = ManualClock()
        self.target = Target(
            settings, self.reload, self.clock, self, self.dates.append, lambda: self.obstacle
        )

    @property
    def ages_h(self) -> list[float]:
        """The ages of the rules that were told, in hours."""
        return [rule.age_s / 3600 for rule in self.rules]

    def learn(self, rule: Rule | None, drift: str) -> None:
        self.rules += [rule] if rule else []
        self.drifts.append(drift)

    def leave_alone(self, why: str) -> None:
        self.left_alone.append(why)

    def reload(self) -> Settings:
        if isinstance(self.found, SettingsError):
            raise self.found
        return self.found

    def look(self) -> None:
        with self.target.connection() as connection:
            self.target.look(connection)

    def shorten(self, timeout_s: float | None = None) -> None:
        with self.target.connection(timeout_s) as connection:
            self.target.shorten(connection)

    def write(self) -> int | None:
        return self.target.write(BODY).status


Settle = Callable[..., Settled]


@pytest.fixture
def settle(bucket: Bucket) -> Iterator[Settle]:
    """Makes targets of a bucket by settings; they are closed at the end."""
    with ExitStack() as stack:

        def make(**changes: object) -> Settled:
            one = Settled(settings_for(bucket, **changes))
            stack.callback(one.target.close)
            return one

        yield make
