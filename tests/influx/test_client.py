"""Requests to InfluxDB: what they send, and whatever is answered to them."""

import gc
import gzip
import json
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import __version__
from pipeline.cli.doctor import server as doctor
from pipeline.cli.rehearse.proxy import Proxy
from pipeline.clock import rfc3339
from pipeline.influx import setup_api, tasks
from pipeline.influx.answer import InfluxError, Verdict, verdict
from pipeline.influx.buckets import Rule, Wanted, describe, look, reconcile
from pipeline.influx.connection import Connection
from pipeline.influx.dashboards import stacks
from pipeline.influx.dashboards.stacks import Resource
from pipeline.influx.points import HostPoints, count_by_host
from pipeline.influx.target import Target
from pipeline.retention import KnownRule
from pipeline.settings import Downsample, Settings
from pipeline.spool import Spool
from tests import servers
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influxd.api import Bucket
from tests.servers import Request, last_response, read_request, response, scripted, serving

Call = Callable[[Connection], object]


def connected(url: str, **changes: Any) -> Connection:
    login = changes.pop("login", ("", ""))
    given: dict[str, Any] = {
        "influxdb_url": url,
        "influxdb_org": "o",
        "influxdb_bucket": "b",
        "influxdb_token": "s3cret",
        "downsample": Downsample("5m", 1000, "means"),
        "host": "h1",
    }
    return Connection(Settings(**{**given, **changes}), ManualClock(), 10, login)


@contextmanager
def answering(answer: bytes, **changes: Any) -> Iterator[Connection]:
    """A connection to a server that answers everything with the same."""
    with scripted(answer) as url, closing(connected(url, **changes)) as connection:
        yield connection


def get(connection: Connection, path: str = "/health") -> Any:
    return connection.ask(lambda api: api.request("GET", path)[0])


def failure(connection: Connection, call: Call = get) -> InfluxError:
    """How a call fails."""
    with pytest.raises(InfluxError) as caught:
        call(connection)
    return caught.value


def failed(answer: bytes, call: Call = get) -> InfluxError:
    """How a call fails that is answered so."""
    with scripted(answer) as url, closing(connected(url)) as connection:
        error = failure(connection, call)
    assert str(error).startswith((f"{url} ", f"no answer from {url}: "))
    return error


def found(body: object) -> bytes:
    """The answer that has what was asked for."""
    return last_response("200 OK", json.dumps(body).encode())


# ---- what is sent --------------------------------------------------------------------------------


class Recorder:
    """A server that signs in whoever asks, and knows what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Request] = []

    def __call__(self, client: socket.socket, over: threading.Event) -> None:
        signed = "session=abc==; Path=/api/; SameSite=Strict", "balancer=2; Path=/"
        while request := read_request(client):
            self.requests.append(request)
            cookies = signed if request.path == "/api/v2/signin" else ()
            client.sendall(response("200 OK", b"{}", *(f"Set-Cookie: {one}" for one in cookies)))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    one = Recorder()
    with serving(one) as one.url:
        yield one


def test_a_request_has_the_token_the_version_and_json(recorder: Recorder) -> None:
    with closing(connected(f"{recorder.url}/below/")) as connection:
        query = {"org": "an org & more"}
        connection.ask(lambda api: api.request("POST", "/api/v2/x", {"ü": 1}, query))
        get(connection)
    made, health = recorder.requests
    assert (made.method, made.path) == ("POST", "/below/api/v2/x?org=an+org+%26+more")
    assert made.headers["Authorization"] == "Token s3cret"
    assert made.headers["User-Agent"] == f"metrics-pipeline/{__version__}"
    assert made.headers["Content-Type"] == "application/json"
    assert json.loads(made.body) == {"ü": 1}
    assert (health.method, health.path, health.body) == ("GET", "/below/health", b"")


def test_who_signs_in_does_so_once_and_signs_out_at_the_end(recorder: Recorder) -> None:
    login = ("ann", "pass:wörd")
    with closing(connected(recorder.url, influxdb_token="", login=login)) as connection:
        get(connection, "/api/v2/one")
        get(connection, "/api/v2/two")
    paths = [request.path.removeprefix("/api/v2/") for request in recorder.requests]
    assert paths == ["signin", "one", "two", "signout"]
    first, *rest = recorder.requests
    assert first.headers["Authorization"] == "Basic YW5uOnBhc3M6d8O2cmQ="
    for request in rest:
        assert request.headers["Cookie"] == "session=abc==; balancer=2"
        assert "Authorization" not in request.headers


def test_a_session_of_the_real_server_works_and_ends(new_server: str) -> None:
    with closing(connected(new_server, influxdb_token="")) as connection:
        setup_api.onboard(connection, "ann", "a-password")
    signed = connected(new_server, influxdb_token="", login=("ann", "a-password"))
    with closing(signed) as connection:
        assert set(setup_api.organisations(connection)) == {"o"}
    wrong = connected(new_server, influxdb_token="", login=("ann", "another-password"))
    with closing(wrong) as connection, pytest.raises(InfluxError, match="answered 401") as caught:
        setup_api.organisations(connection)
    assert "another-password" not in str(caught.value)


# ---- the way there -------------------------------------------------------------------------------


def test_a_call_goes_through_a_proxy(bucket: Bucket) -> None:
    server = urlsplit(bucket.server.url)
    with closing(Proxy(str(server.hostname), server.port or 0, answers_connect=True)) as proxy:
        there = settings_for(
            bucket, influxdb_url="http://influxdb.invalid", influxdb_proxy=proxy.url
        )
        with closing(Connection(there, ManualClock())) as connection:
            assert look(connection) is not None
            assert HostPoints(connection, "nobody").count(0, 1) == 0
            assert connection.write(gzip.compress(b"m f=1i 1")).status == 204


def by_tls(certificate: Path) -> AbstractContextManager[str]:
    return scripted(last_response("200 OK", b"{}"), certificate)


@pytest.mark.parametrize("by_proxy", [False, True])
def test_a_server_must_prove_to_a_call_who_it_is(certificate: Path, by_proxy: bool) -> None:
    with by_tls(certificate) as url:
        port = urlsplit(url).port or 0
        with closing(Proxy("127.0.0.1", port, answers_connect=True)) as proxy:
            way = proxy.url if by_proxy else ""
            with closing(connected(url, influxdb_proxy=way)) as connection:
                error = failure(connection)
                written = connection.write(b"")
            for answer in (error.answer, written):
                assert "certificate verify failed" in answer.message
                assert answer.status is None
            known = {"influxdb_proxy": way, "influxdb_ca_cert": certificate}
            with closing(connected(url, **known)) as connection:
                assert get(connection) == {}
                assert connection.write(b"").status == 200


def test_a_name_may_end_with_the_dot_of_the_root(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = socket.getaddrinfo
    monkeypatch.setattr(  # a name server would find it
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: find(host.removesuffix("."), *rest, **more),
    )
    with by_tls(certificate) as url:
        url = url.replace("127.0.0.1", "localhost.")
        with closing(connected(url, influxdb_ca_cert=certificate)) as connection:
            assert get(connection) == {}


def test_a_certificate_names_a_server_by_its_alternative_names_alone(
    named_certificate: Path,
) -> None:
    with by_tls(named_certificate) as url:
        url = url.replace("127.0.0.1", "localhost")
        with closing(connected(url, influxdb_ca_cert=named_certificate)) as connection:
            error = failure(connection)
    assert error.answer.status is None
    assert "certificate is not valid for 'localhost'" in str(error)


RESET = "connection reset by peer"
CUT = "the answer is cut off or broken"
START = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (servers.reset_after_the_request, RESET),
        (servers.reset_in_the_answer, RESET),
        (servers.answer_and_close(START + b"Content-Length: 9\r\n\r\n{"), CUT),
        (servers.answer_and_close(START + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{"), CUT),
        (servers.answer_and_close(b"SSH-2.0-\x1bOpen\r\n"), "no proper HTTP: SSH-2.0- Open"),
        (servers.answer_and_close(b"\r\n"), "no proper HTTP"),
        (servers.answer_and_close(b"HTTP/9.9 200 OK\r\n\r\n"), "no proper HTTP: HTTP/9.9"),
    ],
    ids=["reset", "reset-later", "cut", "chunk", "ssh", "line", "version"],
)
def test_why_no_answer_came_is_told_in_words(behave: servers.Behaviour, reason: str) -> None:
    with servers.serving(behave) as url, closing(connected(url)) as connection:
        assert connection.write(b"").message == f"no answer from {url}: {reason}"


def test_a_call_is_made_but_once() -> None:
    asked: list[int] = []

    def behave(client: socket.socket, over: threading.Event) -> None:
        asked.append(1)
        servers.reset_after_the_request(client, over)

    with servers.serving(behave) as url, closing(connected(url)) as connection:
        assert failure(connection).answer.status is None
    assert len(asked) == 1


def test_each_call_on_a_connection_has_the_whole_time(recorder: Recorder) -> None:
    clock = ManualClock()
    with closing(Connection(Settings(influxdb_url=recorder.url), clock, 10)) as connection:
        for _ in range(3):
            assert get(connection) == {}
            clock.advance(9)


def test_a_handshake_that_never_ends_takes_no_longer_than_a_request_may() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        release = threading.Timer(20, silent.close)  # so that this ends whatever is waited for
        release.start()
        with closing(Connection(Settings(influxdb_url=url), ManualClock(), 0.05)) as connection:
            told = str(failure(connection))
        release.cancel()
        release.join()
    assert "timed out" in told


def test_a_connection_that_is_closed_leaves_no_socket_open(recorder: Recorder) -> None:
    port = urlsplit(recorder.url).port

    def opened() -> int:
        there = psutil.Process().net_connections("tcp")
        return sum(bool(one.raddr) and one.raddr.port == port for one in there)

    connection = connected(recorder.url)
    get(connection)
    assert opened() == 1
    connection.close()
    assert opened() == 0


NOT_UTF_8 = "pa\udcffss"


@pytest.mark.parametrize(
    ("ask", "changes"),
    [
        (get, {"login": ("ann", NOT_UTF_8)}),
        (get, {"influxdb_token": NOT_UTF_8}),
        (get, {"influxdb_token": "pass\n"}),
        (lambda c: HostPoints(c, "h").delete(0, 1), {"influxdb_bucket": NOT_UTF_8}),
        (lambda c: c.query("buckets()", list), {"influxdb_org": NOT_UTF_8}),
    ],
    ids=["login", "token", "line", "bucket", "org"],
)
def test_what_cannot_be_sent_is_told_in_a_sentence_and_not_shown(
    ask: Call, changes: dict[str, Any]
) -> None:
    with closing(connected("http://127.0.0.1:1", **changes)) as connection:
        error = failure(connection, ask)
    assert error.answer.status is None
    assert str(error) == (
        "no answer from http://127.0.0.1:1: "
        "the address, a name, the token or the login has what HTTP cannot carry"
    )


@pytest.mark.parametrize("name", ["influxdb_token", "influxdb_org", "influxdb_bucket"])
@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:1"])
def test_a_write_that_cannot_be_sent_is_no_answer(name: str, proxy: str) -> None:
    changes = {name: NOT_UTF_8, "influxdb_proxy": proxy}
    with closing(connected("http://127.0.0.1:1", **changes)) as connection:
        answer = connection.write(b"")
    assert answer.status is None
    assert answer.message.endswith("the token or the login has what HTTP cannot carry")


def test_a_redirect_is_an_answer_and_not_followed(recorder: Recorder) -> None:
    answer = last_response("307 Elsewhere", b"", f"Location: {recorder.url}/")
    error = failed(answer, lambda c: c.ask(lambda api: api.request("POST", "/api/v2/x", {})))
    assert error.answer.status == 307
    assert recorder.requests == []  # it would have had the token


# ---- whatever is answered ------------------------------------------------------------------------

HUGE = "9" * 400


def told(connection: Connection, rule: Rule | None) -> object:
    """What is made of a rule."""
    return rule and (describe(rule, connection.settings), rfc3339(rule.removes_ns(0) or 0))


CALLS: dict[str, Call] = {
    "health": lambda c: doctor.health(c).message,
    "doctor": lambda c: [*map(str, doctor.examine(c, ManualClock(), lambda: None, "", "b"))],
    "look": lambda c: told(c, look(c)),
    "reconcile": lambda c: reconcile(c, Wanted("o", "b", 1, "extend"), 0),
    "enforce": lambda c: reconcile(c, Wanted("o", "b", 1, "enforce"), 0),
    "oldest": lambda c: rfc3339(HostPoints(c, "h").oldest(0, 1) or 0),
    "counts": lambda c: HostPoints(c, "h").counts(0, 1),
    "measurements": lambda c: HostPoints(c, "h").measurements(0, 1),
    "measurements ever": lambda c: HostPoints(c, "h").measurements_ever(),
    "unreadable": lambda c: HostPoints(c, "h").unreadable(0, 1),
    "times": lambda c: HostPoints(c, "h").times("m", 0, 1, 9),
    "remove": lambda c: HostPoints(c, "h").remove(0, 1),
    "delete": lambda c: HostPoints(c, "h").delete(0, 1),
    "hosts": lambda c: count_by_host(c, "b", 1),
    "task": lambda c: tasks.reconcile(c, c.settings, "before", ()),
    "new": setup_api.is_new,
    "onboard": lambda c: setup_api.onboard(c, "ann", "password"),
    "orgs": setup_api.organisations,
    "org": lambda c: setup_api.make_organisation(c, "o"),
    "tokens": lambda c: setup_api.Tokens(c, "1", ["b"], tasks=True).find_or_create("n"),
    "stack": lambda c: stacks.Stacks(c, "1").apply_once(Resource("s", {})),
    "resources": lambda c: stacks.Stacks(c, "1").remove("s"),
}
NAMES = (
    "buckets", "orgs", "tasks", "stacks", "authorizations", "id", "name", "retentionRules",
    "everySeconds", "allowed", "auth", "token", "permissions", "resource", "resources", "status",
    "description", "createdAt", "links",
)  # fmt: skip
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "b", "o", "pass"]),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.sampled_from(NAMES), some, max_size=6)
    ),
    max_leaves=12,
)


def answered(call: Call, answer: bytes) -> None:
    """Whatever comes back: a result, or one sentence."""
    with scripted(answer) as url, closing(connected(url)) as connection:
        try:
            call(connection)
        except (InfluxError, setup_api.NotInfluxDB2Error) as error:
            told = str(error)
            assert told.startswith((f"{url} ", f"no answer from {url}: "))
            assert "\n" not in told
            assert "s3cret" not in told
            assert len(told) < 300


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        b"<html>\n<body>Welcome</body></html>",
        b"null",
        b"[]",
        b'"text"',
        b"[" * 1_000_000,
        b'{"buckets": [{"name": "b", "id": 1, "retentionRules": [{"everySeconds": "1h"}]}]}',
        b'{"buckets": [{"name": "b", "id": 1, "retentionRules": [{"everySeconds": -1}]}]}',
        b'{"buckets": [{"name": "b", "id": 1, "retentionRules": [{"everySeconds": 1e999}]}]}',
        f'{{"buckets": [{{"name": "b", "id": 1, "retentionRules": [{{"everySeconds": 9,'
        f'"shardGroupDurationSeconds": {HUGE}}}]}}]}}'.encode(),
        b'{"buckets": [{"na',
        b"\xff\xfe{}",
        b"#datatype,string,long\r\n#default,,\r\n,result,n\r\n,,1\r\n",
        f"#datatype,string,long,long\r\n#default,,,\r\n,_measurement,n,_time\r\n,cpu,1,{HUGE}\r\n".encode(),
        b"#datatype,string,string\r\n#default,,\r\n,_measurement,n\r\n,cpu,\r\n",
    ],
    ids=[
        *("page", "null", "list", "text", "deep", "age", "past", "infinite", "huge"),
        *("cut", "bytes", "count", "time", "measurement"),
    ],
)
@pytest.mark.parametrize("name", CALLS)
def test_an_answer_of_another_shape_is_told_in_a_sentence(name: str, body: bytes) -> None:
    answered(CALLS[name], last_response("200 OK", body))


def instances() -> list[str]:
    """The types of all objects that this package's own classes have made."""
    types = (f"{type(one).__module__}.{type(one).__name__}" for one in gc.get_objects())
    return sorted(name for name in types if name.startswith("pipeline.influx."))


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [
        last_response("200 OK", b"{}"),
        last_response("200 OK", b"[" * 1_000_000),
        last_response("500 Oops"),
        b"",
    ],
    ids=["empty", "deep", "error", "none"],
)
def test_connections_leave_nothing_for_the_collector(answer: bytes) -> None:
    # Memory would grow until one comes; and one that comes in the depth of an answer such as the
    # second has no room left to end a pool.
    answered(CALLS["health"], answer)
    gc.collect()
    before = instances()
    gc.disable()
    try:
        for call in CALLS.values():
            answered(call, answer)
        left = instances()
    finally:
        gc.enable()
    assert left == before


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "answer",
    [
        last_response("204 No Content"),
        last_response("301 Moved", b"", "Location: http://127.0.0.1:1/"),
        last_response("500 Oops", b"<html>\n\nOops"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
    ids=["nothing", "moved", "oops", "cut", "chunk", "ssh", "closed"],
)
def test_a_broken_answer_is_told_in_a_sentence(name: str, answer: bytes) -> None:
    answered(CALLS[name], answer)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(CALLS)), JSON)
def test_any_json_is_understood_or_told_in_a_sentence(name: str, body: Any) -> None:
    answered(CALLS[name], found(body))


def test_an_answer_that_cannot_be_understood_has_its_status_and_no_secrets() -> None:
    answer = last_response("201 Created", b'{"auth": {"tokens": "s3cret"}}')
    error = failed(answer, CALLS["onboard"])
    assert error.answer.status == 201
    assert str(error).endswith(" did not answer as InfluxDB 2 does")


def test_an_answer_that_is_too_large_is_none() -> None:
    error = failed(last_response("200 OK", b" " * (9 * 2**20)), look)
    assert "an answer of more than 8388608 bytes" in str(error)
    assert error.answer.status is None


CODES = "\x1b[31m two\r\n\u202elines\x07 " + "x" * 20_000


@pytest.mark.parametrize(
    ("health", "told"),
    [
        ({"status": CODES}, "says of its health: [31m two lines xxx"),
        ({"status": "pass", "version": CODES}, "is healthy, InfluxDB [31m two lines xxx"),
        ({"status": "pass", "version": None}, "of a version that it does not tell"),
        ({"status": "\x07"}, "says of its health: nothing"),
    ],
)
def test_what_a_server_says_of_itself_is_shown_in_short_and_in_print(
    health: dict[str, str], told: str
) -> None:
    with answering(found({"name": "influxdb", **health})) as connection:
        message = doctor.health(connection).message
    assert told in message
    assert message.isprintable()
    assert len(message) < 130


@pytest.mark.parametrize(
    "body", [CODES.encode(), json.dumps({"code": "invalid", "message": CODES}).encode()]
)
def test_a_failure_is_told_in_print(body: bytes) -> None:
    version = "X-Influxdb-Version: 1.8\x1b[31m" + "x" * 99
    called = failed(last_response("400 Oops", body, version)).answer
    assert " answered 400: [31m two lines xxx" in called.message
    assert called.message.isprintable()
    assert len(called.message) < 10_100
    assert called.version.startswith("1.8 [31mxxx")
    assert len(called.version) <= 60
    page = last_response("502 No", b"<html><title>Sign in</title>")
    assert failed(page).answer.message.endswith(" answered 502: Sign in")


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b'{"code": {"deep": [1]}, "message": null}'])
def test_an_error_of_any_shape_is_short_and_has_its_status(body: bytes) -> None:
    answer = failed(last_response("400 Oops", body)).answer
    assert answer.status == 400
    assert isinstance(answer.code, str)
    assert len(answer.message) < 10_200


TOKEN = "s3cret/token=="
ECHOES = {
    "page": last_response(
        "502 Bad Gateway", f"GET /health\r\nAuthorization: Token {TOKEN}\r\n".encode()
    ),
    "title": last_response("502 No", f"<html><title>{TOKEN} s3cret&#47;token&#61;=".encode()),
    "message": last_response(
        "400 No", json.dumps({"code": "invalid", "message": f"no {TOKEN}"}).encode()
    ),
    "escaped": last_response(
        "400 No", b'{"code": "invalid", "message": "no s3cret\\/token\\u003d="}'
    ),
    "address": last_response("404 No", b"/x?token=s3cret%2Ftoken%3D%3D"),
    "query": last_response("200 OK", f'error,reference\r\n"no {TOKEN}",897\r\n'.encode()),
    "page-of-json": last_response("502 No", b'{"echo": "s3cret\\/token=="}'),
    "page-of-one-text": last_response("502 No", b'"s3cret\\u002ftoken\\u003d\\u003d"'),
    "address-in-small": last_response("404 No", b"/x?token=s3cret%2ftoken%3d%3d"),
    "padding": last_response("502 No", b"s3cret/token&#x3d;&#x3d;"),
    "reason": f"HTTP/1.1 {TOKEN} No\r\n\r\n".encode(),
    "no-http": TOKEN.encode(),
    "cut": f"{'x' * 190}{TOKEN}".encode(),
    "version": last_response("400 No", b"***", f"X-Influxdb-Version: {TOKEN}"),
}


@pytest.mark.parametrize("name", ECHOES)
def test_a_server_that_echoes_the_request_does_not_show_the_token(name: str) -> None:
    with answering(ECHOES[name], influxdb_token=TOKEN) as connection:
        error = failure(connection, lambda c: HostPoints(c, "h").count(0, 1))
        told = f"{connection.write(b'')} {error.answer}"
    told += "".join(traceback.format_exception(error))  # as debug lines have it
    assert "s3cret" not in told
    assert "***" in told


def test_a_header_that_cannot_be_read_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    answer = last_response("502 No", b"busy", f"Token {TOKEN}", "X: 1")
    with answering(answer, influxdb_token=TOKEN) as connection:
        assert connection.write(b"").message.endswith("answered 502: busy")
    assert caplog.text == ""


def test_a_server_that_echoes_a_login_does_not_show_the_password() -> None:
    answer = last_response("401 No", b"YW5uOmEtcGFzc3dvcmQ= is ann:a-password")
    with answering(answer, influxdb_token="", login=("ann", "a-password")) as connection:
        assert str(failure(connection)).endswith("answered 401: *** is ann:***")
    error = failed(answer, lambda c: setup_api.onboard(c, "ann", "a-password"))
    assert "a-password" not in str(error)


def test_a_token_that_is_a_word_changes_no_verdict() -> None:
    body = b'{"code": "unprocessable entity", "message": "dropped"}'
    with answering(last_response("422 No", body), influxdb_token="unprocessable") as connection:
        assert verdict(connection.write(b"")) is Verdict.HALVE


CHANGES: dict[str, Call] = {
    "delete": lambda c: HostPoints(c, "h").delete(0, 1),
    "delete-task": lambda c: c.ask(lambda api: api.delete_task("1")),
    "task": lambda c: c.ask(lambda api: api.tasks.post_tasks({"flux": "x"})),
    "bucket": lambda c: c.ask(lambda api: api.buckets.post_buckets({"name": "b"})),
    "rule": lambda c: c.ask(lambda api: api.buckets.patch_buckets_id("1", {})),
    "stack": lambda c: stacks.Stacks(c, "1").apply_once(Resource("s", {})),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_page_is_no_success_of_a_change(name: str) -> None:
    error = failed(last_response("200 OK", b"<html>Sign in</html>"), CHANGES[name])
    assert str(error).endswith(" did not answer as InfluxDB 2 does")


def test_the_error_of_a_query_is_told_in_print_up_to_a_length() -> None:
    table = f'error,reference\r\n"{CODES}",897\r\n'
    error = failed(last_response("200 OK", table.encode()), CALLS["counts"])
    assert " answered 200: [31m two lines xxx" in str(error)
    assert str(error).isprintable()
    assert len(str(error)) <= 10_000 + len("http://127.0.0.1:65535 answered ")


def test_the_link_of_a_stack_leads_to_no_other_server(recorder: Recorder) -> None:
    link = f"@{urlsplit(recorder.url).netloc}/x"
    stack = {
        "createdAt": "2023-11-14T22:13:20Z",
        "id": "1",
        "description": Resource("s", {}).about,
        "resources": [{"links": {"self": link}}],
    }
    with answering(found({"stacks": [stack]})) as connection:
        done = stacks.Stacks(connection, "1").apply_once(Resource("s", {}))
    assert not done.changed  # it was asked for, and is there
    assert recorder.requests == []  # it would have had the token


@pytest.mark.parametrize("text", ["", None, "theirs"])
def test_a_token_that_is_not_shown_is_not_used(text: str | None) -> None:
    answer = {
        "buckets": [{"id": "1", "name": "b", "retentionRules": []}],
        "authorizations": [
            {
                "token": text,
                "description": "n",
                "status": "active",
                "permissions": [
                    {"action": action, "resource": {"type": "buckets", "id": "1"}}
                    for action in ("read", "write")
                ],
            }
        ],
        "token": "new",
    }
    with answering(found(answer)) as connection:
        named = setup_api.Tokens(connection, "1", ["b"], tasks=False).find_or_create("n")
    assert named == ((text, "n", False) if text else ("new", "n (b)", True))


@pytest.mark.parametrize("rules", [{}, {"retentionRules": None}, {"retentionRules": []}])
def test_a_bucket_without_rules_keeps_all(rules: dict[str, None]) -> None:
    with answering(found({"buckets": [{"id": "1", "name": "b", **rules}]})) as connection:
        rule = look(connection)
    assert rule is not None
    assert rule.age_s == 0


@pytest.mark.parametrize(
    "answer",
    [
        last_response("200 OK", b"a page"),
        last_response("201 Created", b"a page"),
        last_response("204 No Content"),
        last_response("206 Partial Content", b"a page"),
        last_response("302 Found", b"", "Location: /login"),
        last_response("304 Not Modified"),
    ],
    ids=["200", "201", "204", "206", "302", "304"],
)
def test_readings_do_not_wait_for_a_server_that_cannot_be_understood(
    spool: Spool, answer: bytes
) -> None:
    """Its bucket cannot be looked after, but it may take them."""
    with answering(answer) as connection:
        target = Target(
            connection.settings,
            lambda: connection.settings,
            ManualClock(),
            KnownRule(spool.queue()),
        )
        target.prepare()
        assert target.prepared
        assert not target.write_only
