"""What a test knows of an InfluxDB server, and how a new one is made ready for use."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.influxd.http import Answer, call

ORG = "metrics-tests"
_USER = "tests"
_PASSWORD = "only-for-a-disposable-server"  # tests use the token; set-up wants one
_READY_WITHIN_S = 180.0
_POLL_S = 0.05


class UnavailableError(Exception):
    """A way to a server is not open on this machine; the message says why."""


@dataclass(frozen=True)
class InfluxServer:
    """A running, set-up InfluxDB.

    Args:
        url: Where it answers, without a slash at the end.
        org: The name of the organisation.
        token: An operator token.
        way: How it was got: `external`, `container` or `process`.
    """

    url: str
    org: str
    token: str = field(repr=False)
    way: str

    def call(self, method: str, path: str, body: object = None) -> Answer:
        """Makes a request as the operator; see `tests.influxd.http.call`."""
        return call(method, self.url + path, body, token=self.token)


def wait_until_healthy(
    url: str, alive: Callable[[], bool] = lambda: True, within_s: float = _READY_WITHIN_S
) -> bool:
    """Polls /health until the server is ready.

    Args:
        url: The server.
        alive: Tells whether waiting still makes sense.
        within_s: How long to wait at most.

    Returns:
        True when it is ready, False when `alive` said that it never will be.

    Raises:
        TimeoutError: It was not ready in time.
    """
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not alive():
            return False
        try:
            if call("GET", f"{url}/health", timeout_s=10.0).status == 200:
                return True
        except OSError:
            pass  # nobody listens yet
        time.sleep(_POLL_S)
    raise TimeoutError(f"{url} was not healthy within {within_s:.0f} s")


def is_new(url: str) -> bool:
    """Tells whether the server still waits for its first set-up."""
    return bool(call("GET", f"{url}/api/v2/setup").expect(200).json()["allowed"])


def onboard(url: str, org: str = ORG, token: str | None = None) -> str:
    """Sets a new server up.

    Args:
        url: The server, which has never been set up.
        org: The organisation to make.
        token: The operator token to make; without it the server invents one.

    Returns:
        The operator token.
    """
    wanted = {"username": _USER, "password": _PASSWORD, "org": org, "bucket": "unused"}
    if token:
        wanted["token"] = token
    answer = call("POST", f"{url}/api/v2/setup", wanted).expect(201)
    return str(answer.json()["auth"]["token"])
