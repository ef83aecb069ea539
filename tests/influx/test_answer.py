import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.influx.answer import (
    LONGEST_RETRY_AFTER_S,
    Answer,
    Verdict,
    date_s,
    in_words,
    is_expired,
    one_line,
    readable,
    retry_after_s,
    verdict,
)

EXPIRED = (
    # 2.7.12, and 2.0 to 2.7.11
    "failure writing points to database: partial write: dropped 1 points outside retention "
    "policy of duration 48h0m0s - oldest point m at 2026-11-21T10:02:49Z dropped",
    "failure writing points to database: partial write: points beyond retention policy dropped=1",
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(204), Verdict.DELIVERED),
        (Answer(200), Verdict.KEEP),  # a proxy's page
        (Answer(400, "invalid"), Verdict.HALVE),
        (Answer(400), Verdict.KEEP),  # a TLS port that was asked in plain HTTP
        (Answer(401, "unauthorized"), Verdict.UNAUTHORIZED),
        (Answer(403, "forbidden"), Verdict.UNAUTHORIZED),
        (Answer(404, "not found"), Verdict.NO_BUCKET),
        (Answer(413), Verdict.HALVE),
        (Answer(422, "unprocessable entity"), Verdict.HALVE),
        (Answer(422), Verdict.KEEP),
        (Answer(429), Verdict.KEEP),
        (Answer(500, "internal error"), Verdict.KEEP),
        *((Answer(500, "internal error", words), Verdict.HALVE) for words in EXPIRED),
        *((Answer(500, "", words), Verdict.KEEP) for words in EXPIRED),  # a proxy's page
        (Answer(503), Verdict.KEEP),
        (Answer(None), Verdict.KEEP),
    ],
)
def test_each_answer_has_its_verdict(answer: Answer, expected: Verdict) -> None:
    assert verdict(answer) is expected


def test_points_beyond_the_buckets_age_are_told_from_refused_ones() -> None:
    for message in EXPIRED:
        assert is_expired(Answer(422, "unprocessable entity", message))
        assert is_expired(Answer(500, "internal error", message))
        assert not is_expired(Answer(400, "invalid", message))
    assert not is_expired(Answer(422, "unprocessable entity", "field type conflict"))
    assert not is_expired(
        Answer(400, "invalid", "unable to parse 'points outside retention policy of'")
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, 0),
        ("", 0),
        ("120", 120),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60),
        ("Tue, 14 Nov 2023 22:12:20 GMT", 0),  # in the past
        ("soon", 0),
        ("-5", 0),
        ("1.5", 0),
        ("²", 0),
        ("999999999999", 3_600),  # for ever is not to be asked for
        ("9" * 10_000, 3_600),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600),
        ("Tue, 99 Nov 99999 22:14:20 GMT", 0),
    ],
)
def test_both_forms_of_retry_after_are_read(header: str | None, expected: float) -> None:
    assert retry_after_s(header, now_s=1_700_000_000) == expected


NGINX = """<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n
<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.24.0</center></body></html>"""


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (NGINX, "502 Bad Gateway"),
        ("<!DOCTYPE html><TITLE lang=en>\n Sign in &amp; go </TITLE>", "Sign in & go"),
        ("<html><style>b{}</style><script>x<y</script><h1>Not <b>here</b></h1>", "Not here"),
        ("<html><title></title><!-- a > b --><p>No such page</p><p", "No such page"),
        ("expected <int> & no more", "expected <int> & no more"),
        (f"{' ' * 3990}<body>a", "a"),  # of a page, 4000 characters are looked at
        (f"{' ' * 4000}<body>a", "<body>a"),
        ("\x1b[31m two\r\n\u202elines\x07 ", "[31m two lines"),
    ],
)
def test_what_a_person_reads_of_an_answer(page: str, told: str) -> None:
    assert one_line(readable(page), 5000) == told


def test_of_a_long_answer_the_start_is_read() -> None:
    assert one_line("a b\nc", 4) == "a b"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (OSError("Of no number"), "Of no number"),
        (ValueError("Of another kind"), "Of another kind"),
    ],
)
def test_an_error_is_told_in_words(error: Exception, told: str) -> None:
    assert in_words(error) == told


@given(st.text(max_size=60))
def test_whatever_retry_after_says_the_wait_is_bounded(header: str) -> None:
    assert 0 <= retry_after_s(header, now_s=1_700_000_000) <= LONGEST_RETRY_AFTER_S


def test_the_servers_clock_is_read_from_its_date() -> None:
    assert date_s("Tue, 14 Nov 2023 22:13:20 GMT") == 1_700_000_000
    assert [date_s(header) for header in (None, "", "soon", "Tue, 99 Nov 2023")] == [None] * 4
