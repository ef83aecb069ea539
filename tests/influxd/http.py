"""One HTTP request with the standard library, never without a time limit."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

TIMEOUT_S = 120.0
# A proxy that the environment names has no business between the tests and their server.
_opener = build_opener(ProxyHandler({}))


class RefusedError(Exception):
    """The server gave another answer than the one that a test builds on."""


@dataclass(frozen=True)
class Answer:
    """What came back: the request it answers, the status and the body."""

    request: str
    status: int
    body: bytes

    def json(self) -> Any:
        """Returns the body, decoded."""
        return json.loads(self.body)

    def expect(self, *statuses: int) -> "Answer":
        """Returns the answer itself if its status is one of these.

        Raises:
            RefusedError: It is not.
        """
        if self.status not in statuses:
            raise RefusedError(
                f"{self.request}: {self.status} {self.body.decode(errors='replace')}"
            )
        return self


def call(
    method: str,
    url: str,
    body: object = None,
    *,
    token: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """Makes a request and returns the answer, whatever its status.

    Args:
        method: The HTTP method.
        url: The whole URL.
        body: Bytes go as they are, None is no body, anything else goes as JSON.
        token: An InfluxDB token.
        timeout_s: How long each step of the connection may take.

    Raises:
        OSError: There was no answer.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"an http or https URL is needed, not {url!r}")
    headers = {"Authorization": f"Token {token}"} if token else {}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    request = Request(url, data=body, method=method, headers=headers)  # noqa: S310  # checked above
    name = f"{method} {url.partition('?')[0]}"
    try:
        with _opener.open(request, timeout=timeout_s) as response:
            return Answer(name, response.status, response.read())
    except HTTPError as refusal:
        with refusal:
            return Answer(name, refusal.code, refusal.read())
