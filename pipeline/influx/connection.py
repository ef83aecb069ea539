"""A connection to InfluxDB: the client as configured, and every failure as an Answer."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.clock import Clock
from pipeline.influx.verdicts import Answer, retry_after_s
from pipeline.settings import Settings

if TYPE_CHECKING:
    from influxdb_client import InfluxDBClient

T = TypeVar("T")


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
        timeout_s: The time a request may take, when not the configured one.
    """

    def __init__(self, settings: Settings, clock: Clock, timeout_s: float | None = None) -> None:
        # Costs 17 MiB and 0.16 s, which an agent without a server need not pay.
        from influxdb_client import InfluxDBClient  # noqa: PLC0415
        from influxdb_client.client.write_api import SYNCHRONOUS  # noqa: PLC0415

        self.settings = settings
        self._clock = clock
        self._client = InfluxDBClient(
            url=settings.influxdb_url.rstrip("/"),
            token=settings.influxdb_token,
            org=settings.influxdb_org,
            timeout=round(1000 * (timeout_s or settings.influxdb_timeout_s)),
            verify_ssl=settings.influxdb_verify_tls,
            proxy=settings.influxdb_proxy.rstrip("/") or None,
            ssl_ca_cert=str(settings.influxdb_ca_cert) if settings.influxdb_ca_cert else None,
        )
        self._write_api = self._client.write_api(write_options=SYNCHRONOUS)

    def close(self) -> None:
        """Close the connection's sockets."""
        self._client.close()

    def write(self, body: bytes) -> Answer:
        """Send line protocol to the configured bucket.

        Args:
            body: A gzip stream of lines with timestamps in nanoseconds; it is sent as it is.

        Returns:
            What the server said. Nothing is raised for a server that fails, in whatever way.
        """
        api = self._client.api_client
        # The client's own gzip would compress once more; a default header is the way past it.
        api.set_default_header("Content-Encoding", "gzip")
        try:
            self.ask(lambda _: self._write_api.write(self.settings.influxdb_bucket, record=body))
        except InfluxError as error:
            return error.answer
        finally:
            del api.default_headers["Content-Encoding"]
        return Answer(api.last_response.status, message="an answer that is not InfluxDB's")

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
        where = self.settings.influxdb_url
        if not status:
            way = f" through {proxy}" if (proxy := self.settings.influxdb_proxy) else ""
            return Answer(None, message=f"no answer from {where}{way}: {_reason(error)}")
        code, message = _body(getattr(response, "data", None) or getattr(error, "body", None))
        header = getattr(error, "headers", None) or {}
        return Answer(
            status,
            code,
            f"{where} answered {status}" + (f": {message}" if message else ""),
            retry_after_s(header.get("Retry-After"), self._clock.now_ns() / 1e9),
        )


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
        return str(body["code"]), " ".join(str(body["message"]).split())
    except (ValueError, KeyError, TypeError):
        return "", " ".join(text.split())[:200]
