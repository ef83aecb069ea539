"""Connections to a server that a test has made, and a target in the hands of a test."""

import gzip
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.influx.buckets import Rule
from pipeline.influx.connection import Connection
from pipeline.influx.target import Target
from pipeline.settings import Downsample, Settings, SettingsError
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influxd.api import Bucket
from tests.servers import scripted

BODY = gzip.compress(f"m f=1i {time.time_ns()}".encode())


def connected(url: str, **changes: Any) -> closing[Connection]:
    """A connection to any server, closed at the end."""
    login = changes.pop("login", ("", ""))
    given: dict[str, Any] = {
        "influxdb_url": url,
        "influxdb_org": "o",
        "influxdb_bucket": "b",
        "influxdb_token": "s3cret",
        "downsample": Downsample("5m", 1000, "means"),
        "host": "h1",
    }
    return closing(Connection(Settings(**{**given, **changes}), ManualClock(), 10, login))


@contextmanager
def answering(
    answer: bytes, certificate: Path | None = None, **changes: Any
) -> Iterator[Connection]:
    """A connection to a server that answers everything with the same."""
    with scripted(answer, certificate) as url, connected(url, **changes) as connection:
        yield connection


@pytest.fixture
def connection(bucket: Bucket) -> Iterator[Connection]:
    """A connection to the real server, with a bucket of its own."""
    with closing(Connection(settings_for(bucket), ManualClock(), timeout_s=60)) as opened:
        yield opened


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
