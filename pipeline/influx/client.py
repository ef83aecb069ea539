"""InfluxDB by influxdb-client: its API as configured, and every failure as an Answer."""

import base64
import contextlib
import csv
import gzip
import io
import json
import traceback
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pipeline import __version__
from pipeline.clock import Clock
from pipeline.influx.answer import Answer, InfluxError, date_s, one_line, retry_after_s
from pipeline.settings import Settings

T = TypeVar("T")
Header = Callable[[str], str | None]

NOTHING = gzip.compress(b"", mtime=0)
"""A write without a line: its answer tells of the server and of the token alone."""
LARGEST_SKEW_S = 10.0
"""The largest difference between this machine's clock and the server's that is no fault."""
CLOCK_FIX = "let NTP set both, such as systemd-timesyncd"
"""What mends a larger one."""
LONGEST_MESSAGE = 10_000
"""The length of InfluxDB's own words that is kept, in characters."""
_LONGEST_PAGE = 200  # the same of whatever answered in its place
_LONGEST_VERSION = 60
_MASK = "***"
_ELSE = "with something else than InfluxDB 2 does"
_UNSENDABLE = "the address, a name, the token or the login has what HTTP cannot carry"


class QueryError(Exception):
    """A query failed after its answer had begun; the text is InfluxDB's."""


class Api:
    """InfluxDB's API: influxdb-client's services, one for each part of it.

    Args:
        settings: With `influxdb_url` set.
        timeout_s: The time of a request, in seconds.
        monotonic: The clock of that time, in seconds.

    Attributes:
        bounds: Those of each request, with the answer to the last one.
    """

    def __init__(
        self, settings: Settings, timeout_s: float, monotonic: Callable[[], float]
    ) -> None:
        # 32 MiB and 0.3 s, which an agent without a server need not pay.
        import influxdb_client as library  # noqa: PLC0415

        from pipeline.influx.bounds import Bounds  # noqa: PLC0415  # imports urllib3

        timeout_ms = timeout_s * 1000
        self._client = library.InfluxDBClient(
            settings.influxdb_url.rstrip("/"),
            settings.influxdb_token,
            # A pair: of one number each address of a name would have all.
            timeout=(timeout_ms, timeout_ms),
            # Read for each connection anew: a certificate may be exchanged.
            ssl_ca_cert=str(settings.influxdb_ca_cert) if settings.influxdb_ca_cert else None,
            verify_ssl=settings.influxdb_verify_tls,
            proxy=settings.influxdb_proxy.rstrip("/") or None,
            connection_pool_maxsize=1,
        )
        self.bounds = Bounds(monotonic, timeout_s)
        self._http = http = self._client.api_client
        self.bounds.plug_into(http.rest_client.pool_manager)
        http.user_agent = f"metrics-pipeline/{__version__}"
        self._dialect = library.Dialect(header=True, annotations=[])
        self.authorizations = library.AuthorizationsService(http)
        self.buckets = library.BucketsService(http)
        self.deletes = self._client.delete_api()
        self.health = library.HealthService(http)
        self.organizations = library.OrganizationsService(http)
        self.queries = self._client.query_api()
        self.setup = library.SetupService(http)
        self.tasks = library.TasksService(http)
        self.templates = library.TemplatesService(http)
        self.writes = library.WriteService(http)

    @property
    def signed_in(self) -> bool:
        """Whether there is a session."""
        return bool(self._http.cookie)

    def sign_in(self, user: str, password: str) -> None:
        """Begin a session, which `close` ends.

        The client's own way takes the password for Latin-1, keeps one of several cookies, and
        raises where it signs out.
        """
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        basic = {"Authorization": f"Basic {login}"}
        _, _, headers = self.request("POST", "/api/v2/signin", headers=basic)
        # All of them: a load balancer may tell by its own which server the session is on.
        cookies = headers.getlist("Set-Cookie")
        self._http.cookie = "; ".join(cookie.partition(";")[0] for cookie in cookies)

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Any, int, Any]:
        """Make a request whose answer the models of influxdb-client would reject or lose.

        Returns:
            The JSON of the answer, its status and its headers.
        """
        return self._http.call_api(  # type: ignore[no-any-return]  # as documented
            path,
            method,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", **(headers or {})},
            body=body,
            response_type="object",
        )

    def query(self, flux: str, org: str) -> list[dict[str, str]]:
        """Make a query in Flux; return the rows of all tables, by the names of their columns.

        Raises:
            QueryError: InfluxDB put an error in place of a table.
            ValueError, csv.Error: The answer is something else.
        """
        return _rows(self.queries.query_raw(flux, org, self._dialect).data)

    def close(self) -> None:
        """End the session, if there is one, and close the connection's sockets."""
        if self.signed_in:
            with contextlib.suppress(Exception):  # a session ends by itself, too
                self.request("POST", "/api/v2/signout")
        self._client.close()


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
        self.settings = settings
        self._clock = clock
        self._timeout_s = timeout_s or settings.influxdb_timeout_s
        self._login = login
        self._api: Api | None = None

    def close(self) -> None:
        """Close the connection's sockets; the next request opens one."""
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
            post = api.writes.post_write_with_http_info
            _, status, headers = post(*where, body, precision="ns", content_encoding="gzip")
            return self._answered(status, headers.get, known(api.bounds.response).data)

        try:
            return self.ask(post)
        except InfluxError as error:
            return error.answer

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
        """Make a query in Flux.

        Args:
            flux: The query.
            read: Takes what is wanted out of its rows; it may raise whatever it likes: what it
                cannot read is not InfluxDB's.

        Returns:
            What was read.

        Raises:
            InfluxError: For every way in which that can fail.
        """
        return self.ask(lambda api: read(api.query(flux, self.settings.influxdb_org)))

    def ask(self, request: Callable[[Api], T]) -> T:
        """Make a request.

        Args:
            request: Makes it, and takes what is wanted out of the answer; it may raise as that of
                `query`.

        Returns:
            What that returns.

        Raises:
            InfluxError: For every way in which that can fail.
        """
        try:
            api = self._opened()
            if all(self._login) and not api.signed_in:
                api.sign_in(*self._login)
            return request(api)
        except Exception as error:  # a broken answer can raise anything
            answer = self._failure(error)
            # urllib3's hold the error, which holds them and all that they have to do with.
            traceback.clear_frames(error.__traceback__)
            raise InfluxError(answer) from error
        finally:
            if self._api is not None:
                self._api.bounds.begin()

    def _opened(self) -> Api:
        if self._api is None:
            self._api = Api(self.settings, self._timeout_s, self._clock.monotonic)
        return self._api

    def _failure(self, error: Exception) -> Answer:
        """Return what a request failed by; the answer to it tells more than the exception does."""
        url, proxy = self.settings.influxdb_url, self.settings.influxdb_proxy
        response = self._api.bounds.response if self._api else None
        if response is None:
            way = f" through {proxy}" if proxy else ""
            return Answer(None, message=f"no answer from {url}{way}: {self._masked(reason(error))}")
        header = response.headers.get
        if not 200 <= response.status < 300:
            return self._answered(response.status, header, response.data)
        said = _ELSE
        if isinstance(error, QueryError):
            text = f"{response.status}: {self._masked(str(error))}"
            said = one_line(text, LONGEST_MESSAGE)
        message = f"{url} answered {said}"
        return Answer(response.status, message=message, version=_version(header))

    def _answered(self, status: int, header: Header, data: bytes) -> Answer:
        if status == 204:
            return Answer(status, date_s=date_s(header("Date")))
        code, message = code_and_message(self._masked(data.decode(errors="replace")))
        return Answer(
            status,
            code,
            f"{self.settings.influxdb_url} answered {status}" + (f": {message}" if message else ""),
            retry_after_s(header("Retry-After"), self._clock.now_ns() / 1e9),
            date_s(header("Date")),
            _version(header),
        )

    def _masked(self, text: str) -> str:
        """Return what a server said, which may be the request itself, without the token."""
        token = self.settings.influxdb_token
        return text.replace(token, _MASK) if token else text


def known(value: T | None) -> T:
    """Return what a model of influxdb-client holds of an answer.

    Raises:
        ValueError: The answer did not have it.
    """
    if value is None:
        raise ValueError("not in the answer")
    return value


def reason(error: BaseException) -> str:
    """Return why no answer came, without urllib3's objects in the text and without secrets."""
    from http.client import HTTPException, IncompleteRead  # noqa: PLC0415  # urllib3 loads it

    while inner := _wrapped(error):
        error = inner
    text = one_line(str(error), _LONGEST_PAGE)
    if isinstance(error, OSError):
        return text or type(error).__name__
    if isinstance(error, IncompleteRead):
        return "the answer is cut off or broken"
    if isinstance(error, HTTPException):
        return f"no proper HTTP: {text}" if text else "no proper HTTP"
    if isinstance(error, ValueError):
        return _UNSENDABLE  # its text may hold a secret
    return text or type(error).__name__


def code_and_message(text: str) -> tuple[str, str]:
    """Return InfluxDB's code and message, or no code and the start of what came instead."""
    try:
        body = json.loads(text)
        return str(body["code"]), one_line(str(body["message"]), LONGEST_MESSAGE)
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", one_line(text, _LONGEST_PAGE)


def _wrapped(error: BaseException) -> Exception | None:
    """Return what an error comes from: urllib3 wraps one in another, and may name it last."""
    context = None if error.__suppress_context__ else error.__context__
    inner = (error.__cause__ or context, *error.args[-1:])
    return next((one for one in inner if isinstance(one, Exception)), None)


def _rows(data: bytes) -> list[dict[str, str]]:
    """Read Flux's CSV without annotations: each table a line of names, and lines of values.

    https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/
    """
    if data and not data.endswith(b"\n"):
        raise ValueError("it is cut off")
    rows: list[dict[str, str]] = []
    names: list[str] = []
    # InfluxDB takes names that are no UTF-8.
    text = io.StringIO(data.decode(errors="replace"), newline="")
    lines = csv.reader(text, strict=True)
    for line in lines:
        if not line:
            names = []
        elif {*line} - {""} == {"error", "reference"}:
            raise QueryError(" ".join(next(lines, [])).strip() or "an error without a word")
        elif not names and line[:3] != ["", "result", "table"]:
            raise ValueError("no table of Flux")
        elif not names:
            names = line
        else:
            rows.append(dict(zip(names, line, strict=True)))
    return rows


def _version(header: Header) -> str:
    return one_line(header("X-Influxdb-Version") or "", _LONGEST_VERSION)
