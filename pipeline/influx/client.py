"""InfluxDB's API by influxdb-client, made in one place as the settings want it."""

import base64
import contextlib
import csv
import io
import re
import warnings
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pipeline import __version__
from pipeline.settings import MAIN, Exposure, Settings, setting_name

T = TypeVar("T")

_ID_RE = re.compile(r"(?!0{16})[0-9a-fA-F]{16}")


class QueryError(Exception):
    """A query failed after its answer had begun; the text is InfluxDB's."""


class Api:
    """InfluxDB's API: influxdb-client's services, one for each part of it.

    Args:
        settings: With `influxdb_url` set.
        timeout_s: The time of a request, in seconds.
        monotonic: The clock of that time, in seconds.

    Attributes:
        bounds: The bounds on each request, with the answer to the last one.
    """

    def __init__(
        self, settings: Settings, timeout_s: float, monotonic: Callable[[], float]
    ) -> None:
        # It takes memory and time, which an agent without a server need not pay.
        import influxdb_client as library  # noqa: PLC0415

        from pipeline.influx.bounds import Bounds  # noqa: PLC0415  # imports urllib3

        if not settings.influxdb_verify_tls:  # `unprotected` says what that means, and once
            warnings.filterwarnings("ignore", "Unverified HTTPS request")
        timeout_ms = timeout_s * 1000
        self._client = library.InfluxDBClient(
            settings.influxdb_url.rstrip("/"),
            settings.influxdb_token,
            # A pair: a single number would be given in full to each address of a name.
            timeout=(timeout_ms, timeout_ms),
            # Read again for each connection: a certificate may be exchanged.
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
        self._deletes = self._client.delete_api()
        self.organizations = library.OrganizationsService(http)
        self._queries = self._client.query_api()
        self.setup = library.SetupService(http)
        self.tasks = library.TasksService(http)
        self.writes = library.WriteService(http)

    @property
    def cookie(self) -> str:
        """The session's cookies; "" where there is no session."""
        return self._http.cookie or ""

    def sign_in(self, user: str, password: str) -> None:
        """Begin a session, which `close` ends.

        The client's own way takes the password for Latin-1, keeps one of several cookies, and
        raises where it signs out.
        """
        basic = {"Authorization": f"Basic {basic_login(user, password)}"}
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
            The JSON object of the answer, "" where there is none; its status and its headers.

        Raises:
            ValueError: The answer is something else.
        """
        found, status, answered = self._http.call_api(
            path,
            method,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", **(headers or {})},
            body=body,
            response_type="object",
        )
        if not isinstance(found, dict) and (found, status) != ("", 204):
            raise ValueError("no JSON object")
        return found, status, answered

    def delete_points(self, start: str, stop: str, predicate: str, bucket: str, org: str) -> None:
        """Delete points from a start to a stop, both inclusive and RFC 3339."""
        self._deletes.delete(start, stop, predicate, bucket, org)
        self._expect_no_content()

    def delete_task(self, task_id: str) -> None:
        """Delete a task."""
        self.tasks.delete_tasks_id(task_id)
        self._expect_no_content()

    def _expect_no_content(self) -> None:
        # A proxy's page has status 200, which the client takes for success.
        if required(self.bounds.response).status != 204:
            raise ValueError("no answer to a deletion")

    def query(self, flux: str, org: str) -> list[dict[str, str]]:
        """Make a query in Flux; return the rows of all tables, by the names of their columns.

        Raises:
            QueryError: InfluxDB put an error in place of a table.
            ValueError, csv.Error: The answer is something else.
        """
        return _rows(self._queries.query_raw(flux, org, self._dialect).data)

    def close(self) -> None:
        """End the session, if there is one, and close the connection's sockets."""
        if self.cookie:
            with contextlib.suppress(Exception):  # a session ends by itself, too
                self.request("POST", "/api/v2/signout")
        self._client.close()


def is_org_id(org: str) -> bool:
    """Tell whether InfluxDB takes an organisation for an ID, wherever either may stand."""
    return _ID_RE.fullmatch(org) is not None


def org_query(org: str, by_id: str = "orgID") -> dict[str, str]:
    """Return the parameter that names an organisation; many requests have one for IDs alone."""
    return {by_id if is_org_id(org) else "org": org}


def unprotected(settings: Settings, server: str = MAIN) -> Exposure | None:
    """Return what others on the way to a server can do, if anything, and what ends it."""
    url, proxy = urlsplit(settings.influxdb_url), urlsplit(settings.influxdb_proxy)
    if _is_here(url.hostname) and (url.scheme == "https" or _is_here(proxy.hostname)):
        return None
    may = "whoever is on the way can read the token and change the readings"
    if url.scheme != "https":
        message = f"what is sent to {settings.influxdb_url} is not encrypted, {may}"
        return Exposure(message, "let the server speak TLS, and write https://")
    if settings.influxdb_verify_tls:
        return None
    message = f"the certificate of {settings.influxdb_url} is not checked, {may}"
    ca_cert, verify = (setting_name(server, part) for part in ("ca_cert", "verify_tls"))
    fix = f"name a certificate of your own by {ca_cert}, and leave {verify} true"
    return Exposure(message, fix)


def _is_here(host: str | None) -> bool:
    """Tell whether a name, if there is one, is always this host's own."""
    if not host or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def required(value: T | None) -> T:
    """Return a value of an answer that influxdb-client takes for optional.

    Raises:
        ValueError: It is not in the answer.
    """
    if value is None:
        raise ValueError("not in the answer")
    return value


def basic_login(user: str, password: str, errors: str = "strict") -> str:
    """Return a login as HTTP's Basic scheme has it (RFC 7617)."""
    return base64.b64encode(f"{user}:{password}".encode(errors=errors)).decode()


def _rows(data: bytes) -> list[dict[str, str]]:
    """Read Flux's CSV without annotations: each table a line of names, and lines of values.

    https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/
    """
    if data and not data.endswith(b"\n"):
        raise ValueError("it is cut off")
    rows: list[dict[str, str]] = []
    names: list[str] = []
    # InfluxDB accepts names that are not UTF-8.
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
