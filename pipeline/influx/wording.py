"""What a server said, or why it said nothing, as one line that any terminal may show."""

import json

LONGEST_MESSAGE = 10_000
"""How much is kept of InfluxDB's own words, in characters."""
LONGEST_PAGE = 200
"""The same of whatever answered in its place."""

_UNSENDABLE = "the address, a name, the token or the login has what HTTP cannot carry"


def one_line(text: str, longest: int) -> str:
    """Return the start of a text without line breaks, escape codes and what else is not seen."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:longest]).split())


def reason(error: BaseException) -> str:
    """Return why no answer came, without urllib3's objects in the text and without secrets."""
    from http.client import HTTPException, IncompleteRead  # noqa: PLC0415  # large; HTTP loads it

    while inner := _wrapped(error):
        error = inner
    text = one_line(str(error), LONGEST_PAGE)
    if isinstance(error, OSError):
        return text or type(error).__name__
    if isinstance(error, IncompleteRead):
        return "the answer is cut off or broken"
    if isinstance(error, HTTPException):
        return f"no proper HTTP: {text}" if text else "no proper HTTP"
    if isinstance(error, ValueError):
        return _UNSENDABLE  # its text may hold a secret
    return text or type(error).__name__


def _wrapped(error: BaseException) -> Exception | None:
    """Return what an error comes from: urllib3 wraps one in another, and may name it last."""
    inner = (error.__cause__, *error.args[-1:])
    return next((one for one in inner if isinstance(one, Exception)), None)


def code_and_message(data: bytes) -> tuple[str, str]:
    """Return InfluxDB's code and message, or no code and the start of what came instead."""
    text = data.decode(errors="replace")
    try:
        body = json.loads(text)
        return str(body["code"]), one_line(str(body["message"]), LONGEST_MESSAGE)
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", one_line(text, LONGEST_PAGE)
