"""A connection to InfluxDB: its HTTP API as configured, and every failure as an Answer."""

import base64
import contextlib
import json
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from pipeline import __version__
from pipeline.clock import Clock
from pipeline.influx import tables
from pipeline.influx.answer import Answer, date_s, retry_after_s
from pipeline.influx.wording import LONGEST_MESSAGE, code_and_message, one_line, reason
from pipeline.settings import Settings

if TYPE_CHECKING:
    import ssl

    import urllib3

T = TypeVar("T")
Header = Callable[[str], str | None]

_WRITE_HEADERS = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}

_ELSE = "with something else than InfluxDB 2 does"
_LONGEST_VERSION = 60


class InfluxError(Exception):
    """InfluxDB did not do what it was asked; `answer` has what it said."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.message)
        self.answer = answer


class Connection:
    """A connection to the configured server, for one thread.

    Args:
        settings: With `influxdb_url` set.
        clock: Reads a Retry-After date.
        timeout_s: The time a request may take as a whole, when not the configured one.
        login: A user and a password to sign in with, in place of a token.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        timeout_s: float | None = None,
        login: tuple[str, str] = ("", ""),
    ) -> None:
        from pipeline.influx.bounds import Bounds  # noqa: PLC0415  # as the next one
        from pipeline.influx.wire import Wire  # noqa: PLC0415  # HTTP and TLS, which cost memory

        self.settings = settings
        self._clock = clock
        self._timeout_s = timeout_s or settings.influxdb_timeout_s
        self._login = login
        self._headers = {"User-Agent": f"metrics-pipeline/{__version__}"}
        if settings.influxdb_token:
            self._headers["Authorization"] = f"Token {settings.influxdb_token}"
        self._bounds = Bounds(clock.monotonic, self._timeout_s)
        self._pool: urllib3.PoolManager | None = None
        headers = self._headers | _WRITE_HEADERS
        self._wire = Wire(
            partial(_write_url, settings), headers, self._bounds, partial(_tls, settings)
        )

    def close(self) -> None:
        """Sign out where it signed in, and close the connection's sockets."""
        if "Cookie" in self._headers:
            with contextlib.suppress(InfluxError):  # a session ends by itself, too
                self.call("POST", "/api/v2/signout")
        self._wire.close()
        if self._pool is not None:
            self._pool.clear()

    def write(self, body: bytes) -> Answer:
        """Send line protocol to the configured bucket.

        Args:
            body: A gzip member of lines with timestamps in nanoseconds; it is sent as it is.

        Returns:
            What the server said. Nothing is raised for a server that fails, in whatever way.
        """
        try:
            if self.settings.influxdb_proxy:  # urllib3 knows the way
                headers = self._headers | _WRITE_HEADERS
                response = self._request("POST", _write_url(self.settings), headers, body=body)
                return self._answered(response.status, response.headers.get, response.data)
            status, header, data = self._wire.post(body)
        except Exception as error:  # noqa: BLE001  # a broken answer can raise anything
            return self._unanswered(error)
        return self._answered(status, header, data)

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        read: Callable[[Any], T] = lambda answer: answer,
        **query: str,
    ) -> T:
        """Make a request in JSON.

        Args:
            method: The HTTP method.
            path: The path below `influxdb_url`.
            body: Sent as JSON.
            read: Takes what is wanted out of the answer, None where that is empty. It may raise
                whatever it likes: what it cannot read is not InfluxDB's.
            query: The parameters of the address.

        Returns:
            What was read.

        Raises:
            InfluxError: For every way in which that can fail.
        """

        def unpacked(data: bytes) -> T:
            return read(json.loads(data) if data else None)

        return self._ask(method, path, query, body, unpacked)

    def query(self, flux: str, read: Callable[[list[dict[str, Any]]], T]) -> T:
        """Make a query in Flux.

        Args:
            flux: The query.
            read: Takes what is wanted out of its rows, which are as `tables.rows` has them; it may
                raise as that of `call`.

        Returns:
            What was read.

        Raises:
            InfluxError: For every way in which that can fail.
        """
        body = {"query": flux, "dialect": tables.DIALECT}
        org = {"org": self.settings.influxdb_org}
        return self._ask("POST", "/api/v2/query", org, body, lambda data: read(tables.rows(data)))

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
        read: Callable[[bytes], T],
    ) -> T:
        if all(self._login) and "Cookie" not in self._headers:
            self._sign_in()
        response = self._exchange(method, path, query, json=body)
        try:
            return read(response.data)
        except Exception as error:  # a broken answer can raise anything
            failed = isinstance(error, tables.QueryError)
            said = one_line(f"{response.status}: {error}", LONGEST_MESSAGE) if failed else _ELSE
            message = f"{self.settings.influxdb_url} answered {said}"
            version = _version(response.headers.get)
            raise InfluxError(Answer(response.status, message=message, version=version)) from error

    def _sign_in(self) -> None:
        response = self._exchange("POST", "/api/v2/signin", login=self._login)
        # All of them: a load balancer may tell by its own which server the session is on.
        cookies = response.headers.getlist("Set-Cookie")
        self._headers["Cookie"] = "; ".join(cookie.partition(";")[0] for cookie in cookies)

    def _exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
        **content: Any,
    ) -> "urllib3.BaseHTTPResponse":
        try:
            headers = self._headers | (_basic(login) if login else {})
            response = self._request(method, _url(self.settings, path, query), headers, **content)
        except Exception as error:  # a broken answer can raise anything
            raise InfluxError(self._unanswered(error)) from error
        if not 200 <= response.status < 300:
            header = response.headers.get
            raise InfluxError(self._answered(response.status, header, response.data))
        return response

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], **content: Any
    ) -> "urllib3.BaseHTTPResponse":
        if self._pool is None:
            from pipeline.influx.pool import pool  # noqa: PLC0415  # more memory than the wire

            self._pool = pool(self.settings, self._bounds, self._timeout_s)
        return self._pool.request(method, url, headers=headers, **content)

    def _unanswered(self, error: Exception) -> Answer:
        way = f" through {proxy}" if (proxy := self.settings.influxdb_proxy) else ""
        where = self.settings.influxdb_url
        answer = Answer(None, message=f"no answer from {where}{way}: {reason(error)}")
        # urllib3's hold the error, which holds them and all that they have to do with.
        traceback.clear_frames(error.__traceback__)
        return answer

    def _answered(self, status: int, header: Header, data: bytes) -> Answer:
        if status == 204:
            return Answer(status, date_s=date_s(header("Date")))
        code, message = code_and_message(data)
        return Answer(
            status,
            code,
            f"{self.settings.influxdb_url} answered {status}" + (f": {message}" if message else ""),
            retry_after_s(header("Retry-After"), self._clock.now_ns() / 1e9),
            date_s(header("Date")),
            _version(header),
        )


def _url(settings: Settings, path: str, query: Mapping[str, str] | None = None) -> str:
    url = f"{settings.influxdb_url.rstrip('/')}{path}"
    return f"{url}?{urlencode(query)}" if query else url


def _write_url(settings: Settings) -> str:
    bucket = {"org": settings.influxdb_org, "bucket": settings.influxdb_bucket}
    return _url(settings, "/api/v2/write", bucket | {"precision": "ns"})


def _version(header: Header) -> str:
    return one_line(header("X-Influxdb-Version") or "", _LONGEST_VERSION)


def _basic(login: tuple[str, str]) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"}


def _tls(settings: Settings) -> "ssl.SSLContext":
    import ssl  # noqa: PLC0415  # 4.3 MiB, which an agent without a server need not pay

    context = ssl.create_default_context(cafile=settings.influxdb_ca_cert)
    context.set_alpn_protocols(["http/1.1"])
    context.hostname_checks_common_name = False  # as urllib3, which all other requests go by
    if not settings.influxdb_verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
