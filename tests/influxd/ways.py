"""The ways to a disposable InfluxDB, and the order in which they are tried."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from tests.influxd import binary, process
from tests.influxd.http import call
from tests.influxd.server import (
    ORG,
    InfluxServer,
    UnavailableError,
    is_new,
    onboard,
    wait_until_healthy,
)

_HELP = """\
The tests need a disposable InfluxDB 2.7 and found none ({reasons}). Any one of these gives one:
  - name a server for tests: INFLUXDB_TEST_URL and INFLUXDB_TEST_TOKEN (an operator token; a
    server that was never set up needs none), and INFLUXDB_TEST_ORG if it has several organisations;
  - start Docker, with the image influxdb:2.7 or a registry to pull it from;
  - run `make influxd`, which builds one into your cache with Go and Rust, or put one on PATH.
`make unit` runs the tests that need none."""

_BREAK_HELP = """\
A test that stops and kills its server needs an influxd 2.7 to run, and found none ({reason}).
Run `make influxd`, which builds one with Go and Rust, or put one on PATH, or start Docker with the
image influxdb:2.7, out of which it is copied."""


@contextmanager
def external(environ: Mapping[str, str], within_s: float = 15.0) -> Iterator[InfluxServer]:
    """Uses the server that INFLUXDB_TEST_URL names, and sets it up if it is new.

    Args:
        environ: The environment with the variables.
        within_s: How long to wait for the server at most.

    Raises:
        UnavailableError: The variable is not set.
    """
    url = environ.get("INFLUXDB_TEST_URL", "").rstrip("/")
    token = environ.get("INFLUXDB_TEST_TOKEN")
    org = environ.get("INFLUXDB_TEST_ORG")
    if not url:
        raise UnavailableError("INFLUXDB_TEST_URL is not set")
    wait_until_healthy(url, within_s=within_s)
    if is_new(url):
        org = org or ORG
        token = onboard(url, org, token)
    if not token:
        raise RuntimeError(f"{url} is set up already: set INFLUXDB_TEST_TOKEN to an operator token")
    if not org:
        answer = call("GET", f"{url}/api/v2/orgs", token=token).expect(200)
        names = [found["name"] for found in answer.json()["orgs"]]
        if len(names) != 1:
            raise RuntimeError(f"{url} has the organisations {names}: set INFLUXDB_TEST_ORG to one")
        org = names[0]
    yield InfluxServer(url, org, token, way="external")


@contextmanager
def container(environ: Mapping[str, str]) -> Iterator[InfluxServer]:
    """Runs a container; see `tests.influxd.container.influxdb`."""
    from tests.influxd.container import influxdb  # testcontainers takes half a second to import

    with influxdb(environ) as server:
        yield server


@contextmanager
def bare_process(environ: Mapping[str, str], folder: Path) -> Iterator[InfluxServer]:
    """Runs the influxd that is on PATH or in the user's cache.

    Raises:
        UnavailableError: There is none.
    """
    with process.running(binary.find(environ), folder) as running:
        yield running.server


@contextmanager
def disposable(environ: Mapping[str, str], folder: Path) -> Iterator[InfluxServer]:
    """Gives a server by the first way that is open: external, container, process.

    A way that is open but fails is an error and no reason to try the next: a test run should not
    quietly take another server than the one that it was meant to.

    Args:
        environ: The environment; it alone decides which ways are open.
        folder: An existing, empty folder for a process's data.

    Raises:
        UnavailableError: No way is open; the message says what would open one.
    """
    ways: list[Callable[[], AbstractContextManager[InfluxServer]]] = [
        lambda: external(environ),
        lambda: container(environ),
        lambda: bare_process(environ, folder),
    ]
    reasons: list[str] = []
    for way in ways:
        with ExitStack() as stack:
            try:
                server = stack.enter_context(way())
            except UnavailableError as why:
                reasons.append(str(why))
                continue
            yield server
            return
    raise UnavailableError(_HELP.format(reasons="; ".join(reasons)))


def influxd_to_break(environ: Mapping[str, str]) -> Path:
    """Returns an influxd to run bare: found, or copied to the cache out of the container's image.

    Raises:
        UnavailableError: There is none; the message says what would give one.
    """
    try:
        return binary.find(environ)
    except UnavailableError:
        pass
    from tests.influxd import image

    try:
        with image.engine(environ) as client:
            if target := binary.cached(environ):
                image.extract(client, image.obtain(client, environ), target)
        return binary.find(environ)
    except UnavailableError as why:
        raise UnavailableError(_BREAK_HELP.format(reason=why)) from None
