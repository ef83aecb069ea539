import contextlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from unittest.mock import patch

import pytest

from pipeline.cli import _print
from pipeline.collectors import catalogue
from pipeline.health import Summary, summarize
from pipeline.point import FieldValue
from pipeline.settings import SettingRow
from pipeline.spool import FieldSummary, Series, SeriesBuilder
from tests.clocks import CENTRAL_EUROPE, START_NS, ManualClock, zone
from tests.configured import status_of

SECOND = 10**9
WEEK_S = 7 * 86_400
GREATEST = ["1.7e+308", "8.5e+307", "0", "-8.5e+307", "-1.7e+308"]
START = "2023-11-14 23:13:20"
DISK = {"device": "nvme0n1p3", "fstype": "ext4", "host": "h1", "mode": "rw", "path": "/srv/" * 9}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with zone(CENTRAL_EUROPE):
        yield


Shown = Callable[[], str]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Shown:
    """What was printed, which nothing of a terminal is in."""

    def read() -> str:
        text = capsys.readouterr().out
        assert "\x1b" not in text
        assert "…" not in text
        assert text.endswith("\n")
        for line in text.splitlines():
            assert line == line.rstrip()
        return text

    return read


def series(field: str, *values: FieldValue | None, measurement: str = "m", **tags: str) -> Series:
    """One sample a second; None is a second without one."""
    builder = SeriesBuilder()
    for n, value in enumerate(values):
        if value is not None:
            builder.add(START_NS + n * SECOND, value)
    one = builder.series(measurement, field, {"host": "h1", **tags})
    assert one is not None
    return one


def on_a_terminal(show: Callable[[], object], term: str = "dumb") -> str:
    """What it writes to a terminal of 80 columns and 24 lines."""
    stream = Terminal()
    size = {"COLUMNS": "80", "LINES": "24"}
    with patch.dict(os.environ, TERM=term, **size), contextlib.redirect_stdout(stream):
        show()
    return stream.getvalue()


def look(**changes: object) -> Summary:
    """The same at a glance, 12 s later."""
    return summarize(status_of(**changes), START_NS + 12 * SECOND)


def table(text: str) -> list[list[str]]:
    """The cells, which stand two spaces apart."""
    return [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.split("\n")
    ]


def history(*many: Series) -> None:
    _print.history(many, START_NS, START_NS + 60 * SECOND)


def test_the_overview_has_a_line_a_measurement_with_what_it_says_first(shown: Shown) -> None:
    held = [
        FieldSummary("cpu", "usage_active", 3, 7.25, (0.5, 97.25)),
        FieldSummary("cpu", "usage_idle", 3, 7.25, (0.5, 7.25)),
        FieldSummary("net", "bytes_recv", 1, 1_500_000, (1_500_000, 1_500_000)),
        FieldSummary("own", "note", 1, "a text"),
    ]
    _print.overview(held, look(running=True, pid=7, last_reading="2023-11-14T22:13:20Z"))
    assert table(shown())[:-1] == [
        ["measurement", "fields", "series", "newest"],
        ["cpu", "2", "3", "usage_active 0.5 % to 97.25 %"],
        ["net", "1", "1", "bytes_recv 1.5 MB"],
        ["own", "1", "1", "note a text"],
        [],
        ["Every field: metrics-pipeline show --all"],
        ["A chart:", "metrics-pipeline show cpu usage_active"],
    ]


def test_on_a_terminal_the_overview_is_within_its_height() -> None:
    held = [FieldSummary(f"m{number}", "f", 1, 1) for number in range(40)]
    state = look(troubles={"delivery": "no answer"})
    lines = on_a_terminal(lambda: _print.overview(held, state)).splitlines()
    assert len(lines) < 24
    assert lines[:3] == ["The agent is not running.", "delivery: no answer", ""]
    assert lines[-4] == "and 26 measurements more"


@pytest.mark.parametrize(
    ("low", "high", "name", "rate", "texts"),
    [
        (1, 7, "cpu usage_active", False, ["100 %", "50 %", "0 %"]),
        (1, 250, "process cpu_usage", False, ["300 %", "200 %", "100 %", "0 %"]),
        (0, 3_000_000, "net bytes_recv", True, ["3 MB/s", "2 MB/s", "1 MB/s", "0 B/s"]),
        (0, 0, "net bytes_recv", True, ["1 B/s", "0.5 B/s", "0 B/s"]),
        (5.0e11, 5.0003e11, "disk used", False, ["500.03 GB", "500.02 GB", "500.01 GB", "500 GB"]),
        (864_000, 867_600, "system uptime", False, ["241 h", "240.5 h", "240 h"]),
        (40, 50, "temp temp", False, ["50 °C", "45 °C", "40 °C"]),
        (-3, 5, "own f", False, ["6", "4", "2", "0", "-2", "-4"]),
        (-1.7e308, 1.7e308, "own f", False, GREATEST),
    ],
)
def test_the_axis_of_a_chart_has_round_values_in_the_unit_of_the_catalogue(
    shown: Shown, low: float, high: float, name: str, rate: bool, texts: list[str]
) -> None:
    measurement, field = name.split()
    one = series(field, low, high, measurement=measurement)
    _print.history([one], START_NS, START_NS + SECOND, rate=rate)
    assert re.findall(r"^ *(.*)┤", shown(), re.MULTILINE) == texts


def test_degrees_are_written_in_any_encoding() -> None:
    got = io.BytesIO()
    stream = io.TextIOWrapper(got, encoding="ascii", errors="backslashreplace")
    with contextlib.redirect_stdout(stream):
        history(series("temp", 44.5, measurement="temp"))
        stream.flush()
    text = got.getvalue().decode()
    assert "40 C+" in text
    assert "  44.5 C  " in text
    assert "\\x" not in text


@pytest.mark.parametrize(
    ("begin", "seconds", "title", "times"),
    [
        (START_NS, 10, f"{START} to 23:13:30 CET", "23:13:20 23:13:25 23:13:30"),
        (START_NS, 3600, f"{START} to 2023-11-15 00:13:20 CET", "23:15 23:30 23:45 Nov 15"),
        (START_NS, WEEK_S, f"{START} to 2023-11-21 23:13:20 CET", "Nov 16 Nov 18 Nov 20"),
        # Summer ended on 29 October 2023 at 3:00.
        (
            1_698_494_400 * SECOND,
            86_400,
            "2023-10-28 14:00:00 CEST to 2023-10-29 13:00:00 CET",
            "18:00 Oct 29 06:00 12:00",
        ),
    ],
)
def test_a_chart_has_the_local_time_and_its_zone(
    shown: Shown, begin: int, seconds: int, title: str, times: str
) -> None:
    builder = SeriesBuilder()
    builder.add(begin, 1)
    one = builder.series("m", "f", {"host": "h1"})
    assert one is not None
    _print.history([one], begin, begin + seconds * SECOND)
    lines = shown().splitlines()
    assert lines[0] == f"h1: m f, {title}"
    assert lines[14].split() == times.split()


def test_a_chart_has_no_line_across_a_gap(shown: Shown) -> None:
    history(series("f", *[5] * 10, *[None] * 40, *[5] * 10))
    (line,) = re.findall("[\u2801-\u28ff].*[\u2801-\u28ff]", shown())
    assert re.fullmatch(r"\S+ {40,}\S+", line)


def test_of_many_series_those_with_the_greatest_mean_are_drawn(shown: Shown) -> None:
    history(*(series("f", number, cpu=f"cpu{number}") for number in range(9)))
    text = shown()
    assert re.findall(r"^(\d) cpu=(\w+)$", text, re.MULTILINE) == [
        (str(number), f"cpu{number + 2}") for number in range(1, 7)
    ]
    assert "The 6 of 9 series with the greatest mean; --tag chooses others." in text


def test_hosts_are_told_apart_where_a_store_has_several(shown: Shown) -> None:
    history(series("f", 1), series("f", 2, host="h2"))
    text = shown()
    assert text.startswith("h1, h2: m f, ")
    assert "\n1 host=h1\n2 host=h2\n" in text


def test_a_value_is_short_for_people_and_never_cut(shown: Shown) -> None:
    long = "of any length, whole " * 4 + "text"
    values: list[FieldValue] = [99.99999999, 100_000, 999_999, 2**63 - 1, 1e30, long]
    history(*(series(f"f{number}", value) for number, value in enumerate(values)))
    texts = [row[1] for row in table(shown())[1:-1]]
    assert texts == ["100", "100k", "1000k", "9.223E", "1e+30", long]


def test_a_series_is_a_line_with_its_tags_but_the_host(shown: Shown) -> None:
    history(series("used", 1, 2, 6, **DISK), series("free", 1))
    head, used, free, _ = table(shown())
    assert head == ["field", "series", "last", "min", "mean", "max", "samples"]
    tags = f"device=nvme0n1p3 fstype=ext4 mode=rw path={DISK['path']}"
    assert used == ["used", tags, "6", "1", "3", "6", "3"]
    assert free == ["free", "1", "1", "1", "1", "1"]


def test_texts_have_no_least_or_greatest(shown: Shown) -> None:
    history(series("a", "x", "y"))
    assert table(shown())[1] == ["a", "y", "2"]


def test_one_field_has_a_chart_in_80_columns_with_the_legend_whole(shown: Shown) -> None:
    history(series("f", 1, 5, 2, cpu="cpu0"), series("f", 25_276_514_304, cpu="cpu1"))
    text = shown()
    chart, _, rows = text.partition("\nfield")
    lines = chart.splitlines()
    assert lines[0] == "h1: m f, 2023-11-14 23:13:20 to 23:14:20 CET"
    assert max(map(len, lines)) <= 80
    assert re.findall(r"(\w+)┤", chart) == ["30G", "20G", "10G", "0"]
    times, *legend = lines[15 - 1 :]
    assert times.split() == ["23:13:30", "23:13:45", "23:14:00", "23:14:15"]
    assert legend == ["1 cpu=cpu0", "2 cpu=cpu1"]
    assert len(rows.splitlines()) == 3


@pytest.mark.parametrize("many", [[series("f", 1), series("g", 1)], [series("f", "text")]])
def test_several_fields_and_texts_have_no_chart(shown: Shown, many: list[Series]) -> None:
    history(*many)
    assert "┤" not in shown()


def test_csv_has_a_row_a_sample_and_a_column_a_tag(shown: Shown) -> None:
    _print.history_csv([series("f", 1, 25_276_514_304, cpu='a,"b"'), series("g", 0.1, zone="z")])
    assert shown().splitlines() == [
        "time,measurement,cpu,host,zone,field,value",
        '2023-11-14T22:13:20.000000000Z,m,"a,""b""",h1,,f,1',
        '2023-11-14T22:13:21.000000000Z,m,"a,""b""",h1,,f,25276514304',
        "2023-11-14T22:13:20.000000000Z,m,,h1,z,g,0.1",
    ]


def test_json_has_each_series_with_its_samples(shown: Shown) -> None:
    _print.history_json([series("f", 1, 2, cpu="0"), series("g", "x")])
    first, second = json.loads(shown())
    tags = {"host": "h1", "cpu": "0"}
    samples = [[START_NS, 1], [START_NS + SECOND, 2]]
    assert first == {"measurement": "m", "field": "f", "tags": tags, "samples": samples}
    assert second["samples"] == [[START_NS, "x"]]


def test_the_status_of_an_agent_without_a_server_says_nothing_of_one(shown: Shown) -> None:
    _print.status(look())
    assert table(shown())[:-1] == [
        ["The agent is not running."],
        ["running", "no"],
        ["last reading", "none yet"],
        ["lost", "nothing"],
        [],
        ["interval", "60000 ms"],
        ["kept", "168 h"],
        ["readings", "0 (0 points)"],
        ["store", "/nowhere"],
    ]


def test_the_status_of_an_agent_with_a_server_tells_all(shown: Shown) -> None:
    error = "http://influx:8086 answered 401: unauthorized access, " + "because " * 30 + "so"
    state = look(
        running=True,
        pid=77,
        retention_hours=0,
        ticks=2,
        points=20,
        last_reading="2023-11-14T22:13:20.000000000Z",
        influxdb_url="http://influx:8086",
        bucket_retention_hours=1.5,
        bucket_drift="Bucket 'b' keeps 1.5 h and not 168 h",
        delivered_points=11,
        backlog_points=7,
        backlog_bytes=123_456_789,
        backlog_oldest="2023-11-14T20:03:19.000000000Z",
        rejected_points=1,
        lost={"rejected": 1, "tick_missed": 5},
        last_error=error,
        last_salvage="9 of 10 points saved",
        troubles={"settings": "half a file", "delivery": error},
    )
    _print.status(state)
    assert table(shown())[:-1] == [
        ["Readings are taken, but 2 things are wrong:"],
        ["settings", "half a file"],
        ["delivery", error],
        [],
        ["running", "yes (process 77)"],
        ["last reading", "12 s ago, at 2023-11-14T22:13:20Z"],
        ["waiting", "7 points, 123.5 MB, the oldest 2 h 10 min ago, at 2023-11-14T20:03:19Z"],
        ["lost", "6 points: rejected 1, tick_missed 5"],
        [],
        ["interval", "60000 ms"],
        ["kept", "for ever"],
        ["readings", "2 (20 points)"],
        ["InfluxDB", "http://influx:8086"],
        ["bucket keeps", "1.5 h; Bucket 'b' keeps 1.5 h and not 168 h"],
        ["delivered", "11 points"],
        ["rejected", "1 point"],
        ["last salvage", "9 of 10 points saved"],
        ["store", "/nowhere"],
    ]
    for age, told in ((None, "not known"), (0, "for ever")):
        _print.status(look(influxdb_url="http://h", bucket_retention_hours=age))
        assert ["bucket keeps", told] in table(shown())


def watched(read: Callable[[int], Summary]) -> ManualClock:
    """Watch three times; each is told how many there were before."""
    clock = ManualClock()

    def interrupt(waits: int) -> None:
        if waits == 3:
            raise KeyboardInterrupt

    clock.on_wait = interrupt
    _print.watch(lambda: read(len(clock.waits)), clock)
    return clock


def test_what_is_watched_is_printed_again_and_again_until_ctrl_c(shown: Shown) -> None:
    clock = watched(lambda number: look(ticks=number + 1))
    text = shown()
    assert text.count("The agent is not running.") == 3
    assert re.findall(r"^readings +(\d)", text, re.MULTILINE) == ["1", "2", "3"]
    assert "Ctrl-C" not in text
    assert set(clock.waits) == {2.0}


def test_on_a_terminal_what_is_watched_is_in_its_place() -> None:
    text = on_a_terminal(lambda: watched(lambda number: look(lost={"expired": number})), "xterm")
    assert "at 22:13:20 UTC; Ctrl-C ends" in text
    assert "at 22:13:24 UTC" in text
    up_a_line = "\x1b[1A"
    assert text.count(up_a_line) >= 2 * len(look().first)
    assert text.endswith("\x1b[?25h")  # the cursor is there again


def test_a_dumb_terminal_gets_what_is_watched_again_and_again() -> None:
    text = on_a_terminal(lambda: watched(lambda number: look(ticks=number + 1)))
    assert re.findall(r"^readings +(\d)", text, re.MULTILINE) == ["1", "2", "3"]
    assert "\x1b" not in text


def columns(show: Callable[[], object]) -> dict[str, str]:
    """Each column by its head, without the spaces, as 80 columns and no colours show it."""
    text = on_a_terminal(show)
    head, *lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in text
    starts = [match.start() for match in re.finditer(r"\S+", head)]
    ends = [*starts[1:], None]
    return {
        head[start:end].strip(): "".join("".join(line[start:end].split()) for line in lines)
        for start, end in zip(starts, ends, strict=True)
    }


def test_on_a_terminal_a_long_setting_goes_on_below() -> None:
    value, source = "/a-long-path" * 20, "environment variable METRICS_DATA_DIR"
    rows = [
        SettingRow("data_dir", value, source, "", "/var"),
        SettingRow("host", "h1", "default", "", "h1"),
    ]
    assert columns(lambda: _print.settings(rows)) == {
        "setting": "data_dirhost",
        "value": f"{value}h1",
        "from": "environmentvariableMETRICS_DATA_DIRdefault",
        "changed": "yes",
    }


def test_on_a_terminal_long_tags_leave_the_numbers_whole() -> None:
    many = (series("inodes_used_percent", 25_276_514_304, **DISK), series("free", 0.0671387))
    found = columns(lambda: history(*many))
    assert found["field"] == "inodes_used_percentfree"
    assert found["series"] == f"device=nvme0n1p3fstype=ext4mode=rwpath={DISK['path']}"
    assert found["last"] == found["mean"] == "25.28G0.0671387"
    assert found["samples"] == "11"


def test_markup_and_emoji_of_a_name_are_shown_as_they_are() -> None:
    found = columns(lambda: history(series("[red]f", 1, a=":smile:"), series("g", 1)))
    assert (found["field"], found["series"]) == ("[red]fg", "a=:smile:")


def test_on_a_terminal_the_catalogue_is_whole() -> None:
    entries = catalogue.load()[::10]  # enough to have long ones
    found = columns(lambda: _print.metrics(entries))
    assert found["field"] == "".join(entry.field for entry in entries)
    assert found["meaning"] == "".join("".join(entry.meaning.split()) for entry in entries)
