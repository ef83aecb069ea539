import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli import logs
from tests.clocks import zone

pytestmark = pytest.mark.usefixtures("_log_restored")
log = logging.getLogger("pipeline.some.module")
TEXT_RE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (\w+) +(.*)")


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.mark.parametrize(
    ("log_format", "line"),
    [
        ("text", '2023-11-14T22:13:20.007Z ERROR   a "b" ü'),
        (
            "json",
            '{"time": "2023-11-14T22:13:20.007Z", "level": "error",'
            ' "logger": "pipeline.some.module", "message": "a \\"b\\" ü"}',
        ),
    ],
)
def test_an_event_has_its_time_in_utc(stream: io.StringIO, log_format: str, line: str) -> None:
    logs.configure("info", log_format, stream, {})
    record = log.makeRecord(log.name, logging.ERROR, "", 0, 'a "b" ü', (), None)
    record.created, record.msecs = 1_700_000_000.0079, 7.9
    with zone("XXX+11"):
        log.handle(record)
    assert stream.getvalue() == f"{line}\n"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_a_terminal_would_obey_is_written_so_that_it_is_seen_and_an_event_is_one_line(
    stream: io.StringIO, log_format: str
) -> None:
    logs.configure("info", log_format, stream, {})
    log.info("%s", "\x1b]0;pwn\x07 \x9b2J \u202e \u2028 \r \x00 ü")
    try:
        raise ValueError("first line\nsecond line")
    except ValueError:
        log.exception("It failed:\n%s", "because")
    lines = stream.getvalue().removesuffix("\n").split("\n")
    odd, failure = (json.loads(one)["message"] if log_format == "json" else one for one in lines)
    assert odd.endswith(r"\x1b]0;pwn\x07 \x9b2J \u202e \u2028 \r \x00 ü")
    assert "It failed: | because | Traceback (most recent call last): | " in failure
    assert failure.endswith("ValueError: first line | second line")


@pytest.mark.parametrize(("level", "told"), [("debug", "diwe"), ("warning", "we")])
def test_what_is_less_severe_than_the_level_is_not_logged(
    stream: io.StringIO, level: str, told: str
) -> None:
    logs.configure(level, "json", stream, {})
    for one in ("debug", "info", "warning", "error"):
        getattr(log, one)("")
    assert "".join(json.loads(line)["level"][0] for line in stream.getvalue().splitlines()) == told


def test_other_libraries_are_not_logged_but_their_warnings_are(stream: io.StringIO) -> None:
    for _ in range(2):  # configured twice, an event is still logged once
        logs.configure("debug", "text", stream, {})
    logging.getLogger("urllib3").warning("retrying")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("no certificate", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (line,) = stream.getvalue().splitlines()
    assert "no certificate" in line


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[tuple[io.TextIOWrapper, dict[str, str]]]:
    """A stream that systemd says it connected to the journal."""
    with (tmp_path / "journal").open("w+") as stream:
        status = (tmp_path / "journal").stat()
        yield stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


def test_the_journal_reads_the_priority_and_adds_the_time_itself(
    journal: tuple[io.TextIOWrapper, dict[str, str]],
) -> None:
    stream, environ = journal
    logs.configure("debug", "text", stream, environ)
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d\ne")
    log.critical("f")
    logs.configure("info", "json", stream, environ)
    log.info("g")
    stream.seek(0)
    *lines, last = stream.read().splitlines()
    assert lines == ["<7>a", "<6>b", "<4>c", "<3>d | e", "<2>f"]
    assert json.loads(last)["message"] == "g"


@pytest.mark.parametrize("environ", [{}, {"JOURNAL_STREAM": "1:2"}, {"JOURNAL_STREAM": ""}])
def test_a_stream_that_is_not_the_journals_gets_no_priority(
    journal: tuple[io.TextIOWrapper, dict[str, str]], environ: dict[str, str]
) -> None:
    stream, _ = journal  # an inherited JOURNAL_STREAM says nothing of a redirected stream
    logs.configure("info", "text", stream, environ)
    log.info("a")
    stream.seek(0)
    assert TEXT_RE.fullmatch(stream.read().rstrip())
