"""Requests to InfluxDB: what they send, and whatever is answered to them."""

import gc
import gzip
import json
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
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
from pipeline.settings import Settings
from tests import servers
from tests.clocks import ManualClock
from tests.configured import settings_for
from tests.influx.conftest import answering, connected
from tests.influxd.api import Bucket
from tests.servers import Request, gateway, last_response, response, scripted, serving

Call = Callable[[Connection], object]


def get(connection: Connection, path: str = "/health") -> Any:
    return connection.ask(lambda api: api.request("GET", path)[0])


def failure(connection: Connection, call: Call = get) -> InfluxError:
    """How a call fails."""
    with pytest.raises(InfluxError) as caught:
        call(connection)
    return caught.value


def failed(answer: bytes, call: Call = get, **changes: Any) -> InfluxError:
    """How a call fails that is answered so."""
    with answering(answer, **changes) as connection:
        error, url = failure(connection, call), connection.settings.influxdb_url
    assert str(error).startswith((f"{url} ", f"no answer from {url}: "))
    return error


def write(connection: Connection) -> None:
    """Write nothing, and raise the answer to it, but for that of a delivery."""
    if (answer := connection.write(b"")).status != 204:
        raise InfluxError(answer)


def found(body: object) -> bytes:
    """The answer that has what was asked for."""
    return last_response("200 OK", json.dumps(body).encode())


# ---- what is sent --------------------------------------------------------------------------------


class Recorder:
    """Signs in whoever asks, and knows what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> bytes:
        self.requests.append(request)
        signed = "session=abc==; Path=/api/; SameSite=Strict", "balancer=2; Path=/"
        cookies = signed if request.path == "/api/v2/signin" else ()
        return response("200 OK", b"{}", *(f"Set-Cookie: {one}" for one in cookies))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    one = Recorder()
    with serving(gateway("", one)) as one.url:
        yield one


def test_a_request_has_the_token_the_version_and_json(recorder: Recorder) -> None:
    odd = {"influxdb_token": "two words", "influxdb_bucket": "ä&b=c %20/ü?#"}
    with connected(f"{recorder.url}/below/", **odd) as connection:
        query = {"org": "an org & more"}
        connection.ask(lambda api: api.request("POST", "/api/v2/x", {"ü": 1}, query))
        get(connection)
        connection.write(b"gzip")
    made, health, written = recorder.requests
    assert (made.method, made.path) == ("POST", "/below/api/v2/x?org=an+org+%26+more")
    assert made.headers["Authorization"] == "Token two words"
    assert made.headers["User-Agent"] == f"metrics-pipeline/{__version__}"
    assert made.headers["Content-Type"] == "application/json"
    assert json.loads(made.body) == {"ü": 1}
    assert (health.method, health.path, health.body) == ("GET", "/below/health", b"")
    assert (written.method, written.body) == ("POST", b"gzip")
    assert urlsplit(written.path).path == "/below/api/v2/write"
    where = {"org": ["o"], "bucket": [odd["influxdb_bucket"]], "precision": ["ns"]}
    assert parse_qs(urlsplit(written.path).query) == where


def test_who_signs_in_does_so_once_and_signs_out_at_the_end(recorder: Recorder) -> None:
    login = ("ann", "pass:wörd")
    with connected(recorder.url, influxdb_token="", login=login) as connection:
        get(connection, "/api/v2/one")
        get(connection, "/api/v2/two")
    paths = [request.path.removeprefix("/api/v2/") for request in recorder.requests]
    assert paths == ["signin", "one", "two", "signout"]
    first, *rest = recorder.requests
    assert first.headers["Authorization"] == "Basic YW5uOnBhc3M6d8O2cmQ="
    for request in rest:
        assert request.headers["Cookie"] == "session=abc==; balancer=2"
        assert "Authorization" not in request.headers


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


@pytest.mark.parametrize("by_proxy", [False, True])
def test_a_server_must_prove_to_a_call_who_it_is(certificate: Path, by_proxy: bool) -> None:
    with scripted(found({}), certificate) as url:
        port = urlsplit(url).port or 0
        with closing(Proxy("127.0.0.1", port, answers_connect=True)) as proxy:
            way = proxy.url if by_proxy else ""
            with connected(url, influxdb_proxy=way) as connection:
                error = failure(connection)
                written = connection.write(b"")
            for answer in (error.answer, written):
                assert "certificate verify failed" in answer.message
                assert answer.status is None
            known = {"influxdb_proxy": way, "influxdb_ca_cert": certificate}
            with connected(url, **known) as connection:
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
    with scripted(found({}), certificate) as url:
        url = url.replace("127.0.0.1", "localhost.")
        with connected(url, influxdb_ca_cert=certificate) as connection:
            assert get(connection) == {}


def test_a_certificate_names_a_server_by_its_alternative_names_alone(
    named_certificate: Path,
) -> None:
    with scripted(found({}), named_certificate) as url:
        url = url.replace("127.0.0.1", "localhost")
        with connected(url, influxdb_ca_cert=named_certificate) as connection:
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
    with servers.serving(behave) as url, connected(url) as connection:
        assert connection.write(b"").message == f"no answer from {url}: {reason}"


def test_each_call_on_a_connection_has_the_whole_time(recorder: Recorder) -> None:
    clock = ManualClock()
    with closing(Connection(Settings(influxdb_url=recorder.url), clock, 10)) as connection:
        for _ in range(3):
            assert get(connection) == {}
            clock.advance(9)


def test_a_handshake_that_never_ends_takes_no_longer_than_a_request_may() -> None:
    # That of the server ends after all, so that this test does so whatever is waited for.
    with serving(lambda client, over: over.wait(20)) as url:
        tls = Settings(influxdb_url=url.replace("http", "https"))
        with closing(Connection(tls, ManualClock(), 0.05)) as connection:
            assert "timed out" in str(failure(connection))


NOT_UTF_8 = "pa\udcffss"


@pytest.mark.parametrize(
    ("ask", "changes"),
    [
        (get, {"login": ("ann", NOT_UTF_8)}),
        (get, {"influxdb_token": NOT_UTF_8}),
        (get, {"influxdb_token": "pass\n"}),
        (lambda c: HostPoints(c, "h").delete(0, 1), {"influxdb_bucket": NOT_UTF_8}),
        (lambda c: c.query("buckets()", list), {"influxdb_org": NOT_UTF_8}),
        (write, {"influxdb_token": NOT_UTF_8}),
        (write, {"influxdb_org": NOT_UTF_8}),
        (write, {"influxdb_bucket": NOT_UTF_8}),
    ],
)
@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:1"])
def test_what_cannot_be_sent_is_told_in_a_sentence_and_not_shown(
    ask: Call, changes: dict[str, Any], proxy: str
) -> None:
    changes = {**changes, "influxdb_proxy": proxy}
    with connected("http://127.0.0.1:2", **changes) as connection:
        error = failure(connection, ask)
    assert error.answer.status is None
    assert str(error) == (
        f"no answer from http://127.0.0.1:2{proxy and f' through {proxy}'}: "
        "the address, a name, the token or the login has what HTTP cannot carry"
    )


def test_a_redirect_is_an_answer_and_not_followed(recorder: Recorder) -> None:
    answer = last_response("307 Elsewhere", b"", f"Location: {recorder.url}/")
    error = failed(answer, lambda c: c.ask(lambda api: api.request("POST", "/api/v2/x", {})))
    assert error.answer.status == 307
    assert recorder.requests == []  # it would have had the token


# ---- whatever is answered ------------------------------------------------------------------------

HUGE = "9" * 400


CALLS: dict[str, Call] = {
    "health": lambda c: doctor.health(c).message,
    "doctor": lambda c: [*map(str, doctor.examine(c, ManualClock(), lambda: None, "", "b"))],
    "look": lambda c: (rule := look(c)) and describe(rule, c.settings),
    "rule": lambda c: (rule := look(c)) and rfc3339(rule.removes_ns(0) or 0),
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
    "write": write,
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
    with answering(answer) as connection:
        try:
            call(connection)
        except (InfluxError, setup_api.NotInfluxDB2Error) as error:
            told, url = str(error), connection.settings.influxdb_url
            assert told.startswith((f"{url} ", f"no answer from {url}: "))
            assert "\n" not in told
            assert "s3cret" not in told
            assert len(told) < 300


def rule_of(**ages: object) -> bytes:
    """The answer that has a bucket with such a rule; what is no JSON stands in it as it is."""
    return found({"buckets": [{"name": "b", "id": 1, "retentionRules": [ages]}]})


def table(*lines: str) -> bytes:
    return last_response("200 OK", "".join(f"{line}\r\n" for line in lines).encode())


STRANGE = {
    "page": last_response("200 OK", b"<html>\n<body>Welcome</body></html>"),
    "null": found(None),
    "list": found([]),
    "text": found("text"),
    "deep": last_response("200 OK", b"[" * 1_000_000),
    "age": rule_of(everySeconds="1h"),
    "past": rule_of(everySeconds=-1),
    "infinite": rule_of(everySeconds=float("inf")),
    "huge": rule_of(everySeconds=9, shardGroupDurationSeconds=HUGE),
    "cut-json": last_response("200 OK", b'{"buckets": [{"na'),
    "bytes": last_response("200 OK", b"\xff\xfe{}"),
    "count": table(",result,table,n", ",,0,"),
    "time": table(",result,table,_measurement,n,_time", f",,0,cpu,1,{HUGE}"),
    "measurement": table(",result,table,_measurement,n", ",,0,cpu,"),
    "nothing": last_response("204 No Content"),
    "moved": last_response("301 Moved", b"", "Location: http://127.0.0.1:1/"),
    "oops": last_response("500 Oops", b"<html>\n\nOops"),
    "busy": last_response("429 Too Many Requests"),
    "no-tls": last_response("400 Bad Request", b"an HTTP request to an HTTPS server.\n"),
    "cut-error": last_response("400 Bad Request", b'{"code": "invalid"'),
    "list-of-errors": last_response("422 Unprocessable", b'["dropped"]'),
    "error-of-bytes": last_response("500 Oops", b"\xff\xfe not text"),
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "closed": b"",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("strange", STRANGE)
def test_an_answer_of_another_shape_is_told_in_a_sentence(name: str, strange: str) -> None:
    answered(CALLS[name], STRANGE[strange])


@pytest.mark.parametrize("strange", [name for name in STRANGE if name != "nothing"])
def test_whatever_else_answers_the_readings_are_kept(strange: str) -> None:
    with answering(STRANGE[strange]) as connection:
        assert verdict(connection.write(b"")) is Verdict.KEEP


def instances() -> list[str]:
    """The types of all objects that this package's own classes have made."""
    types = (f"{type(one).__module__}.{type(one).__name__}" for one in gc.get_objects())
    return sorted(name for name in types if name.startswith("pipeline.influx."))


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [found({}), STRANGE["deep"], STRANGE["oops"], STRANGE["closed"]],
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
@given(st.sampled_from(sorted(CALLS)), JSON)
def test_any_json_is_understood_or_told_in_a_sentence(name: str, body: Any) -> None:
    answered(CALLS[name], found(body))


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
    ("answer", "told"),
    [
        (last_response("400 Oops", CODES.encode()), "400: [31m two lines xxx"),
        (
            last_response("400 No", json.dumps({"code": "invalid", "message": CODES}).encode()),
            "400: [31m two lines xxx",
        ),
        (table("error,reference", f'"{CODES}",897'), "200: [31m two lines xxx"),
        (last_response("400 Oops", b"[" * 1_000_000), "400: [[[[["),
        (last_response("400 Oops", b'{"code": {"deep": [1]}, "message": null}'), "400: None"),
        (last_response("502 No", b"<html><title>Sign in</title>"), "502: Sign in"),
    ],
    ids=["text", "json", "query", "deep", "other-json", "page"],
)
def test_a_failure_is_told_in_print_and_up_to_a_length(answer: bytes, told: str) -> None:
    error = failed(answer, CALLS["counts"])
    assert f" answered {told}" in str(error)
    assert str(error).isprintable()
    assert len(str(error)) <= 10_000 + len("http://127.0.0.1:65535 answered 400: ")
    assert isinstance(error.answer.code, str)


TOKEN = "s3cret/token=="
ECHOES = {
    "page": last_response("502 No", f"GET /\r\nAuthorization: Token {TOKEN}\r\n".encode()),
    "title": last_response("502 No", f"<html><title>{TOKEN} s3cret&#47;token&#61;=".encode()),
    "message": last_response("400 No", f'{{"code": "invalid", "message": "{TOKEN}"}}'.encode()),
    "escaped": last_response("400 No", b'{"code": "", "message": "s3cret\\/token\\u003d="}'),
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
    **{name: CALLS[name] for name in ("onboard", "delete", "stack")},
    "delete-task": lambda c: c.ask(lambda api: api.delete_task("1")),
    "task": lambda c: c.ask(lambda api: api.tasks.post_tasks({"flux": "x"})),
    "bucket": lambda c: c.ask(lambda api: api.buckets.post_buckets({"name": "b"})),
    "rule": lambda c: c.ask(lambda api: api.buckets.patch_buckets_id("1", {})),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_page_is_no_success_of_a_change(name: str) -> None:
    error = failed(last_response("201 Created", b"<html>Sign in</html>"), CHANGES[name])
    assert str(error).endswith(" did not answer as InfluxDB 2 does")
    assert error.answer.status == 201


def test_the_link_of_a_stack_leads_to_no_other_server(recorder: Recorder) -> None:
    stack: dict[str, Any] = {"createdAt": "", "id": "1", "description": Resource("s", {}).about}
    stack["resources"] = [{"links": {"self": f"@{urlsplit(recorder.url).netloc}/x"}}]
    with answering(found({"stacks": [stack]})) as connection:
        done = stacks.Stacks(connection, "1").apply_once(Resource("s", {}))
    assert not done.changed  # it was asked for, and is there
    assert recorder.requests == []  # it would have had the token


@pytest.mark.parametrize("text", ["", None, "theirs"])
def test_a_token_that_is_not_shown_is_not_used(text: str | None) -> None:
    scope = [
        {"action": action, "resource": {"type": "buckets", "id": "1"}}
        for action in ("read", "write")
    ]
    own = {"token": text, "description": "n", "status": "active", "permissions": scope}
    buckets = [{"id": "1", "name": "b", "retentionRules": []}]
    answer = {"buckets": buckets, "authorizations": [own], "token": "new"}
    with answering(found(answer)) as connection:
        named = setup_api.Tokens(connection, "1", ["b"], tasks=False).find_or_create("n")
    assert named == ((text, "n", False) if text else ("new", "n (b)", True))


def test_organisations_are_found_page_by_page(
    bucket: Bucket, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_api, "PAGE", 1)
    name = f"org of {bucket.name}"
    made = setup_api.make_organisation(connection, name)
    try:
        assert setup_api.make_organisation(connection, name) == made  # as of another setup
        assert setup_api.organisations(connection).keys() >= {bucket.server.org, name}
    finally:
        bucket.server.call("DELETE", f"/api/v2/orgs/{made}").expect(204)


@pytest.mark.parametrize("rules", [{}, {"retentionRules": None}, {"retentionRules": []}])
def test_a_bucket_without_rules_keeps_all(rules: dict[str, None]) -> None:
    with answering(found({"buckets": [{"id": "1", "name": "b", **rules}]})) as connection:
        assert look(connection) == Rule(0, 7 * 86_400)
