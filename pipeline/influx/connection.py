"""A connection to InfluxDB: its requests, and every failure as an Answer in one sentence."""

import gzip
import html
import json
import re
import traceback
from collections.abc import Callable, Iterator
from typing import TypeVar
from urllib.parse import quote

from pipeline.clock import Clock
from pipeline.influx.answer import (
    Answer,
    InfluxError,
    date_s,
    in_words,
    one_line,
    readable,
    retry_after_s,
)
from pipeline.influx.client import Api, QueryError, basic_login, required
from pipeline.settings import Settings

T = TypeVar("T")
Header = Callable[[str], str | None]

NOTHING = gzip.compress(b"", mtime=0)
"""A write without a line: its answer is about the server and the token alone."""
LARGEST_SKEW_S = 10.0
"""The largest difference between this machine's clock and the server's that is no fault."""
CLOCK_FIX = "let NTP set both, such as systemd-timesyncd"
"""The fix for a larger one."""
LONGEST_MESSAGE = 10_000
"""The length of InfluxDB's own words that is kept, in characters."""
_LONGEST_PAGE = 200  # the same of whatever answered in its place
_LONGEST_VERSION = 60
_MASK = "***"
_SHORTEST_SECRET = 8  # a shorter one would be found within words
_UNSENDABLE = "the address, a name, the token or the login has what HTTP cannot carry"


class Connection:
    """A connection to the configured server, for one thread.

    Args:
        settings: With `influxdb_url` set.
        clock: Reads a Retry-After date.
        timeout_s: Time for a request as a whole; None: the configured one.
        login: A user and a password to sign in with, in place of a token.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        timeout_s: float | None = None,
        login: tuple[str, str] = ("", ""),
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._timeout_s = timeout_s or settings.influxdb_timeout_s
        self._login = login
        self._api: Api | None = None
        self._was_dropped = False
        self._secrets = tuple(_forms(settings.influxdb_token, login))

    def close(self) -> None:
        """End the session, if there is one, and close the sockets; the next request opens one."""
        if self._api is not None:
            self._api.close()
            self._api = None

    def write(self, body: bytes) -> Answer:
        """Send line protocol to the configured bucket.

        Args:
            body: A gzip member of lines with timestamps in nanoseconds; it is sent as it is.

        Returns:
            What the server said. Nothing is raised for a server that fails, in whatever way.
        """
        where = (self.settings.influxdb_org, self.settings.influxdb_bucket)

        def post(api: Api) -> Answer:
            _, status, headers = api.writes.post_write_with_http_info(
                *where, body, precision="ns", content_encoding="gzip"
            )
            return self._answered(status, headers.get, required(api.bounds.response).data)

        def answer() -> Answer:
            try:
                return self.ask(post)
            except InfluxError as error:
                return error.answer

        first = answer()
        # A server or a balancer closes an idle connection, perhaps just as this request is sent on
        # it. To send lines twice changes nothing.
        return answer() if self._was_dropped else first

    def clock_difference(self) -> str | None:
        """Say how this machine's clock differs from the server's.

        Returns:
            A sentence; "" when it does not differ; None when the server tells no time.

        Raises:
            InfluxError: There was no answer.
        """
        answer = self.write(NOTHING)
        if answer.status is None:
            raise InfluxError(answer)
        if answer.date_s is None:
            return None
        skew_s = self._clock.now_ns() / 1e9 - answer.date_s
        if abs(skew_s) <= LARGEST_SKEW_S:
            return ""
        way = "ahead of" if skew_s > 0 else "behind"
        return f"this machine's clock is {abs(skew_s):.0f} s {way} the server's"

    def query(self, flux: str, read: Callable[[list[dict[str, str]]], T]) -> T:
        """Make a query in Flux, and return what is taken out of its rows.

        Args:
            flux: The query.
            read: Takes it; whatever it raises means that the answer is not InfluxDB's.

        Raises:
            InfluxError: For every way in which that can fail.
        """
        return self.ask(lambda api: read(api.query(flux, self.settings.influxdb_org)))

    def ask(self, request: Callable[[Api], T], *secrets: str) -> T:
        """Make a request, and return what it takes out of the answer.

        Args:
            request: Makes it; whatever it raises means that the answer is not InfluxDB's.
            secrets: Those in the request itself, which are masked in what the server says.

        Raises:
            InfluxError: For every way in which that can fail.
        """
        self._was_dropped = False
        try:
            api = self._opened()
            if all(self._login) and not api.cookie:
                api.sign_in(*self._login)
                api.bounds.begin()
            return request(api)
        except Exception as error:  # noqa: BLE001  # a broken answer can raise anything
            answer = self._failure(error, secrets)
            # The frames of urllib3 hold the error, which holds them.
            traceback.clear_frames(error.__traceback__)
            raise InfluxError(answer) from None  # its cause has the server's words as they are
        finally:
            if self._api is not None:
                self._api.bounds.begin()

    def _opened(self) -> Api:
        if self._api is None:
            self._api = Api(self.settings, self._timeout_s, self._clock.monotonic)
        return self._api

    def _failure(self, error: Exception, secrets: tuple[str, ...]) -> Answer:
        """Return why a request failed: its answer, if any, says more than the exception."""
        url, proxy = self.settings.influxdb_url, self.settings.influxdb_proxy
        bounds = self._api.bounds if self._api else None
        response = bounds.response if bounds else None
        if response is None:
            cause = _innermost(error)
            self._was_dropped = isinstance(cause, ConnectionError) and not (
                bounds and bounds.is_new
            )
            way = f" through {proxy}" if proxy else ""
            why = _reason(cause, lambda text: self.masked(text, secrets))
            return Answer(None, message=f"no answer from {url}{way}: {why}")
        header = response.headers.get
        if not 200 <= response.status < 300:
            return self._answered(response.status, header, response.data, secrets)
        message = f"{url} did not answer as InfluxDB 2 does"
        if isinstance(error, QueryError):
            text = f"{url} answered {response.status}: {self.masked(str(error), secrets)}"
            message = one_line(text, LONGEST_MESSAGE)
        return Answer(response.status, message=message, version=self._version(header))

    def _answered(
        self, status: int, header: Header, data: bytes, secrets: tuple[str, ...] = ()
    ) -> Answer:
        if status == 204:
            return Answer(status, date_s=date_s(header("Date")))
        code, said, longest = _code_and_message(data.decode(errors="replace"))
        read = readable(self.masked(said, secrets))
        message = one_line(self.masked(read, secrets), longest)
        return Answer(
            status,
            code,
            f"{self.settings.influxdb_url} answered {status}" + (f": {message}" if message else ""),
            retry_after_s(header("Retry-After"), self._clock.now_ns() / 1e9),
            date_s(header("Date")),
            self._version(header),
        )

    def _version(self, header: Header) -> str:
        return one_line(self.masked(header("X-Influxdb-Version") or ""), _LONGEST_VERSION)

    def masked(self, text: str, more: tuple[str, ...] = ()) -> str:
        """Return what a server said, which may echo the request, without secrets."""
        cookies = (self._api.cookie,) if self._api else ()
        for secret in (*self._secrets, *more, *cookies):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, _MASK)
        return text


def _forms(token: str, login: tuple[str, str]) -> Iterator[str]:
    """Yield the secrets of a connection in each form that an echo may have, the longest first."""
    secrets = {token, login[1], basic_login(*login, errors="replace")} - {""}
    # Without what pads Base64, which is written in more ways than can be listed.
    secrets |= {secret.rstrip("=") for secret in secrets}
    forms = {form for secret in secrets for form in _echoes(secret)}
    yield from sorted(forms, key=len, reverse=True)


def _echoes(secret: str) -> Iterator[str]:
    quoted = quote(secret.encode(errors="replace"), safe="")
    plain = json.dumps(secret)[1:-1]
    yield from (secret, html.escape(secret), quoted, plain)
    yield plain.replace("/", r"\/")
    yield re.sub("%..", lambda code: code[0].lower(), quoted)
    yield re.sub(r"[^\w.-]", lambda odd: f"\\u{ord(odd[0]):04x}", secret, flags=re.ASCII)


def _reason(error: BaseException, masked: Callable[[str], str]) -> str:
    """Return why no answer came, in words without secrets."""
    text = one_line(masked(in_words(error)), _LONGEST_PAGE)
    if isinstance(error, OSError):
        return text or type(error).__name__
    if type(error).__name__ == "IncompleteRead":
        return "the answer is cut off or broken"
    if type(error).__module__ == "http.client":
        return f"no proper HTTP: {text}" if text else "no proper HTTP"
    if isinstance(error, ValueError):
        return _UNSENDABLE  # its text may hold a secret
    return text or type(error).__name__


def _code_and_message(text: str) -> tuple[str, str, int]:
    """Return InfluxDB's code and message, or "" and any other text; and how much of it to show."""
    try:
        body = json.loads(text)
        return str(body["code"]), str(body["message"]), LONGEST_MESSAGE
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", text, _LONGEST_PAGE


def _innermost(error: BaseException) -> BaseException:
    """Return the first cause of an error; urllib3 may have it as the last argument alone."""
    # influxdb-client raises an error of its own for urllib3's of TLS.
    tls = error.__context__ if type(error.__context__).__name__ == "SSLError" else None
    inner = (error.__cause__ or tls, *error.args[-1:])
    cause = next((one for one in inner if isinstance(one, Exception)), None)
    return error if cause is None else _innermost(cause)
