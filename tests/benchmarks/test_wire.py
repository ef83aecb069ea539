import gzip

import pytest

from benchmarks.wire import Request, forwarding, requests
from tests.influxd.http import call
from tests.servers import last_response, scripted

LINES = b"cpu usage=1 1\nmem used=2i 1\n"


def request(head: bytes, body: bytes) -> bytes:
    return b"POST /api/v2/write?bucket=b HTTP/1.1\r\n" + head + b"\r\n\r\n" + body


def test_the_requests_of_a_connection_are_told_apart_and_their_lines_counted() -> None:
    packed = gzip.compress(LINES)
    chunks = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (5, packed[:5], len(packed) - 5, packed[5:])
    sent = [
        b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n",
        request(b"Content-Length: %d" % len(LINES), LINES),
        request(b"Content-Encoding: gzip\r\nContent-Length: %d" % len(packed), packed),
        request(b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked", chunks),
    ]
    found = list(requests(b"".join(sent) + sent[1][:-1]))  # the last one is cut off
    assert [each.size for each in found] == [len(each) for each in sent]
    assert [each.points for each in found] == [0, 2, 2, 2]
    assert [each.is_write for each in found] == [False, True, True, True]


def test_a_chunked_request_that_is_cut_off_is_none() -> None:
    whole = request(b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n")
    assert [each.body for each in requests(whole)] == [b"abc"]
    assert [list(requests(whole[:end])) for end in range(len(whole))] == [[]] * len(whole)


def test_a_forwarder_refuses_until_it_is_opened_and_counts_what_passes() -> None:
    answer = last_response("204 No Content")
    with scripted(answer) as url, forwarding(url, is_open=False) as forwarder:
        for _ in range(2):
            with pytest.raises(OSError, match="refused"):
                call("GET", f"{forwarder.url}/health")
            forwarder.open()
            assert call("GET", f"{forwarder.url}/health").status == 204
            (found,) = forwarder.traffic.requests()
            assert isinstance(found, Request)
            assert found.line == "GET /health HTTP/1.1"
            assert 0 < forwarder.traffic.first <= forwarder.traffic.last
            forwarder.shut()
