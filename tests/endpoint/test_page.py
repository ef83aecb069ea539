import dataclasses
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from pipeline.clock import SystemClock
from pipeline.endpoint.page import page_reply
from pipeline.endpoint.page.svg import HEIGHT, above
from pipeline.endpoint.page.window import window
from pipeline.endpoint.site import Reply
from pipeline.point import FieldValue, Point, encode
from pipeline.settings import Mirror, Settings
from pipeline.spool import DirectoryLock, Refusal, Spool
from tests.clocks import START_NS, ManualClock
from tests.histories import ODD_VALUES, SECOND, fill
from tests.spool.stores import peak_of

EVIL = '<script>alert("1")</script>&\'x'
# Elements that have no end.
VOID = {"meta", "link"}


@dataclass
class Document(HTMLParser):
    """A page as a reader of HTML finds it."""

    open: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)

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
        if tag == "li":
            self.items.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.texts.append(data)
        if "text" in self.open:
            self.labels.append(data)
        if "li" in self.open:
            self.items[-1] += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    def row(self, name: str) -> list[str]:
        (found,) = [row[1:] for row in self.rows if row[0] == name]
        return found

    def tile(self, title: str) -> str:
        (found,) = [item for item in self.items if item.startswith(title)]
        return found.removeprefix(title)

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
    def look(of: Settings = settings, **query: str) -> Document:
        return parsed(page_reply(of, clock, query))

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


def paths(document: Document, kind: str = "line") -> list[str]:
    """The lines, or the dots, of the charts, without those of the legends and the tiles."""
    found: list[str] = []
    small = False
    for tag, one in document.tags:
        if tag == "svg":
            small = one.get("class") in ("key", "small")
        elif tag == "path" and kind in one["class"] and not small:
            found.append(one["d"])
    return found


def axis(document: Document) -> list[str]:
    """The times below the first chart."""
    labels = document.labels[: len(document.labels) // len(charts(document))]
    return [label for label in labels if label != "no readings"]


def store(settings: Settings, *readings: tuple[float, list[str]]) -> None:
    """Fill a store with lines, each reading so many seconds after the start."""
    settings.data_dir.mkdir(exist_ok=True)
    with Spool(settings.data_dir, 2**24) as spool:
        for second, lines in readings:
            time_ns = START_NS + round(second * SECOND)
            spool.append([f"{line} {time_ns}" for line in lines], time_ns)


def test_every_subject_has_its_chart_and_its_figures(settings: Settings, look: Look) -> None:
    fill(settings.data_dir)
    page = look()
    assert charts(page) == [
        *("Processor", "Memory", "Load", "Pressure"),
        *("File systems", "Disk reads", "Disk writes"),
        *("Network, received", "Network, sent", "Temperature", "Processes"),
    ]
    assert page.row("swap space") == ["2.5 %"] * 4
    assert page.row("/srv") == ["21 %"] * 4
    assert page.row("15 minutes") == ["0.5"] * 4
    assert page.row("zombies") == ["0"] * 4
    assert page.row("all") == ["212"] * 4
    reads, writes = (row[1:] for row in page.rows if row[0] == "sda")
    assert reads == ["100 B/s"] * 4
    assert all(re.fullmatch(r"\d+ kB/s", cell) for cell in writes)
    received, sent = (row[1:] for row in page.rows if row[0] == "wg0")
    assert received == ["50 B/s"] * 4
    assert sent == ["900 B/s"] * 4
    assert len(paths(page)) == len([row for row in page.rows if len(row) == 5]) - len(charts(page))
    assert "Nothing lost." in page.text
    assert "The history begins" not in page.text
    assert "The agent is not running." in page.text
    assert "12 s ago, at 2023-11-14T22:13:20Z" in page.text
    assert [row[0] for row in page.rows[:8]] == [
        *("line", "active", "programs", "kernel", "waiting for disks", "interrupts"),
        *("steal (hypervisor)", "line"),
    ]
    # The tiles have the newest values.
    assert page.tile("Processor") == f"{page.row('active')[0]}waiting for disks 0.1 %"
    assert page.tile("Memory") == f"{page.row('memory')[0]}swap space 2.5 %"
    assert page.tile("Fullest file system") == "63 %/"
    assert page.tile("Load") == f"{page.row('1 minute')[0]}on 4 cores"
    eth0 = [row[1] for row in page.rows if row[0] == "eth0"]
    assert page.tile("Network") == f"{eth0[0]}received on eth0, sent {eth0[1]}"
    assert [one["class"] for one in page.all("svg") if one.get("class") == "small"] == ["small"] * 5


def test_with_mirrors_each_server_is_shown(settings: Settings, look: Look) -> None:
    store(settings, (0, ["mem used_percent=50"]), (1, ["mem used_percent=50"]))
    mirrors = {"b": Mirror("http://b:8086", "o", "b", "t")}
    both = dataclasses.replace(settings, influxdb_url="http://a:8086", mirrors=mirrors)
    with Spool(settings.data_dir, 2**24) as spool:
        for _ in spool.serve(["b"]):
            pass
        spool.append(["a f=1"], START_NS, {"left_out": 3})
        batch = spool.queue("b").lease(10_000)
        assert batch is not None
        spool.queue("b").settle(batch, START_NS, [Refusal("a f=1", "no")])
    page = look(both)
    shown = page.texts[page.texts.index("last reading") :]
    main, b = (shown[shown.index(url) :][:5] for url in ("http://a:8086", "http://b:8086"))
    assert main[1::2] == ["waiting", "lost"]
    assert main[4] == "3 points: left_out 3"
    assert (b[2], b[4]) == ("0 points, 0 B", "1 point: rejected 1")
    assert page.row("main: left_out")[0] == "3"
    assert page.row("b: rejected") == ["1", "Points that InfluxDB refused"]


@pytest.mark.parametrize(
    ("load", "cores", "level"),
    [
        *((5, 0, ""), (0.99, 1, ""), (1, 1, "high")),
        *((3.9, 4, ""), (4, 4, "high"), (8, 4, "very high")),
    ],
)
def test_a_high_value_is_marked_and_named(
    settings: Settings, look: Look, load: float, cores: int, level: str
) -> None:
    store(settings, *((second, [f"system load1={load},n_cpus={cores}i"]) for second in (0, 1)))
    page = look()
    name = f" {level}" if level else ""
    on = f"on {cores} core{'s' * (cores > 1)}" if cores else ""
    assert page.tile("Load") == f"{load:g}{name}{on}"
    marked = [one["class"] for one in page.all("p") if one.get("class", "").endswith("high")]
    assert marked == ([level.replace(" ", "-")] if level else [])


def test_what_cannot_be_written_to_or_has_gone_is_not_the_fullest(
    settings: Settings, look: Look
) -> None:
    disks = [f"disk,path=/{name},mode={mode} used_percent={used}" for name, mode, used in (
        ("snap", "ro", 100), ("home", "rw", 40), ("stick", "rw", 99))]  # fmt: skip
    store(settings, (-400, disks), *((second, disks[:2]) for second in range(-395, 1, 5)))
    page = look()
    assert page.tile("Fullest file system") == "40 %/home"
    assert page.row("/stick") == ["gone", "99 %", "99 %", "99 %"]
    assert page.row("/home") == ["40 %"] * 4


def test_a_first_reading_shows_values_and_says_when_charts_begin(
    settings: Settings, look: Look
) -> None:
    lines = ["mem used_percent=50", "net,interface=eth0 bytes_recv=7i,bytes_sent=8i"]
    store(settings, (0, lines))
    page = look()
    assert page.tile("Memory") == "50 %"
    assert page.tile("Network") == "Begins with the second reading"
    note = "The first reading was taken 12 s ago. Charts begin with the second"
    assert f"{note}." in page.text  # which an agent that does not run takes nobody knows when
    lock = DirectoryLock(settings.data_dir, SystemClock())
    assert f"{note}, within 1 min." in look().text
    lock.release()
    assert charts(page) == []
    assert "No reading" not in page.tile("Network")
    store(settings, (10, lines))
    page = look()
    assert page.tile("Network") == "0 B/sreceived on eth0, sent 0 B/s"
    assert charts(page) == ["Memory", "Network, received", "Network, sent"]


def test_a_younger_history_begins_at_the_left_edge(settings: Settings, look: Look) -> None:
    fill(settings.data_dir, hours=0.01, step_s=6, now_ns=START_NS + 12 * SECOND)
    page = look(hours="168")
    xs = [float(x) for x in re.findall(r"[ML](\S+) ", paths(page)[0])]
    assert (xs[0], xs[-1]) == (0, 1000)
    assert axis(page) == ["22:13:00", "22:13:10", "22:13:20", "22:13:30"]
    assert page.all("rect") == []
    assert "The history begins with the first reading, 14 Nov 22:12:56." in page.texts


def test_when_the_newest_reading_is_older_than_the_window_the_page_says_so(
    settings: Settings, look: Look, clock: ManualClock
) -> None:
    fill(settings.data_dir)
    clock.advance(2 * 3600)
    page = look(hours="0.25")
    assert charts(page) == []
    assert "No readings in the last 15 min; the newest is 2 h old." in page.text
    assert page.tile("Memory") == "No reading in the last hour"
    page = look(hours="6")
    assert len(charts(page)) == page.labels.count("no readings") == 11


BY_HOUR = ["21:15", "21:30", "21:45", "22:00"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "readings", "times"),
    [
        ("0.25", 2, ["22:00", "22:05", "22:10"]),
        ("1", 6, BY_HOUR),
        ("6", 36, ["18:00", "20:00", "22:00"]),
        ("24", 144, ["00:00", "06:00", "12:00", "18:00"]),
        ("168", 181, ["Tue 00:00", "Tue 12:00"]),
        *((unknown, 6, BY_HOUR) for unknown in ("7", "", "-1", "x")),
    ],
)
def test_a_link_chooses_how_far_back_and_the_axis_has_round_times(
    settings: Settings, look: Look, asked: str, readings: int, times: list[str]
) -> None:
    fill(settings.data_dir, hours=30, step_s=600)
    page = look(hours=asked)
    spans = ["0.25", "1", "6", "24", "168"]
    links = [one for one in page.all("a") if one["href"].startswith("/?hours=")][:5]
    assert [one["href"] for one in links] == [f"/?hours={span}" for span in spans]
    current = [one["href"] for one in links if one.get("aria-current") == "page"]
    assert current == [f"/?hours={asked if asked in spans else 1}"]
    drawn = (paths(page, "line") or paths(page, "dot"))[0]
    assert len(set(re.findall(r"[ML](\S+)", drawn))) == readings
    assert axis(page) == times


def test_the_page_renews_itself_at_the_interval_until_it_is_paused(
    settings: Settings, look: Look
) -> None:
    def renewal(page: Document) -> list[str]:
        return [one["content"] for one in page.all("meta") if "http-equiv" in one]

    page = look(hours="6")
    assert renewal(page) == ["60"]
    assert "/?hours=6&renew=no" in [one["href"] for one in page.all("a")]
    assert "renewed every 1 min" in page.text
    assert {"Pause", "Reload"} <= set(page.texts)
    assert renewal(look(dataclasses.replace(settings, collection_interval_ms=1000))) == ["5"]
    page = look(hours="6", renew="no")
    assert renewal(page) == []
    # Whoever has paused it looks at other times without being disturbed.
    assert {"/?hours=24&renew=no", "/?hours=6"} <= {one["href"] for one in page.all("a")}
    assert {"Resume", "Reload"} <= set(page.texts)


def test_a_gap_is_not_drawn_over_but_shaded_and_named(settings: Settings, look: Look) -> None:
    fill(settings.data_dir, hours=1, gap=(0.5, 0.25))
    page = look()
    assert [path.count("M") for path in paths(page)] == [2] * len(paths(page))
    shades = page.all("rect")
    assert len(shades) == page.labels.count("no readings") == len(charts(page))
    # Of 3612 s up to now: from 1812 to 912 s ago, to the readings beside it.
    assert shades[0]["x"] == f"{100 * (1 - 1812 / 3600):.2f}%"
    assert shades[0]["width"] == f"{100 * 900 / 3600:.2f}%"
    name = "No readings for 15 min, from 14 Nov 21:43:20 to 21:58:20"
    assert name in page.items
    assert page.texts.count(name) == 1 + len(shades)
    (label,) = {
        one["aria-label"] for one in page.all("div") if "Memory" in one.get("aria-label", "")
    }
    assert label == "Memory over 1 h, with 1 gap: a line for each row of the table below"


def test_silence_up_to_now_is_a_gap_and_another_interval_before_is_none(
    settings: Settings, look: Look, clock: ManualClock
) -> None:
    fill(settings.data_dir, hours=0.3)
    for interval_ms in (5000, 60_000, 600_000):
        of_host = dataclasses.replace(settings, collection_interval_ms=interval_ms)
        assert look(of_host).all("rect") == []
    clock.advance(600)
    assert "No readings for 10 min 12 s, since 14 Nov 22:13:20" in look().items


def test_a_lonely_reading_is_a_dot(settings: Settings, look: Look) -> None:
    fill(settings.data_dir, hours=0, now_ns=START_NS - 5 * 3600 * SECOND)
    fill(settings.data_dir, hours=1)
    page = look(hours="6")
    dots = paths(page, "dot")
    assert len(dots) == len(paths(page)) - 6  # a rate needs two readings
    assert all(re.fullmatch(r"M(\S+ \S+)L\1", dot) for dot in dots)


def test_a_gap_is_found_where_not_every_reading_is_read() -> None:
    minutes = [minute for minute in range(24 * 60) if not 1000 < minute < 1030]
    read = [minute * 60 * SECOND for minute in minutes[::3]]
    found = window(24 * 3600 * SECOND, 24 * 3600 * SECOND, 0, read, 3, 60 * SECOND)
    (gap,) = found.gaps
    # Its edges are readings that were read.
    assert (gap.since_ns, gap.until_ns) == (999 * 60 * SECOND, 1031 * 60 * SECOND)


@given(
    st.lists(st.integers(-(10**13), 10**13), max_size=30, unique=True).map(sorted),
    st.integers(1, 10**14),
    st.integers(1, 20),
    st.integers(10**6, 10**12),
)
def test_gaps_lie_in_the_window_one_after_the_other(
    times: list[int], span_ns: int, part: int, interval_ns: int
) -> None:
    now_ns = 10**13
    read = [time_ns for time_ns in times if time_ns >= now_ns - span_ns]
    found = window(span_ns, now_ns, times[0] if times else 0, read, part, interval_ns)
    assert found.since_ns < found.until_ns == now_ns
    edges = [edge for gap in found.gaps for edge in (gap.since_ns, gap.until_ns)]
    assert edges == sorted(edges)
    assert all(found.since_ns <= edge <= now_ns for edge in edges)
    assert not any(gap.since_ns < time_ns < gap.until_ns for gap in found.gaps for time_ns in read)
    assert len(list(found.ticks())) <= 5


@pytest.mark.slow
@settings_of_hypothesis(max_examples=20)
@given(st.lists(ODD_VALUES, min_size=1, max_size=6), st.integers(-7200, 7200))
@example([1.7e308, -1.7e308], 0)
@example([5e-324], 0)
@example([-5.0, -20.0], 0)
@example([1.0, "a text"], 0)
def test_whatever_a_file_has_said_the_page_is_made_and_its_lines_stay_in_their_charts(
    tmp_path_factory: pytest.TempPathFactory, values: list[FieldValue], ahead_s: int
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    fields = [("cpu", "usage_active"), ("system", "load1"), ("system", "n_cpus")]
    fields += [("net", "bytes_recv"), ("temp", "temp")]
    with Spool(folder, 2**24) as spool:
        for number, value in enumerate(values):
            time_ns = START_NS + number * SECOND
            points = [Point(m, {f: value}, {"cpu": "cpu-total"}) for m, f in fields]
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


def shed(*values: str) -> list[tuple[float, list[str]]]:
    return [(second, [f"temp,sensor=shed temp={one}"]) for second, one in enumerate(values)]


def test_temperatures_below_0_are_drawn(settings: Settings, look: Look) -> None:
    store(settings, *shed("10.0", "-20.0", "-5.0"))
    page = look()
    assert page.row("shed") == ["-5 °C", "-20 °C", "-5 °C", "10 °C"]
    (path,) = paths(page)
    assert path.startswith("M0.0 0.0L")
    # From 10 at the top to -20 at the bottom.
    assert re.findall(r"L\S+ (\S+?)(?=[ML]|$)", path) == ["200.0", "100.0"]
    first = page.texts.index("10 °C")
    assert page.texts[first : first + 3] == ["10 °C", "-5 °C", "-20 °C"]


def test_a_text_among_numbers_is_shown_and_drawn_over(settings: Settings, look: Look) -> None:
    store(settings, *shed("1", "3", '"<off>"'))
    assert look().row("shed") == ["<off>", "1 °C", "2 °C", "3 °C"]


def test_the_upper_edge_is_a_round_number() -> None:
    values = (0, -3, 0.07, 1, 1.01, 99, 100, 2.1e6, 1.7e308, 5e-324)
    edges = (1, 1, 0.08, 1, 1.5, 100, 100, 3e6, sys.float_info.max, 1e-300)
    assert list(map(above, values)) == [pytest.approx(edge) for edge in edges]


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


def test_before_there_is_a_store_the_page_says_so(look: Look, settings: Settings) -> None:
    page = look()
    assert charts(page) == []
    assert "There is no reading yet." in page.text
    assert "none yet" in page.text
    assert not {"Temperature", "Pressure"} & {*charts(page)}  # many hosts have neither
    assert not settings.data_dir.exists()
    settings.data_dir.mkdir()
    with Spool(settings.data_dir, 2**24) as spool:
        spool.append([], START_NS, {"expired": 7})
    page = look()
    assert "There is no reading yet." in page.text
    assert page.row("expired") == ["7", "Points that grew too old before they could be delivered"]


def test_of_many_series_the_greatest_are_drawn_and_the_rest_is_counted(
    settings: Settings, look: Look
) -> None:
    lines = [f"disk,path=/{name} used_percent={ord(name)}" for name in "abcdefgh"]
    store(settings, (0, lines), (1, lines))
    page = look()
    assert [row[0] for row in page.rows if row[0].startswith("/")] == [f"/{n}" for n in "cdefgh"]
    assert "2 more: \nmetrics-pipeline show disk used_percent" in page.text


@pytest.mark.slow
def test_the_work_of_a_request_is_bounded(settings: Settings, look: Look) -> None:
    fill(settings.data_dir, hours=1, step_s=2)
    page = look()
    assert "One of 3 readings is drawn." in page.text
    assert peak_of(look) < 4_000_000  # unbounded it would be 11 MB
    assert all(len(re.findall("[ML]", path)) <= 2 * 200 + 1 for path in paths(page))
