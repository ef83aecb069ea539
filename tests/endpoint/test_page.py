import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from pipeline.endpoint.page import page_reply
from pipeline.endpoint.page.svg import HEIGHT, above
from pipeline.endpoint.site import Reply
from pipeline.point import FieldValue, Point, encode
from pipeline.settings import Settings
from pipeline.spool import Spool
from tests.clocks import START_NS, ManualClock
from tests.histories import SECOND, fill

EVIL = '<script>alert("1")</script>&\'x'
# Elements that have no end.
VOID = {"meta", "link", "br"}


@dataclass
class Document(HTMLParser):
    """A page as a reader of HTML finds it."""

    open: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    def row(self, name: str) -> list[str]:
        (found,) = [row[1:] for row in self.rows if row[0] == name]
        return found

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


Look = Callable[..., Document]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_NS + 12 * SECOND)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", host="web-1")


@pytest.fixture
def look(settings: Settings, clock: ManualClock) -> Look:
    def look(**query: str) -> Document:
        return parsed(page_reply(settings, clock, query))

    return look


def parsed(reply: Reply) -> Document:
    assert reply.status == HTTPStatus.OK
    assert reply.content_type == "text/html; charset=utf-8"
    document = Document()
    document.feed(reply.body)
    document.close()
    assert document.open == []
    return document


def charts(document: Document) -> list[str]:
    return [
        one["aria-label"].partition(" over ")[0] for one in document.all("div") if one.get("role")
    ]


def paths(document: Document) -> list[str]:
    return [
        one["d"]
        for one in document.all("path")
        if "line" in one["class"] and "M0 5" not in one["d"]
    ]


def test_every_subject_has_its_chart_and_its_figures(settings: Settings, look: Look) -> None:
    fill(settings.data_dir)
    page = look()
    assert charts(page) == [
        *("Processor", "Memory", "Load", "Disk use"),
        *("Network, received", "Network, sent", "Temperature"),
    ]
    assert page.row("swap space") == ["2.5%"] * 4
    assert page.row("/srv") == ["21%"] * 4
    assert page.row("15 minutes") == ["0.5"] * 4
    received, sent = (row[1:] for row in page.rows if row[0] == "wg0")
    assert received == ["50B/s"] * 4
    assert sent == ["900B/s"] * 4
    assert len(paths(page)) == len([row for row in page.rows if len(row) == 5]) - len(charts(page))
    assert "Nothing was lost" in page.text
    assert "The agent is not running." in page.text
    assert "12 s ago, at 2023-11-14T22:13:20Z" in page.text


def test_only_the_processor_as_a_whole_is_drawn(settings: Settings, look: Look) -> None:
    fill(settings.data_dir)
    assert [row[0] for row in look().rows[:3]] == ["line", "active", "waiting for disks"]


@pytest.mark.parametrize(
    ("asked", "hours"), [("1", 1), ("6", 6), ("24", 24), ("7", 1), ("", 1), ("-1", 1), ("x", 1)]
)
def test_a_link_chooses_how_far_back(
    settings: Settings, look: Look, asked: str, hours: int
) -> None:
    fill(settings.data_dir, hours=30, step_s=600)
    page = look(hours=asked)
    links = [one for one in page.all("a") if one["href"].startswith("/?hours=")][:3]
    assert [one["href"] for one in links] == ["/?hours=1", "/?hours=6", "/?hours=24"]
    current = [one["href"] for one in links if one.get("aria-current") == "page"]
    assert current == [f"/?hours={hours}"]
    assert len(set(re.findall(r"[ML](\S+)", paths(page)[0]))) == hours * 6
    begins = {1: "21:13", 6: "16:13", 24: "22:13"}[hours]
    assert page.texts[page.texts.index("100%") + 3] == begins


def test_a_gap_is_not_drawn_over_and_a_lonely_reading_is_a_dot(
    settings: Settings, look: Look
) -> None:
    fill(settings.data_dir, hours=1, gap=(0.5, 0.25))
    whole = paths(look())[0]
    assert whole.count("M") == 2
    fill(settings.data_dir, hours=0, now_ns=START_NS - 5 * 3600 * SECOND)
    dot = re.match(r"M(\S+ \S+)L(\S+ \S+)M", paths(look(hours="6"))[0])
    assert dot is not None
    assert dot[1] == dot[2]


def test_a_line_stays_within_its_chart(settings: Settings, look: Look) -> None:
    fill(settings.data_dir, hours=6)
    for path in paths(look(hours="6")):
        for x, y in re.findall(r"[ML](\S+) ([\d.-]+)", path):
            assert 0 <= float(x) <= 1000
            assert 0 <= float(y) <= HEIGHT


odd = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.text(max_size=50),
    st.sampled_from([1.7e308, -1.7e308, 5e-324, -5e-324, -40.0, 0]),
)


@settings_of_hypothesis(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(odd, min_size=1, max_size=6), st.integers(-7200, 7200))
@example([1.7e308, -1.7e308], 0)
@example([5e-324], 0)
@example([-5.0, -20.0], 0)
@example([1.0, "a text"], 0)
def test_whatever_a_file_has_said_the_page_is_made_and_its_lines_stay_in_their_charts(
    tmp_path_factory: pytest.TempPathFactory, values: list[FieldValue], ahead_s: int
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    fields = {"cpu": "usage_active", "system": "load1", "net": "bytes_recv", "temp": "temp"}
    with Spool(folder, 2**24) as spool:
        for number, value in enumerate(values):
            time_ns = START_NS + number * SECOND
            points = [Point(m, {f: value}, {"cpu": "cpu-total"}) for m, f in fields.items()]
            spool.append([encode(point, time_ns) for point in points], time_ns)
    clock = ManualClock(START_NS + ahead_s * SECOND)
    page = parsed(page_reply(Settings(data_dir=folder), clock, {}))
    for path in paths(page):
        for x, y in re.findall(r"[ML](\S+) ([^\sLM]+)", path):
            assert 0 <= float(x) <= 1000
            assert 0 <= float(y) <= HEIGHT
    texts = {value for value in values if isinstance(value, str)}
    for cell in {cell for row in page.rows for cell in row[1:]} - texts:
        assert not re.match("-?(nan|inf)", cell)


def test_temperatures_below_0_are_drawn(settings: Settings, look: Look) -> None:
    settings.data_dir.mkdir()
    with Spool(settings.data_dir, 2**24) as spool:
        for number, value in enumerate((10.0, -20.0, -5.0)):
            time_ns = START_NS + number * SECOND
            spool.append([f"temp,sensor=shed temp={value} {time_ns}"], time_ns)
    page = look()
    assert page.row("shed") == ["-5°C", "-20°C", "-5°C", "10°C"]
    (path,) = paths(page)
    # From 10 at the top to -20 at the bottom.
    assert re.findall(r"L\S+ (\S+?)(?=[ML]|$)", path) == ["0.0", "200.0", "100.0"]
    first = page.texts.index("10°C")
    assert page.texts[first : first + 3] == ["10°C", "-5°C", "-20°C"]


def test_a_text_among_numbers_is_shown_and_drawn_over(settings: Settings, look: Look) -> None:
    settings.data_dir.mkdir()
    with Spool(settings.data_dir, 2**24) as spool:
        for number, value in enumerate(("1", "3", '"<off>"')):
            time_ns = START_NS + number * SECOND
            spool.append([f"temp,sensor=shed temp={value} {time_ns}"], time_ns)
    assert look().row("shed") == ["<off>", "1°C", "2°C", "3°C"]


@pytest.mark.parametrize(
    ("value", "edge"),
    [
        (0, 1),
        (-3, 1),
        (0.07, 0.08),
        (1, 1),
        (1.01, 1.5),
        (99, 100),
        (100, 100),
        (2.1e6, 3e6),
        (1.7e308, sys.float_info.max),
        (5e-324, 1e-300),
    ],
)
def test_the_upper_edge_is_a_round_number(value: float, edge: float) -> None:
    assert above(value) == pytest.approx(edge)


def test_all_that_comes_from_elsewhere_is_escaped(
    tmp_path: Path, clock: ManualClock, settings: Settings
) -> None:
    fill(settings.data_dir, names=dict.fromkeys(("path", "interface", "sensor"), EVIL))
    with Spool(settings.data_dir, 2**24) as spool:
        spool.note({"last_error": EVIL})
        spool.append([], START_NS, {EVIL: 3})
    evil = Settings(data_dir=settings.data_dir, host=EVIL, influxdb_url=f"http://{EVIL}")
    reply = page_reply(evil, clock, {"hours": EVIL})
    page = parsed(reply)
    assert page.all("script") == []
    assert EVIL not in reply.body
    assert [EVIL, "3", ""] in page.rows
    assert sum(row[0] == EVIL for row in page.rows) == 5  # disk, twice net, temp, lost
    assert page.texts.count(EVIL) >= 7  # the host, twice, and the last error


def test_the_headers_allow_nothing_but_the_style(settings: Settings, clock: ManualClock) -> None:
    reply = page_reply(settings, clock, {})
    policy = reply.headers["Content-Security-Policy"]
    (nonce,) = re.findall(r"^default-src 'none'; style-src 'nonce-([0-9a-f]{32})'; ", policy)
    assert f'<style nonce="{nonce}">' in reply.body
    assert nonce not in page_reply(settings, clock, {}).body
    assert "unsafe" not in policy
    assert "script" not in policy
    page = parsed(reply)
    assert not [tag for tag in page.tags if "style" in tag[1] or "onclick" in tag[1]]
    assert {name for name, _ in page.tags} & {"script", "iframe", "img", "form", "object"} == set()
    sources = [value for _, one in page.tags for name, value in one.items() if name == "src"]
    assert sources == []


def test_before_there_is_a_store_the_page_says_so(look: Look, settings: Settings) -> None:
    page = look()
    assert charts(page) == []
    assert "No readings of cpu usage_active in this time." in page.text
    assert "none yet" in page.text
    assert "Temperature" not in page.text  # many hosts have no sensor
    assert not settings.data_dir.exists()


def test_losses_are_told_with_their_meaning(settings: Settings, look: Look) -> None:
    settings.data_dir.mkdir()
    with Spool(settings.data_dir, 2**24) as spool:
        spool.append([], START_NS, {"expired": 7, "tick_missed": 2})
    page = look()
    assert page.row("expired") == ["7", "Points that grew too old before they could be delivered"]
    assert page.row("tick_missed")[0] == "2"


def test_of_many_series_the_greatest_are_drawn_and_the_rest_is_counted(
    settings: Settings, look: Look
) -> None:
    settings.data_dir.mkdir()
    lines = [f"disk,path=/{name} used_percent={ord(name)} {START_NS}" for name in "abcdefgh"]
    with Spool(settings.data_dir, 2**24) as spool:
        spool.append(lines, START_NS)
    page = look()
    assert [row[0] for row in page.rows if row[0].startswith("/")] == [f"/{n}" for n in "cdefgh"]
    assert "2 more: \nmetrics-pipeline show disk used_percent" in page.text


@pytest.mark.slow
def test_the_work_of_a_request_is_bounded(settings: Settings, look: Look) -> None:
    fill(settings.data_dir, hours=1, step_s=2)
    page = look()
    assert "One of 2 readings is drawn." in page.text
    assert all(len(re.findall("[ML]", path)) <= 2 * 200 + 1 for path in paths(page))
