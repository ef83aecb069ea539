"""A connection to InfluxDB: the client as configured, and every failure as an Answer."""

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from pipeline.clock import Clock
from pipeline.influx.verdicts import Answer, date_s, retry_after_s
from pipeline.settings import Settings

if TYPE_CHECKING:
    import ssl

    from influxdb_client import InfluxDBClient

T = TypeVar("T")

_WRITE_HEADERS = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}

# Of InfluxDB's own words, and of whatever answered in its place, in characters.
_LONGEST_MESSAGE, _LONGEST_PAGE = 10_000, 200


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
        # Costs 17 MiB and 0.16 s, which an agent without a server need not pay.
        from influxdb_client import InfluxDBClient  # noqa: PLC0415

        from pipeline.influx.bounds import Bounds, keep_to  # noqa: PLC0415  # urllib3
        from pipeline.influx.wire import Wire  # noqa: PLC0415

        self.settings = settings
        self._clock = clock
        timeout_s = timeout_s or settings.influxdb_timeout_s
        self._client = InfluxDBClient(
            url=settings.influxdb_url.rstrip("/"),
            token=settings.influxdb_token,
            org=settings.influxdb_org,
            timeout=round(1000 * timeout_s),
            verify_ssl=settings.influxdb_verify_tls,
            proxy=settings.influxdb_proxy.rstrip("/") or None,
            ssl_ca_cert=str(settings.influxdb_ca_cert) if settings.influxdb_ca_cert else None,
            username=login[0],
            password=login[1],
        )
        manager = self._client.api_client.rest_client.pool_manager
        bounds = Bounds(clock.monotonic, timeout_s)
        keep_to(bounds, manager)
        bucket = {"org": settings.influxdb_org, "bucket": settings.influxdb_bucket}
        url = f"{self._client.url}/api/v2/write?{urlencode(bucket)}&precision=ns"
        headers = {**self._client.api_client.default_headers, **_WRITE_HEADERS}
        self._wire = Wire(url, headers, bounds, partial(_tls, settings))
        # Through a proxy, the client's own urllib3 knows the way.
        self._by_proxy = partial(
            manager.request, "POST", url, headers=headers, retries=False, timeout=timeout_s
        )

    def close(self) -> None:
        """Close the connection's sockets."""
        self._wire.close()
        self._client.close()

    def write(self, body: bytes) -> Answer:
        """Send line protocol to the configured bucket.

        Args:
            body: A gzip stream of lines with timestamps in nanoseconds; it is sent as it is.

        Returns:
            What the server said. Nothing is raised for a server that fails, in whatever way.
        """
        try:
            if self.settings.influxdb_proxy:
                response = self._by_proxy(body=body)
                return self._answered(response.status, response.headers.get, response.data)
            status, header, data = self._wire.post(body)
        except Exception as error:  # noqa: BLE001  # a broken answer can raise anything
            return self._unanswered(error)
        return self._answered(status, header, data)

    def ask(self, call: Callable[["InfluxDBClient"], T]) -> T:
        """Call the client.

        Raises:
            InfluxError: For every way in which that can fail.
        """
        try:
            return call(self._client)
        except Exception as error:  # a broken answer can raise anything
            raise InfluxError(self._answer(error)) from error

    def _answer(self, error: Exception) -> Answer:
        response: Any = getattr(error, "response", None)
        status = getattr(error, "status", None) or getattr(response, "status", None)
        if not status:
            return self._unanswered(error)
        data = getattr(response, "data", None) or getattr(error, "body", None)
        return self._answered(status, (getattr(error, "headers", None) or {}).get, data)

    def _unanswered(self, error: Exception) -> Answer:
        way = f" through {proxy}" if (proxy := self.settings.influxdb_proxy) else ""
        where = self.settings.influxdb_url
        return Answer(None, message=f"no answer from {where}{way}: {_reason(error)}")

    def _answered(self, status: int, header: Callable[[str], str | None], data: object) -> Answer:
        if status == 204:
            return Answer(status, date_s=date_s(header("Date")))
        code, message = _body(data)
        return Answer(
            status,
            code,
            f"{self.settings.influxdb_url} answered {status}" + (f": {message}" if message else ""),
            retry_after_s(header("Retry-After"), self._clock.now_ns() / 1e9),
            date_s(header("Date")),
        )


def _tls(settings: Settings) -> "ssl.SSLContext":
    import ssl  # noqa: PLC0415  # 4.3 MiB, which an agent without a server need not pay

    context = ssl.create_default_context(cafile=settings.influxdb_ca_cert)
    context.set_alpn_protocols(["http/1.1"])
    if not settings.influxdb_verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _reason(error: Exception) -> str:
    """Return why no answer came, without the client's objects in the text."""
    cause: BaseException = error
    while isinstance(getattr(cause, "reason", None), Exception):
        cause = cause.reason  # type: ignore[attr-defined]  # urllib3 wraps one in another
    text = str(cause.__cause__ or cause).split("): ", 1)[-1]
    return " ".join(text.split()) or type(cause).__name__


def _body(data: object) -> tuple[str, str]:
    """Return InfluxDB's code and message, or no code and the start of what came instead."""
    text = data.decode(errors="replace") if isinstance(data, bytes) else str(data or "")
    try:
        body = json.loads(text)
        message = str(body["message"])[:_LONGEST_MESSAGE]
        return str(body["code"]), " ".join(message.split())
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", " ".join(text[:_LONGEST_PAGE].split())
