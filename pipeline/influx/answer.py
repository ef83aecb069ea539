"""What an answer means for the readings that were sent: the one table from answer to verdict."""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

LONGEST_RETRY_AFTER_S = 3_600.0
_DIGITS = 20
_HEAD = 4_000
_PAGE_RE = re.compile(r"<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_TITLE_RE = re.compile(r"<title[^>]*>([^<]*[^<\s][^<]*)<", re.IGNORECASE)
_MARKUP_RE = re.compile(
    r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*(?:>|$)", re.IGNORECASE | re.DOTALL
)


class Verdict(Enum):
    """What becomes of a batch."""

    DELIVERED = auto()
    """InfluxDB has it."""
    HALVE = auto()
    """Send it again in halves, until the refused lines stand alone."""
    UNAUTHORIZED = auto()
    """Keep it; the token is wrong or may not write."""
    NO_BUCKET = auto()
    """Keep it; the bucket or the organisation is not there."""
    KEEP = auto()
    """Keep it and try again later."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said to one request.

    Attributes:
        status: The HTTP status, or None when no whole answer came.
        code: InfluxDB's own word for the error, such as "invalid"; "" when the answer is not
            InfluxDB's, such as a proxy's page.
        message: The reason, in one line, without secrets.
        retry_after_s: How long the server asks to wait, in seconds.
        date_s: The server's own clock, in seconds since 1970-01-01 UTC; None when it did not say.
        version: The version of InfluxDB that it says it is; "" when it did not say.
    """

    status: int | None
    code: str = ""
    message: str = ""
    retry_after_s: float = 0.0
    date_s: float | None = None
    version: str = ""

    @property
    def claims_success(self) -> bool:
        """Whether the server says that nothing is wrong; then what failed is to understand it."""
        return self.status is not None and 200 <= self.status < 400


class InfluxError(Exception):
    """InfluxDB did not do what it was asked; `answer` has what it said."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.message)
        self.answer = answer


_VERDICTS: Mapping[int, Verdict] = {
    # Nothing else is a delivery: a proxy's 200 with a page in it is none.
    204: Verdict.DELIVERED,
    401: Verdict.UNAUTHORIZED,
    403: Verdict.UNAUTHORIZED,
    404: Verdict.NO_BUCKET,
    413: Verdict.HALVE,
}
# A refusal of lines must be InfluxDB's own word: something else that answers 400 (a TLS port asked
# in plain HTTP does) would send every line to the rejected ones.
_REFUSED_LINES = {400: "invalid", 422: "unprocessable entity"}
# The words of 2.7.12, and of 2.0 to 2.7.11; 2.0 says them with a 500. All other lines are stored.
_EXPIRED_STATUSES = (422, 500)
_EXPIRED_WORDS = ("points outside retention policy of", "points beyond retention policy dropped=")


def verdict(answer: Answer) -> Verdict:
    """Return what becomes of a batch that got this answer."""
    if answer.status is None:
        return Verdict.KEEP
    if answer.status in _REFUSED_LINES and answer.code == _REFUSED_LINES[answer.status]:
        return Verdict.HALVE
    if is_expired(answer):
        return Verdict.HALVE
    return _VERDICTS.get(answer.status, Verdict.KEEP)


def is_expired(answer: Answer) -> bool:
    """Return whether lines were refused as older than the bucket's age."""
    by_influxdb = answer.status in _EXPIRED_STATUSES and answer.code != ""
    return by_influxdb and any(words in answer.message for words in _EXPIRED_WORDS)


def retry_after_s(header: str | None, now_s: float) -> float:
    """Read a Retry-After header, in either of its forms (RFC 9110, section 10.2.3).

    Args:
        header: Seconds, or a date; None or anything else asks for no wait.
        now_s: Now, in seconds since 1970-01-01 UTC.

    Returns:
        The wait in seconds, an hour at most: a server that asks for more, or one whose clock
        differs, must not end delivery for good.
    """
    if not header:
        return 0.0
    text = header.strip()
    if text.isascii() and text.isdecimal():
        # Python converts no number of thousands of digits.
        return min(float(text[:_DIGITS]), LONGEST_RETRY_AFTER_S)
    date = date_s(text)
    return 0.0 if date is None else min(max(0.0, date - now_s), LONGEST_RETRY_AFTER_S)


def readable(text: str) -> str:
    """Return what a person reads of an answer: of a page in HTML its title, or else its text."""
    if not _PAGE_RE.search(text[:_HEAD]):
        return text
    title = _TITLE_RE.search(text[:_HEAD])
    said = title[1] if title else _MARKUP_RE.sub(" ", text[:_HEAD])
    return html.unescape(said)


def one_line(text: str, longest: int) -> str:
    """Return the start of a text without line breaks, escape codes and what else is not seen."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:longest]).split())


def in_words(error: BaseException) -> str:
    """Return what an error says, without the number that the system gives it."""
    if isinstance(error, OSError) and (words := error.strerror):
        return words[0].lower() + words[1:]
    return str(error)


def date_s(header: str | None) -> float | None:
    """Read a date of HTTP, as seconds since 1970-01-01 UTC; None when it is none."""
    if not header:
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # large; HTTP loads it

    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None
