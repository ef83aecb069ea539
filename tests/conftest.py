"""What all tests share: the disposable InfluxDB, asked for by naming a fixture, and a profile."""

import logging
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pipeline.health import Health
from pipeline.spool import Spool
from tests.clocks import ManualClock
from tests.influxd import api, process, ways
from tests.influxd.process import InfluxProcess
from tests.influxd.server import InfluxServer, UnavailableError

_NAMED = ("-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1,IP:fe80::7,DNS:localhost")
_SERVERS = {"influx_server", "influxd_binary"}

# How long an example takes says how busy the machine is, and nothing of the code. The examples of a
# test are always the same: one that fails by chance would tell its finder nothing of his change.
settings.register_profile(
    "all", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("all")
# For `make unit` and `make fuzz`, which looks for more; both begin with what is loaded.
settings.register_profile("quick", max_examples=20)
settings.register_profile(
    "long", max_examples=int(os.environ.get("FUZZ_EXAMPLES", "10000")), derandomize=False
)


def pytest_configure() -> None:
    """Lets Ctrl-C be told from nothing, which a start in the background would have ignored."""
    # Whoever is started inherits what is ignored, and not what has a handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before -m is applied
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test that needs a server, directly or through another fixture."""
    for item in items:
        if _SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("influxdb")


def _failure(why: UnavailableError) -> BaseException:
    # Never a skip: a run without a server has not tested what matters most.
    return pytest.fail.Exception(str(why), pytrace=False)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """An empty store, open, in the folder of the test."""
    with Spool(tmp_path, 100 * 2**20) as opened:
        yield opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def health(clock: ManualClock) -> Health:
    """How an agent fares that notes nothing in a store."""
    return Health(clock, 60, lambda _: None)


@pytest.fixture
def _log_restored() -> Iterator[None]:
    """For tests of what sets up the log of this process, or what it does with signals."""
    handlers_of = {
        one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    loggers = [logging.getLogger(name) for name in ("pipeline", "py.warnings")]
    before = [(one.handlers, one.propagate, one.level) for one in loggers]
    yield
    logging.captureWarnings(capture=False)
    for one, (handlers, propagate, level) in zip(loggers, before, strict=True):
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)
    for number, handler in handlers_of.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@pytest.fixture(scope="session")
def influx_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """A server for the whole session, got in the first way that is open."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("influxd")
        try:
            server = stack.enter_context(ways.disposable(os.environ, folder))
        except UnavailableError as why:
            raise _failure(why) from None
        yield server


@pytest.fixture
def bucket(influx_server: InfluxServer) -> Iterator[api.Bucket]:
    """A fresh bucket that keeps its data for ever, removed afterwards."""
    name = f"test-{uuid.uuid4().hex}"
    try:
        yield api.create_bucket(influx_server, name)
    finally:
        api.delete_bucket(influx_server, name)


@pytest.fixture
def missing(bucket: api.Bucket) -> Iterator[str]:
    """The name of a bucket that is not there yet."""
    name = f"{bucket.name}-missing"
    yield name
    api.delete_bucket(bucket.server, name)


@pytest.fixture(scope="session")
def influxd_binary() -> Path:
    """An influxd to run bare, whichever way `influx_server` went."""
    try:
        return ways.influxd_to_break(os.environ)
    except UnavailableError as why:
        raise _failure(why) from None


@pytest.fixture
def influx_process(influxd_binary: Path, tmp_path: Path) -> Iterator[InfluxProcess]:
    """A server of one's own, running and set up, to stop, kill and start again."""
    folder = tmp_path / "influxd"
    folder.mkdir()
    with process.running(influxd_binary, folder) as running:
        yield running


@pytest.fixture
def new_server(influxd_binary: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server that was never set up."""
    folder = tmp_path / "influxd"
    folder.mkdir()
    with process.running(influxd_binary, folder, set_up=False) as running:
        yield running.server.url


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for this machine, with its key in the same file."""
    return _certificate(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture(scope="session")
def other_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one."""
    return _certificate(tmp_path_factory.mktemp("tls") / "other.pem")


@pytest.fixture(scope="session")
def named_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a common name alone, which no longer proves anything (RFC 9525)."""
    return _certificate(tmp_path_factory.mktemp("tls") / "named.pem", ("-subj", "/CN=localhost"))


def _certificate(path: Path, named: tuple[str, ...] = _NAMED) -> Path:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "1", *named, "-keyout", path, "-out", path.with_suffix(".crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path
